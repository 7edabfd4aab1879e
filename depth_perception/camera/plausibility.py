# SPDX-License-Identifier: Apache-2.0
"""Check whether a calibration is plausible, and name the likely cause if it is not.

The findings are warnings only, because unusual lenses exist. But most implausible values belong to
another image size, unit or convention, and make every distance wrong.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from depth_perception.camera.model import CameraError, CameraModel

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

#: Plausible horizontal field of view in degrees, from a long telephoto lens to the widest lens that
#: a pinhole camera can approximate.
FIELD_OF_VIEW = (20.0, 150.0)
#: The principal point lies in the central part of the image: this fraction of width and height.
MIDDLE = 0.5
#: Plausible ratios of pixel height to pixel width.
PIXEL_ASPECT = (0.9, 1.1)
#: Largest plausible skew relative to the focal length; digital cameras have no skew.
MAX_SKEW = 1e-3


def doubts(info: CameraInfo) -> tuple[str, ...]:
    """Return a sentence for each implausible value of a calibration.

    Args:
        info: sensor_msgs/CameraInfo, or an object with the same fields and any values.
    """
    if not (info.width and info.height):
        return ()
    outside = _window_doubt(info)
    found = [outside] if outside else []
    for name in ('k', 'p'):
        matrix = tuple(getattr(info, name))
        if len(matrix) < 9 or matrix[0] == 0 or (name == 'p' and _same_as_k(info)):
            continue
        try:
            camera = CameraModel.from_matrix(info.width, info.height, matrix)
        except CameraError as error:
            if name == 'p':
                found.append(f'P is not used: {error}')
            continue  # an unusable K is reported as an error elsewhere
        found += _matrix_doubts(name.upper(), camera, matrix[1], info, check_centre=not outside)
    return tuple(found)


def _matrix_doubts(
    name: str, camera: CameraModel, skew: float, info: CameraInfo, check_centre: bool
) -> list[str]:
    found = []
    size = f'{camera.width}x{camera.height}'
    fov = camera.horizontal_fov_deg
    if not FIELD_OF_VIEW[0] <= fov <= FIELD_OF_VIEW[1]:
        found.append(
            f'{name} has a focal length of {camera.fx:g}, a field of view of {fov:.3g} '
            f'degrees at {size}: {_focal_cause(camera)}'
        )
    if check_centre and not _is_central(camera):
        found.append(
            f'{name} has its principal point at ({camera.cx:g}, {camera.cy:g}), far from '
            f'the middle of {size}: {_centre_cause(camera, info)}'
        )
    aspect = camera.fx / camera.fy
    if not PIXEL_ASPECT[0] <= aspect <= PIXEL_ASPECT[1]:
        found.append(
            f'{name} has focal lengths of {camera.fx:g} and {camera.fy:g}: is it of an '
            'image that was stretched, or binned along one axis?'
        )
    if abs(skew) > MAX_SKEW * camera.fx:
        found.append(
            f'{name} has a skew of {skew:g}, which is not used: was the calibration told '
            'to estimate one?'
        )
    return found


def _window_doubt(info: CameraInfo) -> str:
    roi = info.roi
    width, height = roi.width or info.width, roi.height or info.height
    if roi.x_offset + width <= info.width and roi.y_offset + height <= info.height:
        return ''
    return (
        f'the region of interest {width}x{height} at ({roi.x_offset}, {roi.y_offset}) is not '
        f'inside of {info.width}x{info.height}: width and height must be those of the full '
        'image'
    )


def _is_central(camera: CameraModel) -> bool:
    reach = MIDDLE / 2
    return (
        abs(camera.cx / camera.width - 0.5) <= reach
        and abs(camera.cy / camera.height - 0.5) <= reach
    )


def _focal_cause(camera: CameraModel) -> str:
    if camera.horizontal_fov_deg < FIELD_OF_VIEW[0]:
        return 'is it of a larger image?'
    if max(camera.fx, camera.fy) < 2:
        return 'is it relative to the size? pixels are needed'
    if max(camera.fx, camera.fy) < 40:
        return 'is it in millimetres? pixels are needed'
    return 'is it of a smaller image?'


def _centre_cause(camera: CameraModel, info: CameraInfo) -> str:
    binning = max(1, info.binning_x), max(1, info.binning_y)
    if 0 <= camera.cx <= 1 and 0 <= camera.cy <= 1:
        return 'is it relative to the size? pixels are needed'
    if max(binning) > 1 and _is_central(
        _of_size(camera, camera.width // binning[0], camera.height // binning[1])
    ):
        return (
            f'is it of the binned image? with binning {binning[0]}x{binning[1]} it must be of '
            'the full one'
        )
    if camera.cx > camera.width or camera.cy > camera.height:
        return 'is it of a larger image?'
    return 'is it of another image size, or of a part of the image?'


def _of_size(camera: CameraModel, width: int, height: int) -> CameraModel:
    """Return the same intrinsics with another image size."""
    return dataclasses.replace(camera, width=max(1, width), height=max(1, height))


def _same_as_k(info: CameraInfo) -> bool:
    k, p = info.k, info.p
    return tuple(k[:3]) == tuple(p[:3]) and tuple(k[3:6]) == tuple(p[4:7])
