# SPDX-License-Identifier: Apache-2.0
"""Read a depth network from an ONNX file, and check that it matches its description.

A file of this project's own `export` describes itself; the user describes others.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from depth_perception.io import onnx_graph
from depth_perception.io.onnx_graph import ImageInput
from depth_perception.io.preparation import Preparation
from depth_perception.io.weights import WeightsError, WeightsInfo, parse_info
from depth_perception.networks.onnx_network import OnnxNetwork

#: Key under which exported files store the metadata of the weights file as JSON.
METADATA_KEY = 'depth_perception'
#: Multiple of the size of a network's input if nothing is known.
_MULTIPLE = 32
#: Depth of fewer pixels than this in a row or a column is no image.
_LEAST_SIDE = 2

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class OnnxFacts:
    """What the user says about a network; None: the file says it, or it has its usual value.

    Attributes:
        width, height: size of the network's input in training, pixels.
        mean, std: mean and standard deviation of each channel of RGB / 255.
        output: kind of output, see `WeightsInfo.output`.
        max_depth: largest depth, metres.
        resize: see `Preparation.size`; usually `aspect` if the file accepts any size, otherwise
            `fixed`.
        multiple: height and width of the network's input are multiples of this.
        output_name: name of the depth output; not needed if there is only one output.
        reciprocal_scale: metres, see `WeightsInfo`.
        training_focal_length: focal length of the training images, pixels, for images that are
            `training_image_width` wide.
        training_image_width: width of those images, pixels.
        licence, model_card, name: see `WeightsInfo`.
    """

    width: int | None = None
    height: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    output: str | None = None
    max_depth: float | None = None
    resize: str | None = None
    multiple: int | None = None
    output_name: str | None = None
    reciprocal_scale: float | None = None
    training_focal_length: float | None = None
    training_image_width: int | None = None
    licence: str | None = None
    model_card: str | None = None
    name: str | None = None


def read_onnx(path: Path, facts: OnnxFacts) -> tuple[nn.Module, WeightsInfo]:
    """Return the network and the complete metadata for its weights file.

    Raises:
        WeightsError: the file cannot be read, or does not match its description; one sentence.
        ImportError: onnx or onnxruntime is not installed.
    """
    model = onnx_graph.load_graph(path)
    image, output = onnx_graph.image_input(path, model), _output_name(path, model, facts)
    own = _own_metadata(path, model)
    facts = _complete(path, facts, own, image)
    _check_size(path, image, facts)
    info = _described(path, facts, image) if own is None else _exported(own, facts, image)
    network, info = _network(path, model, onnx_graph.with_plain_image(model, image), output, info)
    kind = _tried(path, network, info)
    if kind != onnx_graph.FLOAT32:
        made = onnx_graph.with_float_depth(model, output)
        network, info = _network(path, model, network.input_name, made, info)
    return network, info


def _network(
    path: Path, model: Any, image: str, output: str, info: WeightsInfo
) -> tuple[OnnxNetwork, WeightsInfo]:
    """Return the network of a graph, and its metadata."""
    try:
        content = model.SerializeToString()
    except Exception as error:  # protobuf's own types
        raise WeightsError(f'{path} cannot be imported: {onnx_graph.reason(error)}') from error
    network = OnnxNetwork(len(content), image, output)
    network.content.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    arguments = {'size': len(content), 'input_name': image, 'output_name': output}
    return network, dataclasses.replace(info, network='onnx', network_arguments=arguments)


def _output_name(path: Path, model: Any, facts: OnnxFacts) -> str:
    names = [one.name for one in model.graph.output]
    if facts.output_name is None and len(names) == 1:
        return str(names[0])
    if facts.output_name is None:
        raise WeightsError(
            f'{path} has {len(names)} outputs: say with --output-name which of '
            f'{", ".join(names)} is the depth'
        )
    if facts.output_name not in names:
        raise WeightsError(f'{path} has no output {facts.output_name!r}: it has {", ".join(names)}')
    return facts.output_name


def _own_metadata(path: Path, model: Any) -> WeightsInfo | None:
    """Return the metadata that this project's `export` stored in the file, or None."""
    text = onnx_graph.metadata(model, METADATA_KEY)
    if text is None:
        return None
    try:
        return parse_info(text)
    except WeightsError as error:
        raise WeightsError(f'{path} was exported by this project, but {error}') from error


