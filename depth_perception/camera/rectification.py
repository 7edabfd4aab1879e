# SPDX-License-Identifier: Apache-2.0
"""Rectify images with maps that are computed once per camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.distortion import understood
from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.plausibility import doubts

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


#: A lens that leaves a smaller share of its own picture is impossible; below the second it is
#: doubtful: so little is left if the polynomial folds inside of the circle that touches the borders
#: of a 4:3 image, and a lens that stretches by a quarter at the borders leaves as much.
_IMPOSSIBLE, _DOUBTFUL = 0.2, 0.6
#: Pixels across the grid on which the share is estimated.
_GRID = 64


@dataclass(frozen=True)
class Calibration:
    """The calibration of a CameraInfo, in pixels of the image that it belongs to.

    Attributes:
        camera: K, for the raw image.
        rectified: P, for the rectified image.
        model: name of the distortion model.
        distortion: coefficients D.
        rotation: R, row-major 3x3; empty or all zero means identity.
        doubts: a sentence for each value that is implausible or was guessed.
        unknown: why the distortion is not undone (an unknown model, an impossible lens), or ''.
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
    """Return whether K[0] is zero ("uncalibrated" in CameraInfo.msg) and there is no P."""
    return bool(info.k[0] == 0.0 and info.p[0] == 0.0)


def calibration_of(info: CameraInfo, width: int, height: int) -> Calibration:
    """Return the calibration of a CameraInfo for an image of this size.

    A CameraInfo without a size gets that of the image. If K or P is zero, the other one is used for
    both; if only P is given, images count as rectified.

    Args:
        info: the message (live or from a bag), or a camera file.
        width: image width, pixels.
        height: image height, pixels.

    Raises:
        CameraError: uncalibrated, not finite, or another aspect ratio than the image.
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
    result = Calibration(raw, rectified, model, coefficients, tuple(info.r), found, unknown)
    return result if unknown else _with_lens_doubts(result, full)


def _with_lens_doubts(calibration: Calibration, full: CameraModel) -> Calibration:
    """Add what is odd about the picture after rectification.

    Args:
        calibration: of the image.
        full: K of the full image, without region of interest and binning.
    """
    if not calibration.is_distorted:
        return calibration
    own, is_folded = _seen_share(replace(calibration, camera=full, rectified=full, rotation=()))
    if own < _DOUBTFUL:
        values = ', '.join(f'{value:.4g}' for value in calibration.distortion)
        why = 'folds the picture over and ' if is_folded else ''
        said = (
            f'distortion D = [{values}] of model {calibration.model!r} {why}leaves {own:.0%} of '
            'the picture, less than any lens: is D of another model (plumb_bob, '
            'rational_polynomial, equidistant) or camera? calibrate again'
        )
        if own < _IMPOSSIBLE:
            return replace(calibration, unknown=said)
        return replace(calibration, doubts=(*calibration.doubts, said))
    share, _ = _seen_share(calibration)
    if share >= _IMPOSSIBLE:
        return calibration
    said = (
        f'after rectification by R and P {share:.0%} of the picture is in the image of the camera, '
        'and the rest is masked: are R and P of this camera and image size? calibrate again'
    )
    return replace(calibration, doubts=(*calibration.doubts, said))


def _seen_share(calibration: Calibration) -> tuple[float, bool]:
    """Return the share of a rectified image that shows the raw image, and whether that folds."""
    shrink = _GRID / max(calibration.camera.width, calibration.camera.height)
    raw, rectified = (
        CameraModel(
            max(2, round(camera.width * shrink)),
            max(2, round(camera.height * shrink)),
            *(value * shrink for value in (camera.fx, camera.fy, camera.cx, camera.cy)),
        )
        for camera in (calibration.camera, calibration.rectified)
    )
    small = replace(calibration, camera=raw, rectified=rectified)
    columns, rows = _source_pixels(small)
    with np.errstate(invalid='ignore', over='ignore'):
        mirrored = _mirrored(columns, rows) & _inside(columns, rows)
        unseen = _unseen(columns, rows, _axis(small))
        return 1 - float(unseen.mean()), bool(mirrored.any())


def lacks_p(info: CameraInfo, width: int, height: int) -> bool:
    """Return whether P is unusable for an image of this size while there is a K to replace it."""
    try:
        CameraModel.from_matrix(width, height, info.p)
    except CameraError:
        return bool(info.k[0] != 0.0)
    return False


def _full_size(info: CameraInfo, width: int, height: int) -> tuple[int, int]:
    """Return (width, height) of the full image; if zero, derive it from roi, binning and image."""
    roi = info.roi
    return (
        info.width or (roi.x_offset + roi.width if roi.width else width * max(1, info.binning_x)),
        info.height
        or (roi.y_offset + roi.height if roi.height else height * max(1, info.binning_y)),
    )


def _windowed(info: CameraInfo, camera: CameraModel) -> CameraModel:
    """Apply the driver's region of interest and binning to the full-resolution camera."""
    roi = info.roi
    width, height = roi.width or camera.width, roi.height or camera.height
    if width > camera.width or height > camera.height:  # not inside this image
        width, height = camera.width, camera.height
    binning = max(1, info.binning_x), max(1, info.binning_y)
    if (width, height, *binning) == (camera.width, camera.height, 1, 1):
        return camera
    return camera.windowed(roi.x_offset, roi.y_offset, width, height, *binning)


