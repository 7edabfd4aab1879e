# SPDX-License-Identifier: Apache-2.0
"""Ray-cast a slanted checkerboard plane seen through a lens.

Red shows the checkerboard; green encodes the depth along the optical axis. So a test network that
decodes depth from green is exact for any image it gets, with or without rectification.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from depth_perception.camera.model import CameraModel
from test.support.lenses import LENSES, undone

#: The plane in the optical frame: through ORIGIN, perpendicular to NORMAL, metres.
ORIGIN = np.array([0.0, 0.0, 2.0])
NORMAL = np.array([0.1, -0.07, 1.0]) / np.linalg.norm([0.1, -0.07, 1.0])
RIGHT = np.cross([0.0, 1.0, 0.0], NORMAL) / np.linalg.norm(np.cross([0.0, 1.0, 0.0], NORMAL))
DOWN = np.cross(NORMAL, RIGHT)
SQUARE = 0.2
#: The depths encoded as green 0 and 255; a step is 4 mm.
NEAR, FAR = 1.6, 2.62


@dataclass(frozen=True)
class Window:
    """The part of the sensor that is read out: region of interest and binning, in sensor pixels."""

    x: int = 0
    y: int = 0
    width: int = 640
    height: int = 480
    binning: int = 1

    def columns_rows(self) -> tuple[NDArray, NDArray]:
        """Sensor coordinates (h, w) of the image's pixels; binning keeps each n-th, as
        image_proc's CropDecimate does.
        """
        rows, columns = np.mgrid[
            self.y : self.y + self.height : self.binning,
            self.x : self.x + self.width : self.binning,
        ]
        return columns.astype(float), rows.astype(float)

    def image_point(self, column: float, row: float) -> tuple[float, float]:
        """Return the image coordinates of a point on the sensor."""
        return (column - self.x) / self.binning, (row - self.y) / self.binning


@dataclass(frozen=True)
class Lens:
    """A sensor of 640x480 behind a lens of LENSES; P differs from K."""

    name: str
    window: Window = Window()
    raw = CameraModel(640, 480, 440.0, 444.0, 316.0, 243.0)
    rectified = CameraModel(640, 480, 400.0, 400.0, 321.0, 238.0)

    @functools.lru_cache  # noqa: B019 - a handful of lenses
    def picture(self) -> NDArray[np.uint8]:
        """Return the raw image, uint8 (H, W, 3)."""
        columns, rows = self.window.columns_rows()
        x = (columns - self.raw.cx) / self.raw.fx
        y = (rows - self.raw.cy) / self.raw.fy
        _, coefficients, distort = LENSES[self.name]
        return _colours(on_plane(*undone(x, y, distort, coefficients)))

    def info(self) -> CameraInfo:
        """Return the camera_info that a driver publishes with the image."""
        model, coefficients, _ = LENSES[self.name]
        k, p, window = self.raw, self.rectified, self.window
        info = CameraInfo(
            width=k.width,
            height=k.height,
            distortion_model=model,
            d=[float(value) for value in coefficients],
            k=[k.fx, 0.0, k.cx, 0.0, k.fy, k.cy, 0.0, 0.0, 1.0],
            r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p=[p.fx, 0.0, p.cx, 0.0, 0.0, p.fy, p.cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        )
        if window != Window():
            info.binning_x = info.binning_y = window.binning
            info.roi.x_offset, info.roi.y_offset = window.x, window.y
            info.roi.width, info.roi.height = window.width, window.height
        return info

    def corners(self, rectify: bool) -> Iterator[tuple[NDArray, tuple[float, float]]]:
        """Yield each corner's position in the world, and its pixel in the (rectified) image."""
        _, coefficients, distort = LENSES[self.name]
        camera = self.rectified if rectify else self.raw
        for i, j in np.ndindex(41, 41):
            world = ORIGIN + SQUARE * ((i - 20) * RIGHT + (j - 20) * DOWN)
            x, y = world[:2] / world[2]
            if np.hypot(x, y) > 1.1:
                continue  # far outside the images, where the lens polynomials are not monotonic
            if not rectify:
                x, y = distort(x, y, coefficients)
            yield (
                world,
                self.window.image_point(camera.fx * x + camera.cx, camera.fy * y + camera.cy),
            )


def on_plane(x: NDArray, y: NDArray) -> NDArray:
    """Intersect rays (x, y, 1) of shape (H, W) with the plane; return (H, W, 3) metres."""
    rays = np.stack([x, y, np.ones_like(x)], -1)
    return rays * (ORIGIN @ NORMAL / (rays @ NORMAL))[..., None]


def off_plane(points: NDArray) -> NDArray:
    """Return signed distances of points (..., 3) from the plane, metres."""
    return (points - ORIGIN) @ NORMAL


def depth_seen(rgb: NDArray[np.uint8], _camera: object = None) -> NDArray[np.float32]:
    """Replace the network: decode the depth from the colours."""
    return (NEAR + (FAR - NEAR) / 255 * rgb[..., 1]).astype(np.float32)


def _colours(points: NDArray) -> NDArray[np.uint8]:
    # Edges about a pixel wide: with one sample per pixel, hard edges would move the corners.
    a, b = ((points - ORIGIN) @ axis / SQUARE * np.pi for axis in (RIGHT, DOWN))
    red = 127.5 + 100 * np.clip(20 * np.sin(a) * np.sin(b), -1, 1)
    green = (points[..., 2] - NEAR) / (FAR - NEAR) * 255
    assert green.min() >= 0 and green.max() <= 255, 'depth beyond the range of green'
    return np.stack([red, green, np.full_like(red, 60)], -1).round().astype(np.uint8)
