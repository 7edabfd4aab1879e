# SPDX-License-Identifier: Apache-2.0
"""Random steps that imitate other cameras: optics, exposure, sensor noise, JPEG.

Only `FieldOfView` changes depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data import transforms
from depth_training.data.sample import Sample

#: Exponent of a power law between light and pixel value that approximates sRGB's curve.
_GAMMA = 2.2


@dataclass(frozen=True)
class FieldOfView:
    """Crop to a random field of view, like that of another lens, and resize to a fixed size.

    Depth values stay; the focal length in pixels grows with the zoom. If the camera's field of view
    is narrower than the limits, or unknown, the whole view is kept. The crop has the aspect ratio
    of the size.

    Attributes:
        height, width: size of the result in pixels.
        low, high: limits of the uniformly drawn horizontal field of view in degrees.
        shift: largest offset of the crop from the centre, as a share of its width. Small, since the
            optical axis of a real camera is near its centre, and depth is measured along it.
    """

    height: int
    width: int
    low: float = 55.0
    high: float = 90.0
    shift: float = 0.1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Crop and resize."""
        rows, columns = sample.depth.shape
        widest = min(columns, rows * self.width / self.height)
        width = min(round(self._width(sample, widest, rng)), columns)
        height = min(round(width * self.height / self.width), rows)
        centre = (columns - 1) / 2 if sample.cx is None else sample.cx
        left = centre - (width - 1) / 2 + rng.uniform(-self.shift, self.shift) * width
        top = (rows - height) / 2 + rng.uniform(-self.shift, self.shift) * width
        cut = transforms.crop(
            sample,
            round(min(max(top, 0), rows - height)),
            round(min(max(left, 0), columns - width)),
            height,
            width,
        )
        return transforms.resize(cut, self.height, self.width)

    def _width(self, sample: Sample, widest: float, rng: np.random.Generator) -> float:
        """Draw the width of the crop in pixels."""
        if sample.fx is None:
            return widest
        own = math.degrees(2 * math.atan(widest / 2 / sample.fx))
        if own <= self.low:
            return widest
        angle = rng.uniform(self.low, min(self.high, own))
        return min(2 * sample.fx * math.tan(math.radians(angle) / 2), widest)


@dataclass(frozen=True)
class Exposure:
    """Change exposure and white balance by normally distributed stops; saturate highlights.

    Attributes:
        stops: standard deviation of the stops common to all channels.
        cast: standard deviation of the additional stops of each channel.
    """

    stops: float = 0.6
    cast: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        stops = rng.normal(0, self.stops) + rng.normal(0, self.cast, 3)
        return transforms.gain(sample, (2.0 ** (stops / _GAMMA)).tolist())


@dataclass(frozen=True)
class Blur:
    """Blur as if out of focus: a Gaussian of uniformly random width in pixels."""

    low: float = 0.3
    high: float = 2.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Blur the picture."""
        width = rng.uniform(self.low, self.high)
        return replace(sample, rgb=cv2.GaussianBlur(sample.rgb, (0, 0), width))


@dataclass(frozen=True)
class Shake:
    """Blur as by a moving camera: the mean along a line, up to `pixels` long, in any direction."""

    pixels: int = 9

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Blur the picture."""
        length, angle = rng.uniform(2, self.pixels), rng.uniform(0, math.pi)
        size = self.pixels | 1
        kernel = np.zeros((size, size), np.float32)
        end = np.array([math.cos(angle), math.sin(angle)]) * length / 2 + size // 2
        start = size - 1 - end
        first, last = ([round(value) for value in point.tolist()] for point in (start, end))
        cv2.line(kernel, first, last, 1.0)
        return replace(sample, rgb=cv2.filter2D(sample.rgb, -1, kernel / kernel.sum()))


@dataclass(frozen=True)
class SensorNoise:
    """Add Gaussian noise whose variance grows with the light (Foi et al. 2008, eq. 3).

    The standard deviation at mid-grey is 255 * |normal|, where normal has deviation `level`.
    """

    level: float = 0.03

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Add noise."""
        level = abs(rng.normal(0, self.level)) * 255
        noise = rng.standard_normal(sample.rgb.shape, np.float32)
        deviation = level * np.sqrt(0.5 + np.arange(256, dtype=np.float32) / 255)
        return replace(sample, rgb=_bytes(sample.rgb + noise * deviation[sample.rgb]))


@dataclass(frozen=True)
class Jpeg:
    """Compress as JPEG of uniformly random quality."""

    low: int = 30
    high: int = 95

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Compress and decompress; channels are swapped, since OpenCV expects BGR."""
        quality = int(rng.integers(self.low, self.high + 1))
        coded = cv2.imencode('.jpg', sample.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded: Any = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        return replace(sample, rgb=np.ascontiguousarray(decoded[..., ::-1]))


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
