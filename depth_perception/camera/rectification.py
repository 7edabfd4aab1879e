# SPDX-License-Identifier: Apache-2.0
"""Undistort images: the maps of a camera, computed once, applied to each frame."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.distortion import understood
from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.plausibility import doubts

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says, in the pixels of the image that it belongs to.

    Attributes:
        camera: K of the raw image.
        rectified: P of the rectified image.
        model: distortion model's name.
        distortion: coefficients D.
        rotation: R, row-major 3x3; all zero counts as identity.
        doubts: what looks wrong or was guessed, a sentence each.
        unknown: why the distortion cannot be undone, or ''.
    """

    camera: CameraModel
    rectified: CameraModel
    model: str = ''
    distortion: tuple[float, ...] = ()
    rotation: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    doubts: tuple[str, ...] = ()
    unknown: str = ''

    @property
    def is_distorted(self) -> bool:
        """Whether any coefficient differs from zero."""
        return any(value != 0 for value in self.distortion)


def is_uncalibrated(info: CameraInfo) -> bool:
    """Whether K[0] is zero, which CameraInfo.msg defines as "uncalibrated", and there is no P."""
    return bool(info.k[0] == 0.0 and info.p[0] == 0.0)


def calibration_of(info: CameraInfo, width: int, height: int) -> Calibration:
    """What a CameraInfo says of an image of that size: the message, a bag's, or a file's.

    A size of zero is that of the image. Of K and P the one that is zero is taken from the other;
    with P alone there is no distortion to undo.

    Raises:
        CameraError: uncalibrated, not finite, or of another aspect ratio than the image.
    """
    if is_uncalibrated(info):
        raise CameraError('the camera is uncalibrated (K[0] = 0)')
    for name in ('d', 'r'):
        if not np.isfinite(getattr(info, name)).all():
            raise CameraError(f'the calibration has values that are not finite in {name.upper()}')
    size = _full_size(info, width, height)
    has_k = info.k[0] != 0.0
    full = CameraModel.from_matrix(*size, info.k if has_k else info.p)
    raw = _windowed(info, full).scaled_to(width, height)
    rectified = raw
    if not lacks_p(info, *size):
        rectified = _windowed(info, CameraModel.from_matrix(*size, info.p)).scaled_to(width, height)
    model, coefficients = info.distortion_model, tuple(info.d) if has_k else ()
    found, unknown = doubts(info), ''
    try:
        lens = understood(model, coefficients, full.horizontal_fov_deg)
        model, coefficients = lens.model, lens.coefficients
        found += (lens.remark,) if lens.remark else ()
    except CameraError as error:
        unknown = str(error)
    return Calibration(raw, rectified, model, coefficients, tuple(info.r), found, unknown)


def lacks_p(info: CameraInfo, width: int, height: int) -> bool:
    """Whether P is zero, or none of an image of that size, where K is: K stands in then."""
    try:
        CameraModel.from_matrix(width, height, info.p)
    except CameraError:
        return bool(info.k[0] != 0.0)
    return False


def _full_size(info: CameraInfo, width: int, height: int) -> tuple[int, int]:
    """Of the full image: of drivers that leave it zero, what the region and the image tell."""
    roi = info.roi
    return (info.width or (roi.x_offset + roi.width if roi.width
                           else width * max(1, info.binning_x)),
            info.height or (roi.y_offset + roi.height if roi.height
                            else height * max(1, info.binning_y)))


def _windowed(info: CameraInfo, camera: CameraModel) -> CameraModel:
    """The full-resolution camera of K or P, cut and binned as the driver did."""
    roi = info.roi
    width, height = roi.width or camera.width, roi.height or camera.height
    if width > camera.width or height > camera.height:  # no part of this image
        width, height = camera.width, camera.height
    binning = max(1, info.binning_x), max(1, info.binning_y)
    if (width, height, *binning) == (camera.width, camera.height, 1, 1):
        return camera
    return camera.windowed(roi.x_offset, roi.y_offset, width, height, *binning)


class Rectifier:
    """Maps a raw image to the rectified image of the same size.

    Attributes:
        unseen: bool (H, W), True at pixels of the rectified image that the raw one does not show;
            None where it shows all of them.

    Raises:
        CameraError: the distortion model is unknown, or its coefficients do not fit it.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel
        >>> from depth_perception.camera.rectification import Calibration, Rectifier
        >>> camera = CameraModel.from_field_of_view(320, 240, 70.0)
        >>> barrel = Calibration(camera, camera, 'plumb_bob', (-0.2, 0.05, 0.0, 0.0, 0.0))
        >>> rectify = Rectifier(barrel)
        >>> rectify(np.zeros((240, 320, 3), np.uint8)).shape
        (240, 320, 3)
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        columns, rows = _source_pixels(calibration)
        unseen = _unseen(columns, rows)
        self.unseen: NDArray[np.bool_] | None = unseen if unseen.any() else None
        # Fixed point: several times faster to apply than the exact maps.
        self._maps = cv2.convertMaps(columns, rows, cv2.CV_16SC2)

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rectified image, uint8 (H, W, 3); black where the raw image has nothing."""
        rectified: NDArray[np.uint8] = cv2.remap(
            rgb, *self._maps, interpolation=cv2.INTER_LINEAR)
        return rectified


def _source_pixels(calibration: Calibration) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row in the raw image of each pixel of the rectified one, (H, W) each."""
    raw, rectified = calibration.camera, calibration.rectified
    size = (raw.width, raw.height)
    rotation = np.array(calibration.rotation, np.float64).reshape(3, 3)
    rotation = rotation if rotation.any() else np.eye(3)
    lens = understood(calibration.model, calibration.distortion, raw.horizontal_fov_deg)
    make = cv2.fisheye.initUndistortRectifyMap if lens.is_fisheye else cv2.initUndistortRectifyMap
    # OpenCV's fisheye functions want four coefficients where the others take none.
    coefficients = np.array(lens.coefficients or (0.0,) * 4, np.float64)
    columns, rows = make(
        _matrix(raw), coefficients, rotation, _matrix(rectified), size, cv2.CV_32FC1)
    return columns, rows


def _unseen(columns: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a map (H, W) leaves the raw image, or comes back into it, bool (H, W).

    The models' polynomials turn round far outside the field that they were fitted to: the margin
    of a wide rectified image would show the raw one a second time, mirrored.
    """
    height, width = columns.shape
    # So little outside is the border itself once the map is rounded to 1/32 pixel.
    slack = 0.01
    seen: NDArray[np.bool_] = (
        (columns >= -slack) & (columns <= width - 1 + slack)
        & (rows >= -slack) & (rows <= height - 1 + slack))
    if min(height, width) < 2:
        return ~seen
    column_down, column_right = np.gradient(columns)
    row_down, row_right = np.gradient(rows)
    seen &= column_right * row_down > column_down * row_right  # not mirrored
    # Past the mirrored ring the picture may come a third time; the true one is the largest.
    _, regions, facts, _ = cv2.connectedComponentsWithStats(seen.astype(np.uint8), connectivity=4)
    if len(facts) < 2:
        return ~seen
    others: NDArray[np.bool_] = regions != 1 + facts[1:, cv2.CC_STAT_AREA].argmax()
    return others


def _matrix(camera: CameraModel) -> NDArray[np.float64]:
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
