# SPDX-License-Identifier: Apache-2.0
"""The cameras of pictures that have no camera_info: `--camera` and `--horizontal-fov-deg`."""
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
    """A picture that fits its camera.

    Attributes:
        rgb: uint8 (H, W, 3), rectified where the lens distorts.
        camera: None where unknown.
        unseen: bool (H, W), where the camera saw nothing; None for nowhere.
    """

    rgb: NDArray[np.uint8]
    camera: CameraModel | None
    unseen: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class CameraSource:
    """Where the cameras of the images come from: a file, a field of view, or nowhere.

    Attributes:
        file: what a file says.
        horizontal_fov_deg: stands in for a file.
        rectified: the images are rectified already, so that P holds for them.

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
        default_factory=dict, init=False, compare=False, repr=False)

    def prepared(self, rgb: NDArray[np.uint8]) -> Prepared:
        """The picture with its camera, rectified as the node does it.

        Raises:
            CameraError: the picture is not a resized one of this camera.
        """
        height, width = rgb.shape[:2]
        if self.file is None:
            angle = self.horizontal_fov_deg
            return Prepared(rgb, None if angle is None else CameraModel.from_field_of_view(
                width, height, angle))
        calibration, rectifier = self._of_size(self.file, width, height)
        if rectifier is not None:
            return Prepared(rectifier(rgb), calibration.rectified, rectifier.unseen)
        return Prepared(rgb, calibration.rectified if self.rectified else calibration.camera)

    @property
    def is_known(self) -> bool:
        """Whether it tells a camera at all."""
        return self.file is not None or self.horizontal_fov_deg is not None

    @property
    def rectifies(self) -> bool:
        """Whether the images are of a lens whose distortion is undone."""
        return self.file is not None and self._of_size(
            self.file, *self.file.image_size)[1] is not None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What looks wrong about the camera, a sentence each."""
        if self.file is None:
            return ()
        calibration, _ = self._of_size(self.file, *self.file.image_size)
        if not calibration.unknown or self.rectified:
            return calibration.doubts
        return (*calibration.doubts, 'images are not rectified, so points are off towards their '
                f'border: {calibration.unknown}')

    def _of_size(self, file: CameraFile, width: int,
                 height: int) -> tuple[Calibration, Rectifier | None]:
        """The calibration, and what rectifies with it where that is needed and possible."""
        size = (width, height)
        if size not in self._made:
            calibration = file.calibration(width, height)
            wanted = calibration.is_distorted and not (self.rectified or calibration.unknown)
            self._made[size] = calibration, Rectifier(calibration) if wanted else None
        return self._made[size]


def camera_source(file: Path | None, horizontal_fov_deg: float | None,
                  rectified: bool = False) -> CameraSource:
    """What `--camera`, `--horizontal-fov-deg` and `--rectified` say.

    Raises:
        UsageError: the file or the angle cannot be used, or `rectified` has no file.
    """
    if rectified and file is None:
        raise UsageError('--rectified says that P of a calibration holds: name it with --camera')
    try:
        if horizontal_fov_deg is not None:
            CameraModel.from_field_of_view(1, 1, horizontal_fov_deg)
        return CameraSource(
            None if file is None else read_camera_file(file), horizontal_fov_deg, rectified)
    except CameraError as error:
        raise UsageError(str(error)) from error
