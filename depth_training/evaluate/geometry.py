# SPDX-License-Identifier: Apache-2.0
"""How a test frame becomes a network's input, and which part of the frame the prediction covers.

Each recipe names a geometry, which is stored in its weights files. A network judges distance by
apparent size, so its test input must have the same scale as its training images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from depth_perception.inference.estimator import CANONICAL, network_size
from depth_perception.io.weights import WeightsInfo

Size = tuple[int, int]
Image = NDArray[np.uint8]

FRAME: Size = (480, 640)


class Box(NamedTuple):
    """Rows top:bottom and columns left:right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> Size:
        """Return height and width."""
        return self.bottom - self.top, self.right - self.left

    def scaled(self, size: Size, frame: Size = FRAME) -> Box:
        """Return the same part of a frame of another size."""
        rows, columns = size[0] / frame[0], size[1] / frame[1]
        return Box(
            round(self.top * rows),
            round(self.bottom * rows),
            round(self.left * columns),
            round(self.right * columns),
        )

    def of(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return that part of an image (H, W, ...)."""
        return image[self.top : self.bottom, self.left : self.right]

    def mask(self, size: Size) -> NDArray[np.bool_]:
        """Return a mask of this height and width, true inside the box."""
        inside = np.zeros(size, bool)
        self.of(inside)[:] = True
        return inside


#: The whole of a 640x480 frame.
WHOLE = Box(0, FRAME[0], 0, FRAME[1])


class View(NamedTuple):
    """The part of a frame that a network sees.

    Attributes:
        image: uint8 (h, w, 3).
        box: the part of the frame covered by the prediction.
        scale: columns of the image per column of the frame.
    """

    image: Image
    box: Box
    scale: float


@dataclass(frozen=True)
class Geometry:
    """A way to turn a frame into network input.

    Attributes:
        name: name in recipes and weights files.
        margin: size of the resized frame relative to the input, which is cropped from its centre;
            None = the whole frame is used.
        resize: how the frame is resized.
        laid: the prediction covers the crop; if False, it is stretched over the whole frame.
        keep_aspect: the whole frame keeps its aspect ratio, which determines the input's size;
            for `canonical` the camera's focal length does as well. The node does this with every
            network, so scores with these two geometries are scores of the published depth.
    """

    name: str
    margin: tuple[float, float] | None = None
    resize: Literal['smooth', 'nearest'] = 'smooth'
    laid: Literal['in_place', 'stretched'] = 'in_place'
    keep_aspect: bool = False

    def describe(self, height: int, width: int) -> str:
        """Describe the geometry for an input of this size."""
        if self.margin is None:
            how = (
                f'in its aspect ratio, at about the area of {width}x{height}'
                if self.keep_aspect
                else f'at {width}x{height}'
            )
            how = "at the training's focal length" if self.name == CANONICAL else how
            return f'{self.name}: the whole frame {how}'
        rows, columns = self.frame_size(height, width)
        where = (
            ', its prediction stretched over the whole frame' if self.laid == 'stretched' else ''
        )
        return (
            f'{self.name}: the middle {width}x{height} of the frame at {columns}x{rows} '
            f'({self.resize}){where}'
        )

    def frame_size(self, height: int, width: int) -> Size:
        """Return the smallest height and width of the resized frame."""
        rows, columns = self.margin or (1.0, 1.0)
        return round(height * rows), round(width * columns)


#: Paper 003: 352x264 for 320x256. Laina et al.: 320x240 for 304x228.
_TENTH, _TWENTIETH = (264 / 256, 352 / 320), (240 / 228, 320 / 304)
_TABLE = (
    Geometry('squeeze'),
    Geometry('keep_aspect', keep_aspect=True),
    Geometry(CANONICAL, keep_aspect=True),
    Geometry('centre_crop', _TENTH),
    Geometry('harsanyi', _TENTH, 'nearest'),
    Geometry('half_crop', _TWENTIETH),
    Geometry('laina', _TWENTIETH, 'nearest', laid='stretched'),
)
GEOMETRIES: dict[str, Geometry] = {geometry.name: geometry for geometry in _TABLE}


def get_geometry(name: str) -> Geometry:
    """Return the geometry of that name.

    Raises:
        ValueError: there is no such geometry.
    """
    if name not in GEOMETRIES:
        raise ValueError(f'unknown test geometry {name!r}: choose one of {", ".join(GEOMETRIES)}')
    return GEOMETRIES[name]


def is_as_node(info: WeightsInfo) -> bool:
    """Tell if a network's test frames are prepared as in the node, by `DepthEstimator`."""
    return info.preparation.size != 'area' or get_geometry(info.test_geometry).keep_aspect


def describe(info: WeightsInfo) -> str:
    """Describe what a network sees of a frame."""
    policy, size = info.preparation, f'{info.input_width}x{info.input_height}'
    if policy.size == 'area':
        return get_geometry(info.test_geometry).describe(info.input_height, info.input_width)
    multiple = f'sides multiples of {policy.multiple}'
    how = {
        'fixed': f'at {size}',
        'aspect': f'in its aspect ratio, one side that of {size}, {multiple}',
        'own': f'in its own size, {multiple}',
    }[policy.size]
    padded = ', with its reflection around it' if policy.padding else ''
    return f'{policy.size}: the whole frame {how}{padded}'


def look(info: WeightsInfo, rgb: Image, fx: float | None = None) -> View:
    """Show a frame uint8 (H, W, 3) with a focal length as the network of a weights file sees it.

    Raises:
        ValueError: the file names an unknown geometry.
    """
    geometry = get_geometry(info.test_geometry)
    rows, columns = frame = rgb.shape[0], rgb.shape[1]
    size = info.input_height, info.input_width
    if geometry.margin is None:
        size = network_size(info, rows, columns, fx) if geometry.keep_aspect else size
        return View(_resized(rgb, size, 'smooth'), WHOLE.scaled(frame), size[1] / frame[1])
    covering = _covering(geometry.frame_size(*size), frame)
    top, left = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    cut = Box(top, top + size[0], left, left + size[1])
    image = np.ascontiguousarray(cut.of(_resized(rgb, covering, geometry.resize)))
    box = WHOLE.scaled(frame) if geometry.laid == 'stretched' else cut.scaled(frame, covering)
    return View(image, box, covering[1] / frame[1])


def _covering(least: Size, frame: Size) -> Size:
    """Return the smallest size of the frame's aspect ratio that covers `least`, as in training."""
    scale = max(least[0] / frame[0], least[1] / frame[1])
    return max(least[0], round(frame[0] * scale)), max(least[1], round(frame[1] * scale))


def _resized(rgb: Image, size: Size, how: Literal['smooth', 'nearest']) -> Image:
    if rgb.shape[:2] == tuple(size):
        return np.ascontiguousarray(rgb)
    return _nearest(rgb, size) if how == 'nearest' else _smooth(rgb, size)


def _nearest(rgb: Image, size: Size) -> Image:
    """Resize by nearest neighbour; pixel i takes floor(i * scale), like OpenCV's INTER_NEAREST."""
    rows = np.arange(size[0]) * rgb.shape[0] // size[0]
    columns = np.arange(size[1]) * rgb.shape[1] // size[1]
    return rgb[rows[:, None], columns]


def _smooth(rgb: Image, size: Size) -> Image:
    """Resize bilinearly with anti-aliasing."""
    tensor = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(tensor, size, mode='bilinear', align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
