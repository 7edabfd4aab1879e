# SPDX-License-Identifier: Apache-2.0
"""Read an ONNX graph; make it take a float image (1, 3, H, W) and give float depth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from depth_perception.errors import first_line
from depth_perception.io.weights import WeightsError
from depth_perception.reading import refuse_device

#: Largest ONNX file: protobuf, its format, stores at most 2 GB.
MOST_BYTES = (1 << 31) - 1
#: ONNX's numbers of types: those of inputs and outputs that are converted from and to float32.
FLOAT32, UINT8, FLOAT16, FLOAT64 = 1, 2, 10, 11
_IMAGE_TYPES = (FLOAT32, UINT8, FLOAT16, FLOAT64)
#: Names of what is added to a graph.
_IMAGE, _DEPTH = 'depth_perception_image', 'depth_perception_depth'
#: onnxruntime's errors begin with its code, and may name a line and a function of its source.
_PREFIX = re.compile(r'^\[ONNXRuntimeError\] : \d+ : \w+ : |\S+\.(cc|h):\d+ .*?\)(?= \w) ')

Sides = list['int | None']


class ImageInput(NamedTuple):
    """The image that a network takes.

    Attributes:
        name: name of the input.
        sides: shape as in the file; None for a side of any length.
        kind: ONNX's number of the type.
        channels_last: whether it is (1, H, W, 3) instead of (1, 3, H, W).
    """

    name: str
    sides: Sides
    kind: int
    channels_last: bool

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width; None for any."""
        height, width = self.sides[1:3] if self.channels_last else self.sides[2:]
        return height, width

    @property
    def is_bytes(self) -> bool:
        """Whether the network takes bytes, so that it normalises them itself."""
        return self.kind == UINT8


def load_graph(path: Path) -> Any:
    """Return the ONNX model of a file, with weights stored in separate files beside it.

    Raises:
        WeightsError: the file cannot be read or is too large; one sentence.
        ImportError: onnx is not installed.
    """
    import onnx

    try:
        if (size := refuse_device(path).st_size) > MOST_BYTES:
            raise WeightsError(_too_large(path, size))
        model = onnx.load(str(path), load_external_data=False)
        if (size := _external_bytes(path.parent, model)) > MOST_BYTES:
            raise WeightsError(_too_large(path, size))
        onnx.load_external_data_for_model(model, str(path.parent))
    except WeightsError:
        raise
    except Exception as error:  # protobuf and onnx raise many types of errors
        why = getattr(error, 'strerror', None) or first_line(error)
        raise WeightsError(f'{path} cannot be read as ONNX: {why}') from error
    if not model.graph.node:
        raise WeightsError(f'{path} cannot be read as ONNX: it has no network; is it complete?')
    return model


def image_input(path: Path, model: Any) -> ImageInput:
    """Return the only input, which must be one RGB image.

    Raises:
        WeightsError: the network takes something else; one sentence.
    """
    weights = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        names = ', '.join(one.name for one in inputs) or 'none'
        raise WeightsError(
            f'{path} has {len(inputs)} inputs ({names}): it must take one image alone'
        )
    sides, kind = _sides(inputs[0]), inputs[0].type.tensor_type.elem_type
    last = len(sides) == 4 and sides[3] == 3 and sides[1] != 3
    channels = sides[3 if last else 1] if len(sides) == 4 else 0
    wanted = 'it must take one RGB image (1, 3, height, width) or (1, height, width, 3)'
    if channels not in (3, None):
        raise WeightsError(f'{path} takes {shape_text(sides)}: {wanted}')
    if sides[0] not in (1, None):
        raise WeightsError(
            f'{path} takes {sides[0]} images at once, {shape_text(sides)}: export it with batch '
            'size 1, or with a dynamic axis for it'
        )
    if kind not in _IMAGE_TYPES:
        raise WeightsError(
            f'{path} takes {type_text(kind)}: export it with input of float32, float16 or uint8'
        )
    return ImageInput(inputs[0].name, sides, kind, last)


def with_plain_image(model: Any, image: ImageInput) -> str:
    """Add nodes that make the image float32 (1, 3, H, W); return the name of the input.

    Bytes are rounded from what is given, which must be 0 to 255.
    """
    if image.kind == FLOAT32 and not image.channels_last:
        return image.name
    from onnx import helper

    given, names, nodes = _IMAGE, iter(f'{_IMAGE}_{step}' for step in range(3)), []
    steps: list[tuple[str, dict[str, Any]]] = []
    if image.channels_last:
        steps.append(('Transpose', {'perm': [0, 2, 3, 1]}))
    if image.is_bytes:
        steps.append(('Round', {}))
    if image.kind != FLOAT32:
        steps.append(('Cast', {'to': image.kind}))
    for number, (operation, attributes) in enumerate(steps, 1):
        made = image.name if number == len(steps) else next(names)
        nodes.append(helper.make_node(operation, [given], [made], **attributes))
        given = made
    height, width = image.size
    shape = [1, 3, height or 'height', width or 'width']
    inputs = [one for one in model.graph.input if one.name != image.name]
    later = list(model.graph.node)
    del model.graph.input[:], model.graph.node[:]
    model.graph.input.extend([helper.make_tensor_value_info(_IMAGE, FLOAT32, shape), *inputs])
    model.graph.node.extend([*nodes, *later])
    return _IMAGE


def with_float_depth(model: Any, name: str) -> str:
    """Add a node that makes an output float32; return its name."""
    from onnx import helper

    model.graph.node.append(helper.make_node('Cast', [name], [_DEPTH], to=FLOAT32))
    model.graph.output.append(helper.make_tensor_value_info(_DEPTH, FLOAT32, None))
    return _DEPTH


def metadata(model: Any, key: str) -> str | None:
    """Return the text that the file stores under a key, or None."""
    return next((str(entry.value) for entry in model.metadata_props if entry.key == key), None)


def reason(error: BaseException) -> str:
    """Return onnxruntime's error in one line, without its code and the places in its source."""
    text = _PREFIX.sub('', first_line(error))
    return _PREFIX.sub('', text).strip().rstrip('.') or type(error).__name__


def shape_text(sides: Any) -> str:
    """Return a shape as text, such as `(1, 3, any, any)`."""
    return '(' + ', '.join('any' if side is None else str(side) for side in sides) + ')'


def type_text(kind: int) -> str:
    """Return the name of a type, such as `int64`, for ONNX's number."""
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(kind)).lower().replace('undefined', 'no tensor')


def _sides(value: Any) -> Sides:
    """Return the shape of an input; None for a dimension of any length."""
    return [
        side.dim_value if side.HasField('dim_value') and side.dim_value > 0 else None
        for side in value.type.tensor_type.shape.dim
    ]


def _external_bytes(folder: Path, model: Any) -> int:
    """Return the size of the files beside the ONNX file that hold its weights."""
    names = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == 'location'
    }
    return sum((folder / name).stat().st_size for name in names if (folder / name).is_file())


def _too_large(path: Path, size: int) -> str:
    return (
        f'{path} has {size / 1e9:.1f} GB with its weights, and at most '
        f'{MOST_BYTES / 1e9:.1f} GB can be imported: export it in float16'
    )
