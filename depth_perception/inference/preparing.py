# SPDX-License-Identifier: Apache-2.0
"""Apply a `Preparation` in the same way as the image processors of transformers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from depth_perception.io.weights import WeightsInfo

if TYPE_CHECKING:
    from torch import Tensor

#: Height and width.
Size = tuple[int, int]
#: Largest aspect ratio of an input; images with a larger one are stretched.
MAX_ASPECT = 16


def fed_size(info: WeightsInfo, height: int, width: int) -> Size:
    """Return (height, width) of the network's input, for a size policy other than `area`.

    Examples:
        >>> from dataclasses import replace
        >>> from depth_perception import load_weights
        >>> from depth_perception.inference.preparing import fed_size
        >>> from depth_perception.io.preparation import Preparation
        >>> prepared = Preparation(size='aspect', multiple=14)
        >>> info = replace(load_weights().info, input_height=518, input_width=518,
        ...                preparation=prepared)
        >>> fed_size(info, 480, 640)
        (518, 686)
    """
    policy = info.preparation
    if policy.size == 'fixed':
        return info.input_height, info.input_width
    step = policy.multiple
    if policy.size == 'own':
        return max(height // step, 1) * step, max(width // step, 1) * step
    rows, columns = _padded(info, height, width)
    rows, columns = max(rows, columns / MAX_ASPECT), max(columns, rows / MAX_ASPECT)
    # Resize as little as possible: use the factor that is nearer to 1 (Ranftl et al. 2021).
    down, across = info.input_height / rows, info.input_width / columns
    factor = across if abs(1 - across) < abs(1 - down) else down
    return _multiple(factor * rows, step), _multiple(factor * columns, step)


def needs_no_torch(info: WeightsInfo) -> bool:
    """Return whether image and output may be resized by OpenCV and NumPy.

    That is so for networks from ONNX files, whose image is resized smoothly and then rounded to
    bytes. Those of transformers must agree with its image processors, which use PyTorch.
    """
    policy = info.preparation
    return (
        info.network == 'onnx'
        and policy.size != 'area'
        and (policy.interpolation, policy.antialias, policy.resize_values)
        == ('bilinear', True, 'bytes')
        and (policy.padding, policy.output_interpolation) == (0, 'bilinear')
    )


def resized_image(image: Tensor, info: WeightsInfo, size: Size) -> Tensor:
    """Resize an image, uint8 (1, 3, H, W), to input size: (1, 3, h, w), 0 to 255."""
    from torch.nn import functional as F

    policy = info.preparation
    is_bytes = policy.resize_values == 'bytes'
    if not is_bytes or image.device.type != 'cpu':
        image = image.float()
    down, across = _padding(info, *image.shape[-2:])
    if down or across:
        image = F.pad(image.float(), (across, across, down, down), mode='reflect')
    if tuple(image.shape[-2:]) == size:
        return image
    if policy.interpolation == 'nearest':
        return F.interpolate(image, size, mode='nearest')
    image = F.interpolate(
        image,
        size,
        mode=policy.interpolation,
        align_corners=policy.align_corners,
        antialias=policy.antialias,
    )
    return image.clamp(0, 255).round() if is_bytes and image.is_floating_point() else image


def resized_output(output: Tensor, info: WeightsInfo, size: Size) -> Tensor:
    """Resize the output (1, 1, h, w) of a network to the size of the image: (H, W)."""
    from torch.nn import functional as F

    down, across = _padding(info, *size)
    mode = info.preparation.output_interpolation
    whole = (size[0] + 2 * down, size[1] + 2 * across)
    corners = {} if mode == 'nearest' else {'align_corners': False}
    output = F.interpolate(output, whole, mode=mode, **corners)[0, 0]
    return output[down : down + size[0], across : across + size[1]].contiguous()


def _padding(info: WeightsInfo, height: int, width: int) -> tuple[int, int]:
    """Return the padding in pixels: above and below, and at the left and right."""
    factor = info.preparation.padding
    # Reflection padding must be smaller than the image.
    return (
        min(int(math.sqrt(height / 2) * factor), height - 1),
        min(int(math.sqrt(width / 2) * factor), width - 1),
    )


def _padded(info: WeightsInfo, height: int, width: int) -> tuple[float, float]:
    down, across = _padding(info, height, width)
    return height + 2 * down, width + 2 * across


def _multiple(length: float, step: int) -> int:
    """Return the nearest multiple; both Python and numpy round halves to even."""
    return max(round(length / step), 1) * step
