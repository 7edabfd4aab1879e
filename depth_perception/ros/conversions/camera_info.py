# SPDX-License-Identifier: Apache-2.0
"""Convert sensor_msgs/CameraInfo to and from the camera model of an image."""

from __future__ import annotations

import copy
from collections.abc import MutableSequence
from dataclasses import dataclass

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_perception.camera.model import CameraModel
from depth_perception.camera.rectification import Calibration, calibration_of, lacks_p

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class ImageCamera:
    """The camera of one image size, ready to use.

    Attributes:
        calibration: raw and rectified camera, distortion.
        camera: the model that the depth image follows.
        rectify: whether images must be rectified first.
        template: CameraInfo to publish with the depth, without its header.
        remarks: a sentence for each implausible value, or for what cannot be done.
    """

    calibration: Calibration
    camera: CameraModel
    rectify: bool
    template: CameraInfo
    remarks: tuple[str, ...] = ()

    def info(self, header: Header) -> CameraInfo:
        """Return the CameraInfo for a depth image with this header."""
        message = copy.copy(self.template)
        message.header = header
        return message


def image_camera(
    info: CameraInfo, width: int, height: int, rectify: str, rectified_topic: bool
) -> ImageCamera:
    """Return the camera of an image for its camera_info.

    Args:
        info: the camera_info.
        width: image width, pixels; camera_info of another size is scaled.
        height: image height, pixels.
        rectify: `auto`, `on` or `off`.
        rectified_topic: whether the image topic has rectified images (image_rect*).

    Raises:
        CameraError: uncalibrated, not finite, or another aspect ratio than the image.
    """
    calibration = calibration_of(info, width, height)
    remarks = tuple(f'camera_info: {doubt}' for doubt in calibration.doubts)
    wanted = rectify == 'on' or (
        rectify == 'auto' and calibration.is_distorted and not rectified_topic
    )
    if wanted and calibration.unknown:
        wanted = False
        remarks = (
            f'the images are not rectified, so points near the image border are '
            f'inaccurate: {calibration.unknown}',
            *remarks,
        )
    if wanted:
        return ImageCamera(
            calibration, calibration.rectified, True, rectified_info(calibration.rectified), remarks
        )
    camera = calibration.rectified if rectified_topic else calibration.camera
    return ImageCamera(calibration, camera, False, _info_of_size(info, calibration), remarks)


def field_of_view_camera(width: int, height: int, horizontal_deg: float) -> ImageCamera:
    """Return the camera with this horizontal field of view, for `horizontal_fov_deg`."""
    camera = CameraModel.from_field_of_view(width, height, horizontal_deg)
    return ImageCamera(Calibration(camera, camera), camera, False, rectified_info(camera))


def rectified_info(camera: CameraModel) -> CameraInfo:
    """Return the CameraInfo of a rectified camera: D zero, R identity, K the left part of P."""
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model='plumb_bob',
        d=[0.0] * 5,
        k=[camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0],
        r=list(IDENTITY),
        p=[camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def _info_of_size(info: CameraInfo, calibration: Calibration) -> CameraInfo:
    """Return a complete copy; for another image size with K and P scaled and no roi."""
    camera, rectified = calibration.camera, calibration.rectified
    roi = info.roi
    window = roi.width or info.width, roi.height or info.height
    result = copy.deepcopy(info)
    if lacks_p(info, max(1, info.width), max(1, info.height)):
        result.p = [0.0] * 12
    if (window[0] // max(1, info.binning_x), window[1] // max(1, info.binning_y)) != (
        camera.width,
        camera.height,
    ):
        result.width, result.height = camera.width, camera.height
        result.binning_x = result.binning_y = 0
        result.roi = RegionOfInterest()
        _scale(result.k, 3, camera)
        _scale(result.p, 4, rectified)
    _complete(result)
    return result


def _scale(matrix: MutableSequence[float], columns: int, camera: CameraModel) -> None:
    """Scale K (3 columns) or P (4 columns) in place to the camera, unless it is zero."""
    if matrix[0] == 0.0:
        return
    x, y = camera.fx / matrix[0], camera.fy / matrix[columns + 1]
    for column in range(columns):
        matrix[column] *= x
        matrix[columns + column] *= y
    matrix[2], matrix[columns + 2] = camera.cx, camera.cy


def _complete(info: CameraInfo) -> None:
    """Fill in, in place, what the driver left zero: P from K, K from P, and R."""
    k, p = info.k, info.p
    if p[0] == 0.0:
        info.p = [*k[:3], 0.0, *k[3:6], 0.0, 0.0, 0.0, 1.0, 0.0]
    elif k[0] == 0.0:
        info.k = [*p[:3], *p[4:7], 0.0, 0.0, 1.0]
    if not any(info.r):
        info.r = list(IDENTITY)