class Rectifier:
    """Rectify raw images of one camera; the size is kept.

    Attributes:
        unseen: bool (H, W), True at pixels of the rectified image that lie outside the raw image;
            None if there are no such pixels.

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
        unseen = _unseen(columns, rows, _axis(calibration))
        self.unseen: NDArray[np.bool_] | None = unseen if unseen.any() else None
        # Fixed point: several times faster to apply than the exact maps.
        self._maps = cv2.convertMaps(columns, rows, cv2.CV_16SC2)

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the rectified image, uint8 (H, W, 3); black outside the raw image."""
        rectified: NDArray[np.uint8] = cv2.remap(rgb, *self._maps, interpolation=cv2.INTER_LINEAR)
        return rectified


def _source_pixels(calibration: Calibration) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the raw image's column and row (H, W) for each pixel of the rectified image."""
    raw, rectified = calibration.camera, calibration.rectified
    size = (raw.width, raw.height)
    lens = understood(calibration.model, calibration.distortion, raw.horizontal_fov_deg)
    make = cv2.fisheye.initUndistortRectifyMap if lens.is_fisheye else cv2.initUndistortRectifyMap
    # OpenCV's fisheye functions always need four coefficients.
    coefficients = np.array(lens.coefficients or (0.0,) * 4, np.float64)
    columns, rows = make(
        _matrix(raw),
        coefficients,
        _rotation(calibration),
        _matrix(rectified),
        size,
        cv2.CV_32FC1,
    )
    return columns, rows


def _rotation(calibration: Calibration) -> NDArray[np.float64]:
    rotation = np.array(calibration.rotation, np.float64)
    return rotation.reshape(3, 3) if rotation.any() else np.eye(3)


def _axis(calibration: Calibration) -> tuple[float, float]:
    """Return column and row of the optical axis of the raw image in the rectified one."""
    x, y, z = _rotation(calibration)[:, 2]
    camera, depth = calibration.rectified, max(float(z), 1e-3)
    return camera.fx * x / depth + camera.cx, camera.fy * y / depth + camera.cy


def _unseen(
    columns: NDArray[np.float32], rows: NDArray[np.float32], axis: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return the pixels, bool (H, W), that a map takes from outside the raw image or mirrored.

    Far outside the field of view that they were fitted to, the distortion polynomials turn back, so
    that the margin of a wide rectified image would show the raw image again, mirrored.
    """
    seen = _inside(columns, rows)
    if min(columns.shape) < 2:
        return ~seen
    seen &= ~_mirrored(columns, rows)
    # Beyond the mirrored ring the image may repeat unmirrored; keep the region around the axis.
    count, regions = cv2.connectedComponents(seen.astype(np.uint8), connectivity=4)
    if count < 3:
        return ~seen
    row, column = np.nonzero(seen)
    nearest = np.hypot(column - axis[0], row - axis[1]).argmin()
    others: NDArray[np.bool_] = regions != regions[row[nearest], column[nearest]]
    return others


def _inside(columns: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the pixels, bool (H, W), that a map takes from the raw image, of the same size."""
    height, width = columns.shape
    # Pixels; less than the maps' rounding to 1/32 pixel.
    slack = 0.01
    inside: NDArray[np.bool_] = (
        (columns >= -slack)
        & (columns <= width - 1 + slack)
        & (rows >= -slack)
        & (rows <= height - 1 + slack)
    )
    return inside


def _mirrored(columns: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the pixels, bool (H, W), around which a map turns the raw image over."""
    column_down, column_right = np.gradient(columns)
    row_down, row_right = np.gradient(rows)
    mirrored: NDArray[np.bool_] = np.logical_not(column_right * row_down > column_down * row_right)
    return mirrored


def _matrix(camera: CameraModel) -> NDArray[np.float64]:
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
