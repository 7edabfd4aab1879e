# SPDX-License-Identifier: Apache-2.0
"""How a test frame becomes a network's input, and where its prediction lies on the frame.

One named choice a recipe, written into its weights files. A network judges distance by size, so
what it sees in a test must have the scale of its training pictures; each choice says how that is.
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
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def scaled(self, size: Size, frame: Size = FRAME) -> Box:
        """The same part of a frame of another size."""
        rows, columns = size[0] / frame[0], size[1] / frame[1]
        return Box(round(self.top * rows), round(self.bottom * rows),
                   round(self.left * columns), round(self.right * columns))

    def of(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """That part of an image (H, W, ...)."""
        return image[self.top:self.bottom, self.left:self.right]

    def mask(self, size: Size) -> NDArray[np.bool_]:
        """True inside, for an image of that height and width."""
        inside = np.zeros(size, bool)
        self.of(inside)[:] = True
        return inside


#: Of a 640x480 frame.
WHOLE = Box(0, FRAME[0], 0, FRAME[1])


class View(NamedTuple):
    """What a network sees of a frame.

    Attributes:
        image: uint8 (h, w, 3).
        box: the part of the frame on which the prediction is laid.
        scale: columns of the image for each column of the frame that it shows.
    """

    image: Image
    box: Box
    scale: float


@dataclass(frozen=True)
class Geometry:
    """One way to show a frame to a network.

    Attributes:
        name: what recipes and weights files call it.
        margin: height and width of the resized frame over those of the input, which is then cut
            from its middle; None = the whole frame is shown.
        resize: how the frame is resized.
        laid: the prediction lies where the input was cut, or is stretched over the whole frame.
        keep_aspect: a whole frame keeps its aspect ratio, and the input's size follows; for
            `canonical` it follows the camera's focal length, too. So the node shows every frame to
            every network, and with these two geometries a score is one of what it publishes.
    """

    name: str
    margin: tuple[float, float] | None = None
    resize: Literal['smooth', 'nearest'] = 'smooth'
    laid: Literal['in_place', 'stretched'] = 'in_place'
    keep_aspect: bool = False

    def describe(self, height: int, width: int) -> str:
        """In words, for an input of that size."""
        if self.margin is None:
            how = f'in its aspect ratio, at about the area of {width}x{height}' \
                if self.keep_aspect else f'at {width}x{height}'
            how = "at the training's focal length" if self.name == CANONICAL else how
            return f'{self.name}: the whole frame {how}'
        rows, columns = self.frame_size(height, width)
        where = ', its prediction stretched over the whole frame' \
            if self.laid == 'stretched' else ''
        return f'{self.name}: the middle {width}x{height} of the frame at {columns}x{rows} ' \
               f'({self.resize}){where}'

    def frame_size(self, height: int, width: int) -> Size:
        """Height and width that the resized frame at least covers."""
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
    """The geometry of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in GEOMETRIES:
        raise ValueError(f'unknown test geometry {name!r}: choose one of {", ".join(GEOMETRIES)}')
    return GEOMETRIES[name]


def look(info: WeightsInfo, rgb: Image, fx: float | None = None) -> View:
    """What the network of a weights file sees of a frame uint8 (H, W, 3) with a focal length.

    Raises:
        ValueError: the file names a geometry that there is not.
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
    """The smallest size of the frame's aspect ratio that covers `least`, as in training."""
    scale = max(least[0] / frame[0], least[1] / frame[1])
    return max(least[0], round(frame[0] * scale)), max(least[1], round(frame[1] * scale))


def _resized(rgb: Image, size: Size, how: Literal['smooth', 'nearest']) -> Image:
    if rgb.shape[:2] == tuple(size):
        return np.ascontiguousarray(rgb)
    return _nearest(rgb, size) if how == 'nearest' else _smooth(rgb, size)


def _nearest(rgb: Image, size: Size) -> Image:
    """Nearest-neighbour resize; pixel i takes floor(i * scale), as OpenCV's INTER_NEAREST."""
    rows = np.arange(size[0]) * rgb.shape[0] // size[0]
    columns = np.arange(size[1]) * rgb.shape[1] // size[1]
    return rgb[rows[:, None], columns]


def _smooth(rgb: Image, size: Size) -> Image:
    """Bilinear with anti-aliasing."""
    tensor = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(tensor, size, mode='bilinear', align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
