# SPDX-License-Identifier: Apache-2.0
"""Cameras for images without camera_info: `--camera` and `--horizontal-fov-deg`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.file import CameraFile, read_camera_file
from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.rectification import Calibration, Rectifier
from depth_perception.errors import UsageError


class Prepared(NamedTuple):
    """An image, rectified if necessary, and its camera.

    Attributes:
        rgb: uint8 (H, W, 3), rectified if the lens has distortion.
        camera: the camera; None if unknown.
        unseen: bool (H, W), True at pixels outside the raw image; None if there are none.
    """

    rgb: NDArray[np.uint8]
    camera: CameraModel | None
    unseen: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class CameraSource:
    """Source of the camera of images: a file, a field of view, or none (camera unknown).

    Attributes:
        file: contents of a camera file.
        horizontal_fov_deg: horizontal field of view, used without a file.
        rectified: whether the images are already rectified, so that P applies to them.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.camera.source import camera_source
        >>> source = camera_source(None, horizontal_fov_deg=70.0)
        >>> prepared = source.prepared(np.zeros((240, 320, 3), np.uint8))
        >>> round(prepared.camera.horizontal_fov_deg)
        70
    """

    file: CameraFile | None = None
    horizontal_fov_deg: float | None = None
    rectified: bool = False
    _made: dict[tuple[int, int], tuple[Calibration, Rectifier | None]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def prepared(self, rgb: NDArray[np.uint8]) -> Prepared:
        """Return an image with its camera, rectified as in the node.

        Raises:
            CameraError: the image cannot be a resized image of this camera.
        """
        height, width = rgb.shape[:2]
        if self.file is None:
            angle = self.horizontal_fov_deg
            return Prepared(
                rgb, None if angle is None else CameraModel.from_field_of_view(width, height, angle)
            )
        calibration, rectifier = self._of_size(self.file, width, height)
        if rectifier is not None:
            return Prepared(rectifier(rgb), calibration.rectified, rectifier.unseen)
        return Prepared(rgb, calibration.rectified if self.rectified else calibration.camera)

    @property
    def is_known(self) -> bool:
        """Whether there is a camera at all."""
        return self.file is not None or self.horizontal_fov_deg is not None

    @property
    def rectifies(self) -> bool:
        """Whether `prepared` rectifies the images."""
        return (
            self.file is not None and self._of_size(self.file, *self.file.image_size)[1] is not None
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for each implausible value of the camera."""
        if self.file is None:
            return ()
        calibration, _ = self._of_size(self.file, *self.file.image_size)
        if not calibration.unknown or self.rectified:
            return calibration.doubts
        return (
            *calibration.doubts,
            'the images are not rectified, so points near the image '
            f'border are inaccurate: {calibration.unknown}',
        )

    def _of_size(
        self, file: CameraFile, width: int, height: int
    ) -> tuple[Calibration, Rectifier | None]:
        """Return the calibration, and a rectifier if one is needed and possible."""
        size = (width, height)
        if size not in self._made:
            calibration = file.calibration(width, height)
            wanted = calibration.is_distorted and not (self.rectified or calibration.unknown)
            self._made[size] = calibration, Rectifier(calibration) if wanted else None
        return self._made[size]


def camera_source(
    file: Path | None, horizontal_fov_deg: float | None, rectified: bool = False
) -> CameraSource:
    """Create the source for `--camera`, `--horizontal-fov-deg` and `--rectified`.

    Raises:
        UsageError: the file or the angle cannot be used, or `rectified` is given without a file.
    """
    if rectified and file is None:
        raise UsageError('--rectified needs the calibration whose P applies: add --camera')
    try:
        if horizontal_fov_deg is not None:
            CameraModel.from_field_of_view(1, 1, horizontal_fov_deg)
        return CameraSource(
            None if file is None else read_camera_file(file), horizontal_fov_deg, rectified
        )
    except CameraError as error:
        raise UsageError(str(error)) from error
