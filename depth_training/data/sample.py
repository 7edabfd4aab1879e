# SPDX-License-Identifier: Apache-2.0
"""One RGB-D pair, and the checks that every pair must pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_training.data.scales import remedy

#: Depth beyond these limits indicates a wrong unit, not an unusual room.
LARGEST_DEPTH = 100.0
SMALLEST_MEDIAN = 0.05
#: Focal length divided by image width: fields of view of 136 and 6 degrees.
_SHORTEST_FOCAL, _LONGEST_FOCAL = 0.2, 10.0


class DataError(ValueError):
    """Data that cannot be used; the message is one sentence with the file's name."""


class UnitError(DataError):
    """Depth that is not in the unit of its layout."""


@dataclass(frozen=True)
class Sample:
    """A colour image and depth for the same pixels.

    Attributes:
        rgb: uint8 (H, W, 3).
        depth: float32 (H, W), metres along the optical axis; 0 = unknown.
        id: name within the data set, such as `kitchen_0004/rgb_00045`.
        fx: horizontal focal length in pixels, or None if unknown.
        cx: column of the optical axis in pixels (centre of the first column = 0), or None.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    id: str
    fx: float | None = None
    cx: float | None = None

    @property
    def camera(self) -> CameraModel | None:
        """Return the pair's camera with square pixels, or None if the focal length is unknown."""
        if self.fx is None:
            return None
        height, width = self.depth.shape
        cx = (width - 1) / 2 if self.cx is None else self.cx
        return CameraModel(width, height, self.fx, self.fx, cx, (height - 1) / 2)


def check_sample(sample: Sample, source: str, depth_scale: float = 1.0) -> Sample:
    """Check a sample and set its negative and non-finite depth to 0.

    Args:
        sample: the sample as read.
        source: its file, for messages.
        depth_scale: units per metre of the file, for messages.

    Raises:
        DataError: rgb or depth has the wrong shape, their sizes differ, no depth is known, or the
            focal length is not in pixels.
        UnitError: depth is implausible in metres.
    """
    if sample.rgb.ndim != 3 or sample.rgb.shape[2] != 3 or sample.rgb.dtype != np.uint8:
        raise DataError(
            f'{source}: rgb is {sample.rgb.dtype} {sample.rgb.shape}, not uint8 (H, W, 3)'
        )
    if sample.rgb.shape[:2] != sample.depth.shape:
        swapped = sample.rgb.shape[1::-1] == sample.depth.shape
        raise DataError(
            f'{source}: rgb is {_size(sample.rgb)}, depth is {_size(sample.depth)}; '
            'they must have the same size' + ', and rows and columns of one are swapped' * swapped
        )
    _check_camera(sample, source)
    depth = np.where(np.isfinite(sample.depth) & (sample.depth > 0), sample.depth, 0)
    _check_units(depth, source, depth_scale)
    return replace(sample, depth=depth.astype(np.float32, copy=False))


def _check_camera(sample: Sample, source: str) -> None:
    """Refuse a focal length that cannot be in pixels of this image, such as one in millimetres."""
    width = sample.rgb.shape[1]
    if sample.fx is not None and not _SHORTEST_FOCAL * width <= sample.fx <= _LONGEST_FOCAL * width:
        raise DataError(
            f'{source}: a focal length of {sample.fx:g} pixels for a picture {width} '
            'wide is implausible: fx must be in pixels of an image that is "width" '
            'pixels wide'
        )


def _check_units(depth: NDArray[np.float32], source: str, depth_scale: float) -> None:
    largest = float(depth.max(initial=0))
    if largest == 0:
        raise DataError(f'{source}: depth is unknown in every pixel')
    # Every eighth row and column suffices for a median and takes a thirtieth of the time.
    known = depth[::8, ::8][depth[::8, ::8] > 0]
    known = known if known.size else depth[depth > 0]
    median = float(np.median(known))
    if largest > LARGEST_DEPTH:
        found = f'the largest depth would be {largest:.4g} m'
    elif median < SMALLEST_MEDIAN:
        found = f'the median depth would be {median:.2g} m'
    else:
        return
    raise UnitError(
        f'{source}: {found}; its unit is not the one of this layout: '
        + remedy(known * np.float32(depth_scale), depth_scale)
    )


def _size(image: NDArray[np.generic]) -> str:
    return 'x'.join(str(side) for side in image.shape[1::-1])
