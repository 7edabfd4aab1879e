# SPDX-License-Identifier: Apache-2.0
"""The Kinect of NYU Depth v2: raw files and geometry (the data set's toolbox, camera_params.m).

Raw depth is an 11-bit disparity in a PGM with little-endian 16-bit values, although PGM prescribes
big-endian: ordinary readers return garbage.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data.image_files import read_bytes
from depth_training.data.sample import DataError

Matrix = NDArray[np.float64]

HEIGHT, WIDTH = 480, 640
MAX_DEPTH = 10.0
#: Smaller disparities are artefacts of undistortion; 2047 means "nothing measured" (toolbox).
SMALLEST_DISPARITY, NO_DISPARITY = 600, 2047

RGB_MATRIX: Matrix = np.array(
    [
        [518.85790117450188, 0, 325.58244941119034],
        [0, 519.46961112127485, 253.73616633400465],
        [0, 0, 1],
    ]
)
RGB_DISTORTION: Matrix = np.array(
    [
        0.20796615318809061,
        -0.58613825163911781,
        7.2231363135888329e-04,
        0.0010479627195765181,
        0.49856986684705107,
    ]
)
DEPTH_MATRIX: Matrix = np.array(
    [
        [582.62448167737955, 0, 313.04475870804731],
        [0, 582.69103270988637, 238.44389626620386],
        [0, 0, 1],
    ]
)
DEPTH_DISTORTION: Matrix = np.array(
    [
        -0.099897236553084481,
        0.39065324602765344,
        0.0019290592870229277,
        -0.0019422022475975055,
        -0.51031725053400578,
    ]
)
#: Depth camera to colour camera, P' = ROTATION P + TRANSLATION. The minus is correct: points then
#: lie behind the colour camera, but only the ratios x / z and y / z are used.
ROTATION: Matrix = np.linalg.inv(
    -np.array(
        [
            [9.9997798940829263e-01, 5.0518419386157446e-03, 4.3011152014118693e-03],
            [-5.0359919480810989e-03, 9.9998051861143999e-01, -3.6879781309514218e-03],
            [-4.3196624923060242e-03, 3.6662365748484798e-03, 9.9998394948385538e-01],
        ]
    )
)
#: [t_x; t_z; t_y] in the toolbox's names, as its depth_world2rgb_world.m adds it.
TRANSLATION: Matrix = np.array(
    [2.5031875059141302e-02, -2.9342312935846411e-04, 6.6238747008330102e-04]
)


def read_disparity(file: Path) -> NDArray[np.uint16]:
    """Read a raw `d-*.pgm`: uint16 (480, 640).

    Raises:
        DataError: the file is missing, empty, truncated or not a 16-bit PGM.
    """
    pixels = _pixels(file, b'P5', 65535, 2)
    return np.frombuffer(pixels, '<u2').reshape(HEIGHT, WIDTH).astype(np.uint16)


def read_colour(file: Path) -> NDArray[np.uint8]:
    """Read a raw `r-*.ppm`: uint8 (480, 640, 3).

    Raises:
        DataError: the file is missing, empty, truncated or not an 8-bit PPM.
    """
    return np.frombuffer(_pixels(file, b'P6', 255, 3), np.uint8).reshape(HEIGHT, WIDTH, 3)


def metres(disparity: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return 351.3 / (1092.5 - v), at most 10 m; 0 = not measured (depth_rel2depth_abs.m)."""
    known = (disparity >= SMALLEST_DISPARITY) & (disparity < 1092.5)
    depth = 351.3 / np.where(known, 1092.5 - disparity, 1)
    return np.where(known, np.minimum(depth, MAX_DEPTH), 0).astype(np.float32)


def undistort_colour(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undistort the colour image to a pinhole camera with RGB_MATRIX."""
    return cv2.remap(rgb, *_maps('rgb'), cv2.INTER_LINEAR)


def align_depth(disparity: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert raw disparity to depth in metres (480, 640), aligned with the undistorted image.

    Like project_depth_map.m: undistort, convert to points, transform to the colour camera, project;
    of several points in a pixel the nearest wins. MATLAB counts pixels from 1, so the toolbox's cx
    and cy refer to such coordinates; it also drops points in the last row and column. Undistortion
    here takes the nearest pixel, which never mixes a measurement with a hole.
    """
    undistorted = cv2.remap(
        disparity,
        *_maps('depth'),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=NO_DISPARITY,
    )
    depth = metres(undistorted).astype(np.float64)
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns]
    rays = np.linalg.inv(DEPTH_MATRIX) @ np.stack([columns + 1, rows + 1, np.ones_like(rows)])
    x, y, w = RGB_MATRIX @ (ROTATION @ (rays * z) + TRANSLATION[:, None])
    # Round half up, as MATLAB does for positive numbers.
    column, row = (np.floor(side / w + 0.5).astype(int) - 1 for side in (x, y))
    return _nearest_wins(column, row, z)


def _nearest_wins(x: NDArray[np.int_], y: NDArray[np.int_], z: Matrix) -> NDArray[np.float32]:
    aligned = np.full((HEIGHT, WIDTH), np.inf)
    inside = (x >= 0) & (x < WIDTH - 1) & (y >= 0) & (y < HEIGHT - 1)
    np.minimum.at(aligned, (y[inside], x[inside]), z[inside])
    return np.where(np.isfinite(aligned), aligned, 0).astype(np.float32)


@lru_cache(maxsize=2)
def _maps(camera: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    matrix, distortion = {
        'rgb': (RGB_MATRIX, RGB_DISTORTION),
        'depth': (DEPTH_MATRIX, DEPTH_DISTORTION),
    }[camera]
    return cv2.initUndistortRectifyMap(
        matrix, distortion, None, matrix, (WIDTH, HEIGHT), cv2.CV_32FC1
    )


def _pixels(file: Path, magic: bytes, largest: int, bytes_per_pixel: int) -> bytes:
    """Return the pixels of a netpbm file after checking its header and length."""
    content = read_bytes(file)
    header = content[:64].split(maxsplit=4)
    wanted = [magic, b'%d' % WIDTH, b'%d' % HEIGHT, b'%d' % largest]
    if header[:4] != wanted:
        raise DataError(f'{file} is not a {b" ".join(wanted).decode()} image, as raw NYU data is')
    # A single white-space byte ends the header; the first pixel bytes may look like white space.
    start = 0
    for field in wanted:
        start = content.index(field, start) + len(field)
    pixels = content[start + 1 : start + 1 + WIDTH * HEIGHT * bytes_per_pixel]
    if len(pixels) < WIDTH * HEIGHT * bytes_per_pixel:
        raise DataError(f'{file} is truncated')
    return pixels
