# SPDX-License-Identifier: Apache-2.0
"""Read a depth network from an ONNX file, and check that it matches the user's description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from depth_perception.errors import first_line
from depth_perception.io.preparation import Preparation
from depth_perception.io.weights import WeightsError, WeightsInfo
from depth_perception.networks.onnx_network import OnnxNetwork

#: The number of this type in ONNX's list of types.
_FLOAT32 = 1


@dataclass(frozen=True)
class OnnxFacts:
    """Facts about a network that its ONNX file does not contain.

    Attributes:
        width, height: size of the network's input in training, pixels.
        mean, std: mean and standard deviation of each channel of RGB / 255.
        output: kind of output, see `WeightsInfo.output`.
        max_depth: largest depth, metres.
        resize: see `Preparation.size`; None: `aspect` if the file accepts any size, otherwise
            `fixed`.
        multiple: height and width of the network's input are multiples of this.
        output_name: name of the depth output; None if there is only one output.
        reciprocal_scale: metres, see `WeightsInfo`.
        training_focal_length: focal length of the training images, pixels, for images that are
            `training_image_width` wide; 0 = unknown.
        training_image_width: width of those images, pixels.
        licence, model_card, name: see `WeightsInfo`.
    """

    width: int
    height: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: str
    max_depth: float
    resize: str | None = None
    multiple: int = 32
    output_name: str | None = None
    reciprocal_scale: float = 1.0
    training_focal_length: float = 0.0
    training_image_width: int = 0
    licence: str = 'unknown'
    model_card: str = ''
    name: str = ''


def read_onnx(path: Path, facts: OnnxFacts) -> tuple[nn.Module, WeightsInfo]:
    """Return the network and the complete metadata for its weights file.

    Raises:
        WeightsError: the file cannot be read, or does not match the description; one sentence.
        ImportError: onnx or onnxruntime is not installed.
    """
    import onnx

    try:
        model = onnx.load(str(path))  # also loads weights stored in separate files next to it
        content = model.SerializeToString()
    except Exception as error:  # protobuf raises many types of errors
        raise WeightsError(f'{path} cannot be read as ONNX: {first_line(error)}') from error
    image, output = _input(path, model), _output_name(path, model, facts)
    resize = _resize(path, image, facts)
    network = OnnxNetwork(len(content), image.name, output)
    network.content.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    info = WeightsInfo(
        network='onnx',
        network_arguments={'size': len(content), 'input_name': image.name, 'output_name': output},
        input_height=facts.height,
        input_width=facts.width,
        mean=facts.mean,
        std=facts.std,
        output=facts.output,  # type: ignore[arg-type]
        reciprocal_scale=facts.reciprocal_scale,
        min_depth=0.1,
        max_depth=facts.max_depth,
        origin='imported',
        training_focal_length=facts.training_focal_length,
        training_image_width=facts.training_image_width or facts.width,
        training_data='as its model card says',
        licence=facts.licence,
        model_card=facts.model_card,
        name=facts.name or path.stem,
        preparation=Preparation(size=resize, multiple=facts.multiple),  # type: ignore[arg-type]
        recipe=f'depth-perception import-model {path.name}',
    )
    _try(path, network, info)
    return network, info


def _input(path: Path, model: Any) -> Any:
    """Return the only input, which must be an image (1, 3, H, W)."""
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        raise WeightsError(
            f'{path} has {len(inputs)} inputs ({_names(inputs)}): one image is all '
            'that it can be given'
        )
    kind, sides = inputs[0].type.tensor_type, _sides(inputs[0])
    if kind.elem_type != _FLOAT32:
        raise WeightsError(f'{path} takes another type than float32: export it with float32 input')
    if len(sides) != 4 or sides[1] not in (3, None) or sides[0] not in (1, None):
        raise WeightsError(
            f'{path} takes {_shape(sides)}: it must take images (1, 3, height, width), RGB'
        )
    return inputs[0]


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


def _resize(path: Path, image: Any, facts: OnnxFacts) -> str:
    """Return the size policy, after checking that the file allows it."""
    height, width = _sides(image)[2:]
    is_fixed = height is not None or width is not None
    if height not in (None, facts.height) or width not in (None, facts.width):
        raise WeightsError(
            f'{path} takes {_shape(_sides(image))} alone: --size '
            f'{facts.width}x{facts.height} must be {width}x{height}'
        )
    if is_fixed and facts.resize not in (None, 'fixed'):
        raise WeightsError(
            f'{path} takes {_shape(_sides(image))} alone, so --resize '
            f'{facts.resize} is not possible: export it with dynamic axes for '
            'height and width, or use --resize fixed'
        )
    return facts.resize or ('fixed' if is_fixed else 'aspect')


def _try(path: Path, network: OnnxNetwork, info: WeightsInfo) -> None:
    """Run the network once for each orientation of images that it will process."""
    import onnxruntime

    sizes = [(info.input_height, info.input_width)]
    if info.preparation.size != 'fixed':
        step = info.preparation.multiple
        sizes = [(step * 4, step * 5), (step * 5, step * 4)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for height, width in sizes:
        try:
            session = onnxruntime.InferenceSession(
                network.model(), options, providers=['CPUExecutionProvider']
            )
            shape = session.run(
                [network.output_name],
                {network.input_name: np.zeros((1, 3, height, width), np.float32)},
            )[0].shape
        except Exception as error:  # onnxruntime raises many types of errors
            raise WeightsError(
                f'{path} cannot be run on an image of {width}x{height}: {first_line(error)}'
            ) from error
        if len(shape) not in (3, 4) or any(side != 1 for side in shape[:-2]) or min(shape) < 1:
            raise WeightsError(
                f'{path} gives {_shape(shape)} as {network.output_name!r}: depth is '
                '(1, 1, height, width) or (1, height, width)'
            )


def _sides(value: Any) -> list[int | None]:
    """Return the shape of an input; None for a dimension of any length."""
    return [
        side.dim_value if side.HasField('dim_value') and side.dim_value > 0 else None
        for side in value.type.tensor_type.shape.dim
    ]


def _shape(sides: Any) -> str:
    return '(' + ', '.join('any' if side is None else str(side) for side in sides) + ')'


def _names(values: Any) -> str:
    return ', '.join(one.name for one in values) or 'none'
