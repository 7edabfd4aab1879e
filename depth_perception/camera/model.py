# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera: its intrinsics, and how resizing and cropping change them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Two aspect ratios are equal if they differ by less than this fraction (one pixel in 100).
ASPECT_TOLERANCE = 0.01
#: Accepted focal lengths (from nearly 180 degrees to a microscope's region of interest) and largest
#: distance of the principal point from the image origin, both in image widths or heights. Outside
#: these limits angles and depths overflow.
FOCAL_RANGE = (1e-3, 1e5)
MAX_OFFSET = 1e5


class CameraError(ValueError):
    """The intrinsics cannot be used; the message says why."""


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera without distortion, in pixels of an image of a given size.

    Pixel (0, 0) is the centre of the top left pixel, as in sensor_msgs/CameraInfo.

    Attributes:
        width: image width, pixels.
        height: image height, pixels.
        fx: horizontal focal length, pixels.
        fy: vertical focal length, pixels.
        cx: column of the principal point, pixels.
        cy: row of the principal point, pixels.

    Examples:
        >>> from depth_perception import CameraModel
        >>> camera = CameraModel(640, 480, fx=525.0, fy=525.0, cx=319.5, cy=239.5)
        >>> round(camera.horizontal_fov_deg)
        63
        >>> half = camera.scaled_to(320, 240)  # for the resized image
        >>> half.fx, half.cx
        (262.5, 159.75)
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if self.width < 1 or self.height < 1:
            raise CameraError(f'camera has no image size: {self.width}x{self.height}')
        if not all(math.isfinite(value) for value in values) or min(self.fx, self.fy) <= 0:
            raise CameraError(
                f'camera is uncalibrated: fx {self.fx}, fy {self.fy}, cx {self.cx}, cy {self.cy}'
            )
        focal = (self.fx / self.width, self.fy / self.height)
        offset = max(abs(self.cx) / self.width, abs(self.cy) / self.height)
        if not FOCAL_RANGE[0] < min(focal) <= max(focal) < FOCAL_RANGE[1] or offset > MAX_OFFSET:
            raise CameraError(
                f'no camera of {self.width}x{self.height} has fx {self.fx:g}, fy {self.fy:g}, '
                f'cx {self.cx:g}, cy {self.cy:g}'
            )

    @classmethod
    def from_matrix(cls, width: int, height: int, matrix: Sequence[float]) -> CameraModel:
        """Create a camera from a row-major 3x3 K or 3x4 P.

        Raises:
            CameraError: the matrix is all zero (uncalibrated), not finite, or has a wrong length.

        Examples:
            >>> from depth_perception import CameraModel
            >>> k = [525.0, 0.0, 319.5, 0.0, 525.0, 239.5, 0.0, 0.0, 1.0]  # as in camera_info
            >>> CameraModel.from_matrix(640, 480, k)
            CameraModel(width=640, height=480, fx=525.0, fy=525.0, cx=319.5, cy=239.5)
        """
        if len(matrix) not in (9, 12):
            raise CameraError(f'need a 3x3 K or a 3x4 P, got {len(matrix)} values')
        columns = len(matrix) // 3
        return cls(
            int(width),
            int(height),
            float(matrix[0]),
            float(matrix[columns + 1]),
            float(matrix[2]),
            float(matrix[columns + 2]),
        )

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_deg: float) -> CameraModel:
        """Create a camera with square pixels and the principal point in the middle.

        Raises:
            CameraError: the angle is not between 0 and 180 degrees.

        Examples:
            >>> from depth_perception import CameraModel
            >>> camera = CameraModel.from_field_of_view(640, 480, 90.0)
            >>> round(camera.fx, 3), camera.cx
            (320.0, 319.5)
        """
        if not 0 < horizontal_deg < 180:
            raise CameraError(f'horizontal field of view {horizontal_deg} is not in (0, 180)')
        focal = width / 2 / math.tan(math.radians(horizontal_deg) / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    @property
    def horizontal_fov_deg(self) -> float:
        """Horizontal field of view in degrees, without distortion."""
        return 2 * math.degrees(math.atan(self.width / 2 / self.fx))

    def scaled_to(self, width: int, height: int) -> CameraModel:
        """Return the camera of the image after it was resized to this size.

        fx, cx, fy and cy scale in proportion, as in image_proc's resize node.

        Raises:
            CameraError: the aspect ratio differs.
        """
        if (width, height) == (self.width, self.height):
            return self
        if not same_aspect((self.width, self.height), (width, height)):
            raise CameraError(
                f'the calibration is for {self.width}x{self.height}, the image is '
                f'{width}x{height}: the aspect ratios differ, so it cannot be scaled'
            )
        x, y = width / self.width, height / self.height
        return CameraModel(width, height, self.fx * x, self.fy * y, self.cx * x, self.cy * y)

    def windowed(
        self,
        x_offset: int,
        y_offset: int,
        width: int,
        height: int,
        binning_x: int = 1,
        binning_y: int = 1,
    ) -> CameraModel:
        """Return the camera of a binned region of interest (sensor_msgs/CameraInfo).

        As in CameraInfo, binning 0 means 1. As in image_geometry, a binned pixel has the position
        of its first pixel. This is exact for decimation (image_proc's CropDecimate), but off by a
        quarter of a binned pixel for averaging over 2x2 pixels.
        """
        binning_x, binning_y = binning_x or 1, binning_y or 1
        return CameraModel(
            width // binning_x,
            height // binning_y,
            self.fx / binning_x,
            self.fy / binning_y,
            (self.cx - x_offset) / binning_x,
            (self.cy - y_offset) / binning_y,
        )

    def as_dict(self) -> dict[str, float]:
        """Return the fields as a dictionary for JSON."""
        return dataclasses.asdict(self)


def same_aspect(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Return whether two sizes (width, height) have the same aspect ratio within the tolerance."""
    ratio = first[0] * second[1] / (first[1] * second[0])
    return abs(ratio - 1) < ASPECT_TOLERANCE
