# SPDX-License-Identifier: Apache-2.0
"""Drives with ground truth: the bundled clip, and short drives through generated rooms.

The folder of a drive has rgb_00000.jpg and depth_00000.png (16 bits, millimetres, 0 = unknown) for
each frame, and cameras.csv with a row per frame: fx fy cx cy in pixels, height_m, pitch_deg (up),
roll_deg, yaw_deg, x_m, y_m. tools/rooms/make_drive.py writes such folders.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.clip import HEIGHT, PITCH_DEG, read_clip
from depth_perception.camera.model import CameraModel
from depth_perception.depth.scan import CameraPose
from depth_perception.io.image_files import read_image

#: Metres per second of the clip's robot; drives without times are taken at this speed.
SPEED = 0.4
#: The drives of the repository.
DRIVES = Path(__file__).parents[1] / 'data' / 'drives'


class DriveError(ValueError):
    """A folder that is not a drive; the message says why."""


@dataclass(frozen=True)
class Drive:
    """Images of a robot's drive and their ground truth.

    Attributes:
        name: name of the folder, or 'clip'.
        camera, pose: of all frames.
        images: uint8 (H, W, 3) each.
        truths: float32 (H, W) metres each, NaN if unknown.
        places: (n, 3) x, y and heading of the camera: metres, radians.
        times: (n,) seconds.
    """

    name: str
    camera: CameraModel
    pose: CameraPose
    images: list[NDArray[np.uint8]]
    truths: list[NDArray[np.float32]]
    places: NDArray[np.float64]
    times: NDArray[np.float64]


def clip_drive() -> Drive:
    """Return the bundled clip."""
    frames = read_clip()
    with (DRIVES / 'clip_poses.csv').open(newline='') as lines:
        rows = list(csv.DictReader(lines))
    return Drive(
        'clip',
        frames[0].camera,
        CameraPose(math.radians(PITCH_DEG), height=HEIGHT),
        [frame.rgb for frame in frames],
        [frame.truth for frame in frames],
        _places(rows),
        np.array([frame.time - frames[0].time for frame in frames]),
    )


def read_drive(folder: Path) -> Drive:
    """Read a drive from a folder.

    Raises:
        DriveError: the folder is not a drive.
    """
    try:
        with (folder / 'cameras.csv').open(newline='') as lines:
            rows = list(csv.DictReader(lines))
        images = [read_image(folder / f'rgb_{int(row["index"]):05d}.jpg') for row in rows]
        truths = [_truth(folder / f'depth_{int(row["index"]):05d}.png') for row in rows]
        places = _places(rows)
        return Drive(
            folder.name,
            _camera(rows[0], truths[0].shape),
            _pose(rows[0]),
            images,
            truths,
            places,
            _times(places),
        )
    except (OSError, KeyError, IndexError, ValueError) as error:
        raise DriveError(
            f'{folder} is not a drive with cameras.csv, rgb_*.jpg and depth_*.png: {error}'
        ) from error


def room_drives() -> list[Drive]:
    """Return the drives of the repository."""
    return [read_drive(path.parent) for path in sorted(DRIVES.glob('*/cameras.csv'))]


def _camera(row: dict[str, str], shape: tuple[int, int]) -> CameraModel:
    fx, fy, cx, cy = (float(row[name]) for name in ('fx', 'fy', 'cx', 'cy'))
    # In the file, the centre of the first pixel is at 0.5.
    return CameraModel(shape[1], shape[0], fx, fy, cx - 0.5, cy - 0.5)


def _pose(row: dict[str, str]) -> CameraPose:
    return CameraPose(
        -math.radians(float(row['pitch_deg'])),
        math.radians(float(row['roll_deg'])),
        float(row['height_m']),
    )


def _places(rows: list[dict[str, str]]) -> NDArray[np.float64]:
    return np.array(
        [
            [float(row['x_m']), float(row['y_m']), math.radians(float(row['yaw_deg']))]
            for row in rows
        ]
    )


def _times(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return seconds from the first place to each, at SPEED."""
    steps = np.hypot(*np.diff(places[:, :2], axis=0).T)
    return np.append(0, np.cumsum(steps)) / SPEED


def _truth(path: Path) -> NDArray[np.float32]:
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.dtype != np.uint16:
        raise DriveError(f'{path.name} is not a 16-bit depth image')
    return np.where(depth > 0, depth / np.float32(1000), np.float32(np.nan)).astype(np.float32)
