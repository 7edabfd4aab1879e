# SPDX-License-Identifier: Apache-2.0
"""`export`: convert a weights file to the node's own format, ONNX, or a torch.export program.

ONNX files and programs take a normalised image `image` (B, 3, H, W) and return `depth`
(B, 1, h, w) as the weights file defines it (metres or reciprocal).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.io.files import check_writable, write_atomically
from depth_perception.io.onnx_file import METADATA_KEY
from depth_perception.io.weights import LoadedWeights, WeightsInfo, load_weights, save_weights
from depth_perception.networks.fast_unpooling import use_fast_unpooling
from depth_training.convert import FORMATS
from depth_training.convert.same_padding import MULTIPLE, WholeStrides, with_fixed_padding
from depth_training.failures import sentence

#: Largest allowed relative error of an ONNX file against PyTorch in float32.
TOLERANCE = 1e-5
#: File name suffixes of the formats.
_SUFFIXES = {'.safetensors': 'safetensors', '.onnx': 'onnx', '.pt2': 'program'}


class ExportError(ValueError):
    """An exported network that computes something else; its file is not written."""


def export_onnx(
    network: nn.Module,
    path: str | Path,
    height: int,
    width: int,
    dynamic: bool = False,
    info: WeightsInfo | None = None,
) -> float:
    """Write an ONNX file and check it against onnxruntime; no partial or wrong file is left.

    Args:
        network: in evaluation mode, so that dropout is off and BatchNorm uses its statistics.
        path: file to write; its folder must exist.
        height, width: image size in pixels.
        dynamic: leave batch, height and width variable, as axes of these names.
        info: metadata to store in the file.

    Returns:
        The largest relative error, see `relative_error`.

    Raises:
        ExportError: the error is above `TOLERANCE`.
        OSError: the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'network.onnx'
        if dynamic:
            _write_dynamic(network, file, height, width, info)
        else:
            _write_static(network, file, height, width, info)
        error = max(
            relative_error(file, network, image) for image in _test_images(height, width, dynamic)
        )
        if not error <= TOLERANCE:
            raise ExportError(
                f'{path} is not written: it would differ from the network by '
                f'{error:.1e} (relative), but at most {TOLERANCE:.0e} is allowed'
            )
        write_atomically(path, [file.read_bytes()])
    return error


def _write_static(
    network: nn.Module, file: Path, height: int, width: int, info: WeightsInfo | None
) -> None:
    program = _exported(network, height, width, dynamic=False)
    with _silence():
        onnx = torch.onnx.export(
            program, (), dynamo=True, input_names=['image'], output_names=['depth']
        )
    assert onnx is not None  # with dynamo
    onnx.model.metadata_props.update(_metadata(info))
    onnx.save(str(file), external_data=False)


def _write_dynamic(
    network: nn.Module, file: Path, height: int, width: int, info: WeightsInfo | None
) -> None:
    """Write with the exporter that traces a run.

    If padding depends on the size, as in EfficientNet-Lite, `torch.export` analyses variable sizes
    for minutes and names them itself. A trace takes seconds and is checked at other sizes.
    """
    import onnx

    shapes = {
        name: {0: 'batch', 2: f'{prefix}height', 3: f'{prefix}width'}
        for name, prefix in (('image', ''), ('depth', 'depth_'))
    }
    with _silence(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # a warning that this is the older exporter
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 3, height, width),),
            str(file),
            dynamo=False,
            input_names=['image'],
            output_names=['depth'],
            dynamic_axes=shapes,
            opset_version=18,
        )
    model = onnx.load(str(file))
    for key, value in _metadata(info).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(file))


def export_program(
    network: nn.Module,
    path: str | Path,
    height: int,
    width: int,
    dynamic: bool = False,
    info: WeightsInfo | None = None,
) -> None:
    """Write a `torch.export` program (`.pt2`) unchecked; arguments as in `export_onnx`.

    With `dynamic`, a network with TensorFlow's padding accepts sides of 64, 96, 128, ...
    """
    buffer = io.BytesIO()
    torch.export.save(
        _exported(network, height, width, dynamic), buffer, extra_files=_metadata(info)
    )
    write_atomically(path, [buffer.getbuffer()])


def _metadata(info: WeightsInfo | None) -> dict[str, str]:
    if info is None:
        return {}
    return {METADATA_KEY: json.dumps(dataclasses.asdict(info), sort_keys=True)}


def _test_images(height: int, width: int, dynamic: bool) -> list[Tensor]:
    images = [torch.randn(1, 3, height, width)]
    # Other batch and image sizes, to detect sizes fixed by the export.
    others = [torch.randn(3, 3, height + 32, width + 64), torch.randn(1, 3, height + 13, width + 7)]
    return images + others if dynamic else images


