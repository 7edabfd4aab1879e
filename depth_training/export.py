# SPDX-License-Identifier: Apache-2.0
"""`export`: a weights file as the node's own file, as ONNX, or as a torch.export program.

ONNX and program take a normalised image `image` (B, 3, H, W) and give `depth` (B, 1, h, w), in
what the weights file says (metres or reciprocal).
"""
from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.files import write_atomically
from depth_perception.networks.fast_unpooling import use_fast_unpooling
from depth_perception.weights import LoadedWeights, load_weights, save_weights

FORMATS = ('safetensors', 'onnx', 'program')


def export_onnx(network: nn.Module, path: str | Path, height: int, width: int,
                dynamic: bool = False) -> None:
    """Write an ONNX file; whole or not at all.

    Args:
        network: in evaluation mode, so that dropout is off and BatchNorm uses its statistics.
        path: where to; the folder must exist.
        height, width: pixels of the image.
        dynamic: leave batch, height and width open.

    Raises:
        OSError: the file cannot be written.
    """
    program = _exported(network, height, width, dynamic)
    with _silence():
        onnx = torch.onnx.export(
            program, (), dynamo=True, input_names=['image'], output_names=['depth'])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'network.onnx'
        onnx.save(str(file), external_data=False)
        write_atomically(path, [file.read_bytes()])


def export_program(network: nn.Module, path: str | Path, height: int, width: int,
                   dynamic: bool = False) -> None:
    """Write a `torch.export` program (`.pt2`); arguments and errors as `export_onnx`."""
    buffer = io.BytesIO()
    torch.export.save(_exported(network, height, width, dynamic), buffer)
    write_atomically(path, [buffer.getbuffer()])


def _exported(network: nn.Module, height: int, width: int,
              dynamic: bool) -> torch.export.ExportedProgram:
    # An example batch of 1 would fix the batch at 1.
    image = torch.zeros(2 if dynamic else 1, 3, height, width)
    auto = torch.export.Dim.AUTO
    shapes = {'image': {0: auto, 2: auto, 3: auto}} if dynamic else None
    with torch.no_grad():
        return torch.export.export(network.eval(), (image,), dynamic_shapes=shapes)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without the exporter's progress on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def relative_error(path: str | Path, network: nn.Module, image: Tensor) -> float:
    """Largest difference of onnxruntime's depth from PyTorch's, over PyTorch's largest depth."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    depth = torch.from_numpy(session.run(None, {'image': image.numpy()})[0])
    with torch.inference_mode():
        expected = network(image)
    return float((depth - expected).abs().max() / expected.abs().max())


def export(loaded: LoadedWeights, path: str | Path, form: str, height: int, width: int,
           dynamic: bool = False, half: bool = False) -> None:
    """Write a loaded weights file in another form.

    Args:
        loaded: from `load_weights`.
        path: where to; the folder must exist.
        form: one of `FORMATS`.
        height, width, dynamic: see `export_onnx`; `safetensors` does not need them.
        half: store `safetensors` as float16.

    Raises:
        ValueError: the form is unknown.
        OSError: the file cannot be written.
    """
    if form == 'safetensors':
        save_weights(path, loaded.network, loaded.info, torch.float16 if half else None)
    elif form in FORMATS:
        write = export_onnx if form == 'onnx' else export_program
        write(loaded.network, path, height, width, dynamic)
    else:
        raise ValueError(f'unknown format {form!r}: choose one of {", ".join(FORMATS)}')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    parser.add_argument('weights', help='a .safetensors of this package, or "default"')
    parser.add_argument('--output', type=Path, required=True, help='the file to write')
    parser.add_argument('--format', choices=FORMATS, default='onnx', help='default: onnx')
    parser.add_argument('--height', type=int, help="image height; default: the training's")
    parser.add_argument('--width', type=int, help="image width; default: the training's")
    parser.add_argument('--dynamic', action='store_true', help='leave batch and size open')
    parser.add_argument('--half', action='store_true', help='store safetensors as float16')


def run(options: argparse.Namespace) -> int:
    """Export, check ONNX against PyTorch, say the error; 0 = done, 1 = one sentence of failure."""
    import sys

    try:
        text = _run(options)
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f'export: {error}\n')
        return 1
    sys.stdout.write(f'{options.output}: {text}\n')
    return 0


def _run(options: Any) -> str:
    loaded = load_weights(options.weights)
    height = options.height or loaded.info.input_height
    width = options.width or loaded.info.input_width
    if options.format != 'safetensors':
        # Equal up to rounding, and cheaper; the safetensors keeps the network that it names.
        use_fast_unpooling(loaded.network)
    export(loaded, options.output, options.format, height, width, options.dynamic, options.half)
    if options.format != 'onnx':
        return 'written'
    error = relative_error(options.output, loaded.network, torch.randn(1, 3, height, width))
    return f'written; largest relative error against PyTorch {error:.1e}'
