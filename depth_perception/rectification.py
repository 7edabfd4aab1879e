# SPDX-License-Identifier: Apache-2.0
"""Undistort images: the maps of a camera, computed once, applied to each frame."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera import CameraError, CameraModel

#: sensor_msgs/distortion_models.hpp; the empty name stands for "no distortion".
PERSPECTIVE_MODELS = ('', 'plumb_bob', 'rational_polynomial')
FISHEYE_MODELS = ('equidistant', 'fisheye')


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says, in the pixels of the image that it belongs to.

    Attributes:
        camera: K of the raw image.
        rectified: P of the rectified image.
        model: distortion model's name.
        distortion: coefficients D.
        rotation: R, row-major 3x3; all zero counts as identity.
    """

    camera: CameraModel
    rectified: CameraModel
    model: str = ''
    distortion: tuple[float, ...] = ()
    rotation: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)

    @property
    def is_distorted(self) -> bool:
        """Whether any coefficient differs from zero."""
        return any(value != 0 for value in self.distortion)


class Rectifier:
    """Maps a raw image to the rectified image of the same size.

    Raises:
        CameraError: the distortion model is unknown, or its coefficients do not fit it.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._maps = _rectification_maps(calibration)

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rectified image, uint8 (H, W, 3); black where the raw image has nothing."""
        return cv2.remap(rgb, *self._maps, interpolation=cv2.INTER_LINEAR)


def _rectification_maps(calibration: Calibration) -> tuple[NDArray, NDArray]:
    raw, rectified = calibration.camera, calibration.rectified
    size = (raw.width, raw.height)
    rotation = np.array(calibration.rotation, np.float64).reshape(3, 3)
    rotation = rotation if rotation.any() else np.eye(3)
    distortion = np.array(calibration.distortion, np.float64)
    try:
        if calibration.model in PERSPECTIVE_MODELS:
            return cv2.initUndistortRectifyMap(
                _matrix(raw), distortion, rotation, _matrix(rectified), size, cv2.CV_16SC2)
        if calibration.model in FISHEYE_MODELS:
            return cv2.fisheye.initUndistortRectifyMap(
                _matrix(raw), distortion[:4], rotation, _matrix(rectified), size, cv2.CV_16SC2)
    except cv2.error as error:
        raise CameraError(
            f'{len(distortion)} distortion coefficients do not fit model '
            f'{calibration.model!r}') from error
    raise CameraError(f'unknown distortion model {calibration.model!r}: use plumb_bob, '
                      'rational_polynomial or equidistant, or set rectify to off')


def _matrix(camera: CameraModel) -> NDArray[np.float64]:
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