def _exported(
    network: nn.Module, height: int, width: int, dynamic: bool
) -> torch.export.ExportedProgram:
    network, image, shapes = network.eval(), torch.zeros(1, 3, height, width), None
    if dynamic:
        network, padded = with_fixed_padding(network)
        auto = torch.export.Dim.AUTO
        shapes = {'image': {0: auto, 2: auto, 3: auto}}
        # An example with a batch of one, or with the smallest side, would fix that size.
        if padded:
            network = WholeStrides(network)
            height, width = (
                2 * MULTIPLE * max(1, round(side / 2 / MULTIPLE)) for side in (height, width)
            )
        image = torch.zeros(2, 3, height, width)
    with torch.no_grad():
        return torch.export.export(network, (image,), dynamic_shapes=shapes)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the exporter's progress on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def relative_error(path: str | Path, network: nn.Module, image: Tensor) -> float:
    """Return the largest difference of onnxruntime from PyTorch / PyTorch's largest depth."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    depth = torch.from_numpy(session.run(None, {'image': image.numpy()})[0])
    with torch.inference_mode():
        expected = network(image)
    if depth.shape != expected.shape:
        return float('inf')
    return float((depth - expected).abs().max() / expected.abs().max())


def export(
    loaded: LoadedWeights,
    path: str | Path,
    form: str,
    height: int,
    width: int,
    dynamic: bool = False,
    half: bool = False,
) -> float | None:
    """Write a loaded weights file in another format.

    Args:
        loaded: from `load_weights`.
        path: file to write; its folder must exist.
        form: one of `FORMATS`.
        height, width, dynamic: see `export_onnx`; `safetensors` always fits every size.
        half: store `safetensors` as float16.

    Returns:
        For ONNX, the relative error against PyTorch.

    Raises:
        ValueError: the format is unknown or does not support `half` or `dynamic`, or the ONNX file
            computes something else.
        OSError: the file cannot be written.
    """
    _refuse_without_effect(form, dynamic, half)
    if form == 'safetensors':
        save_weights(path, loaded.network, loaded.info, torch.float16 if half else None)
        return None
    if form in FORMATS:
        write = export_onnx if form == 'onnx' else export_program
        return write(loaded.network, path, height, width, dynamic, loaded.info)
    raise ValueError(f'unknown format {form!r}: choose one of {", ".join(FORMATS)}')


def _refuse_without_effect(form: str, dynamic: bool, half: bool) -> None:
    if half and form != 'safetensors':
        raise ExportError(
            f'--half is only for safetensors: {form} is checked against the network '
            'and stays float32; TensorRT and OpenVINO convert it to half precision '
            'themselves'
        )
    if dynamic and form == 'safetensors':
        raise ExportError('--dynamic is for onnx and program: a safetensors file fits every size')


def run(options: argparse.Namespace) -> int:
    """Export and print the error of ONNX; return 0, or 1 after one sentence on standard error."""
    try:
        text = _run(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f'export: {sentence(error)}\n')
        return 1
    sys.stdout.write(f'{options.output}: {text}\n')
    return 0


def _format(output: Path, named: str | None) -> str:
    """Return the format given by the options or by the file's suffix.

    Raises:
        ExportError: neither gives one, or the two differ: a file with the wrong suffix would be
            refused by other programs.
    """
    by_name = _SUFFIXES.get(output.suffix.lower())
    if named is None and by_name is None:
        raise ExportError(
            f'the format of {output} is unknown: end its name in '
            f'{", ".join(_SUFFIXES)}, or give --format'
        )
    if named and by_name and named != by_name:
        raise ExportError(
            f'{output} has the suffix of {by_name}, but --format is {named}: change '
            'the name or omit --format'
        )
    return named or str(by_name)


def _run(options: Any) -> str:
    form = _format(options.output, options.format)
    check_writable(options.output)
    loaded = load_weights(options.weights)
    if options.licence:
        info = dataclasses.replace(loaded.info, licence=options.licence)
        loaded = dataclasses.replace(loaded, info=info)
    height = options.height or loaded.info.input_height
    width = options.width or loaded.info.input_width
    if form != 'safetensors':
        # Equal up to rounding, and cheaper; safetensors keeps the architecture that it names.
        use_fast_unpooling(loaded.network)
    sys.stderr.write(
        f'exporting {loaded.info.name} at {height}x{width} as {form}'
        f'{", and checking it" * (form == "onnx")}\n'
    )
    error = export(loaded, options.output, form, height, width, options.dynamic, options.half)
    if error is None:
        return 'written'
    return f'written; largest relative error against PyTorch {error:.1e}'