def _complete(
    path: Path, facts: OnnxFacts, own: WeightsInfo | None, image: ImageInput
) -> OnnxFacts:
    """Return the facts with the normalisation of an input of bytes; refuse if some are missing."""
    if image.is_bytes:
        if facts.mean is not None or facts.std is not None:
            raise WeightsError(
                f'{path} takes bytes (uint8), so it normalises images itself: leave out --mean '
                'and --std'
            )
        facts = dataclasses.replace(facts, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    needed = {
        '--size': facts.width,
        '--mean': facts.mean,
        '--std': facts.std,
        '--output': facts.output,
        '--max-depth': facts.max_depth,
    }
    missing = [option for option, value in needed.items() if value is None]
    if own is None and missing:
        raise WeightsError(
            f'{path} does not say how it is to be used: give {", ".join(missing)}, or the same in '
            'a file for --settings'
        )
    return facts


def _check_size(path: Path, image: ImageInput, facts: OnnxFacts) -> None:
    """Refuse a size or a size policy that the file does not allow."""
    height, width = image.size
    shape = onnx_graph.shape_text(image.sides)
    if facts.width is not None and (
        height not in (None, facts.height) or width not in (None, facts.width)
    ):
        raise WeightsError(
            f'{path} takes {shape} alone: --size {facts.width}x{facts.height} must be '
            f'{width or facts.width}x{height or facts.height}'
        )
    if _is_fixed(image) and facts.resize not in (None, 'fixed'):
        raise WeightsError(
            f'{path} takes {shape} alone, so --resize {facts.resize} is not possible: export it '
            'with dynamic axes for height and width, or use --resize fixed'
        )


def _is_fixed(image: ImageInput) -> bool:
    return image.size != (None, None)


def _described(path: Path, facts: OnnxFacts, image: ImageInput) -> WeightsInfo:
    """Return the metadata of another project's file, as the user describes it."""
    assert facts.width and facts.height and facts.mean and facts.std and facts.max_depth
    resize = facts.resize or ('fixed' if _is_fixed(image) else 'aspect')
    return WeightsInfo(
        network='onnx',
        network_arguments={},
        input_height=facts.height,
        input_width=facts.width,
        mean=facts.mean,
        std=facts.std,
        output=facts.output,  # type: ignore[arg-type]
        reciprocal_scale=facts.reciprocal_scale or 1.0,
        min_depth=min(0.1, facts.max_depth / 10),
        max_depth=facts.max_depth,
        origin='imported',
        training_focal_length=facts.training_focal_length or 0.0,
        training_image_width=facts.training_image_width or facts.width,
        training_data='as its model card says',
        licence=facts.licence or 'unknown',
        model_card=facts.model_card or '',
        name=facts.name or path.stem,
        preparation=Preparation(
            size=resize,  # type: ignore[arg-type]
            multiple=facts.multiple or _MULTIPLE,
        ),
        recipe=f'depth-perception import-model {path.name}',
    )


def _exported(own: WeightsInfo, facts: OnnxFacts, image: ImageInput) -> WeightsInfo:
    """Return the metadata of a file of this project's `export`, with what the user changes."""
    height, width = image.size
    policy: dict[str, Any] = {'size': facts.resize, 'multiple': facts.multiple}
    if _is_fixed(image):
        policy['size'] = 'fixed'
    changes: dict[str, Any] = {
        'input_height': height or facts.height,
        'input_width': width or facts.width,
        # The network knows the focal length in pixels of its input, whatever size that has now.
        'training_focal_length': facts.training_focal_length
        or own.training_focal_length * own.input_width / (width or own.input_width),
        'preparation': dataclasses.replace(own.preparation, **_given(policy)),
    }
    names = ('mean', 'std', 'output', 'max_depth', 'reciprocal_scale', 'training_image_width')
    changes |= {name: getattr(facts, name) for name in (*names, 'licence', 'model_card', 'name')}
    return dataclasses.replace(own, **_given(changes))


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _tried(path: Path, network: OnnxNetwork, info: WeightsInfo) -> int:
    """Run the network on noise, upright and lying; return ONNX's number of the output's type."""
    sizes = [(info.input_height, info.input_width)]
    if info.preparation.size != 'fixed':
        step = info.preparation.multiple
        sizes = [(step * 4, step * 5), (step * 5, step * 4)]
    return [_tried_at(path, network, info, size) for size in sizes][-1]


def _tried_at(path: Path, network: OnnxNetwork, info: WeightsInfo, size: tuple[int, int]) -> int:
    import onnxruntime

    height, width = size
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    noise = np.random.default_rng(0).random((height, width, 3), np.float32)
    image = ((noise - info.mean) / info.std).transpose(2, 0, 1)[None].astype(np.float32)
    try:
        session = onnxruntime.InferenceSession(
            network.model(), options, providers=['CPUExecutionProvider']
        )
        depth = session.run([network.output_name], {network.input_name: image})[0]
    except Exception as error:  # onnxruntime raises many types of errors
        raise WeightsError(
            f'{path} cannot be run on an image of {width}x{height} by onnxruntime '
            f'{onnxruntime.__version__}: {onnx_graph.reason(error)}{_hint(info)}'
        ) from error
    return _checked_depth(path, network.output_name, depth)


def _hint(info: WeightsInfo) -> str:
    """Return what may help if the network does not take images of several sizes."""
    policy = info.preparation
    if policy.size == 'fixed':
        return ''
    return (
        f'; if it takes {info.input_width}x{info.input_height} alone, give --resize fixed, if it '
        f'takes multiples of something else than {policy.multiple} pixels, --multiple'
    )


def _checked_depth(path: Path, name: str, depth: Any) -> int:
    """Return ONNX's number of the type of an output, which must be finite depth."""
    shape, kind = np.shape(depth), str(getattr(depth, 'dtype', type(depth).__name__))
    what = f'{path} gives {onnx_graph.shape_text(shape)} as {name!r}'
    if len(shape) not in (3, 4) or any(side != 1 for side in shape[:-2]):
        raise WeightsError(f'{what}: depth is (1, 1, height, width) or (1, height, width)')
    if min(shape) < 1 or min(shape[-2:]) < _LEAST_SIDE:
        raise WeightsError(f'{what}: that is no depth for every pixel')
    kinds = {
        'float32': onnx_graph.FLOAT32,
        'float16': onnx_graph.FLOAT16,
        'float64': onnx_graph.FLOAT64,
    }
    if kind not in kinds:
        raise WeightsError(f'{what} of {kind}: depth is float32 or float16')
    if not np.isfinite(depth).all():
        raise WeightsError(f'{path} gives NaN or infinity as {name!r} for an image of noise')
    return kinds[kind]
