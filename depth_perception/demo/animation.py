# SPDX-License-Identifier: Apache-2.0
"""The demo's animation: camera, depth and the moving cloud side by side, as a GIF."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.perspective import draw_points, middle_view
from depth_perception.depth.products import depth_products
from depth_perception.depth.settings import OPTIONS, DepthSettings
from depth_perception.depth.visualise import colourise, with_legend
from depth_perception.io.files import write_atomically

if TYPE_CHECKING:
    from depth_perception.camera.model import CameraModel
    from depth_perception.demo.recorder import FrameRecord

#: Largest number of frames, and width of each part in pixels.
FRAMES, WIDTH = 24, 300
#: Amplitude in degrees by which the viewpoint swings about straight ahead.
_SWAY = 12.0


def animation(
    path: Path,
    frames: list[FrameRecord],
    camera: CameraModel | None,
    colours: tuple[float, float],
    seconds: float,
) -> None:
    """Write the GIF, which repeats forever.

    Args:
        path: the GIF file.
        frames: frames with image and depth.
        camera: camera of the depth; None leaves out the cloud.
        colours: distances of the nearest and farthest colour, metres.
        seconds: time between two frames.
    """
    from PIL import Image

    pictures = [
        Image.fromarray(_picture(frame, camera, colours, index / len(frames)))
        for index, frame in enumerate(frames)
    ]
    # Each frame has its own palette: a common one has too few colours for the depth.
    pictures = [picture.quantize(255, dither=Image.Dither.NONE) for picture in pictures]
    content = io.BytesIO()
    pictures[0].save(
        content,
        'GIF',
        save_all=True,
        append_images=pictures[1:],
        loop=0,
        duration=max(20, round(1000 * seconds)),
        optimize=True,
    )
    write_atomically(path, [content.getvalue()])


def _picture(
    frame: FrameRecord, camera: CameraModel | None, colours: tuple[float, float], phase: float
) -> NDArray[np.uint8]:
    """Draw camera, depth with legend and cloud: uint8 (h, w, 3) RGB."""
    rgb, metres = frame.rgb, frame.depth
    assert rgb is not None and metres is not None  # the recorder keeps both for these frames
    height = round(WIDTH * rgb.shape[0] / rgb.shape[1])
    depth = cv2.resize(colourise(metres, *colours), (WIDTH, height))
    parts = [
        cv2.resize(rgb, (WIDTH, height), interpolation=cv2.INTER_AREA),
        with_legend(depth, *colours)[..., ::-1],
    ]
    if camera is not None:
        parts.append(_cloud(rgb, metres, camera, height, _SWAY * math.sin(2 * math.pi * phase)))
    highest = max(map(len, parts))
    return np.concatenate(
        [
            np.pad(part, ((0, highest - len(part)), (0, 0), (0, 0)), constant_values=255)
            for part in parts
        ],
        axis=1,
    )


def _cloud(
    rgb: NDArray[np.uint8],
    depth: NDArray[np.float32],
    camera: CameraModel,
    height: int,
    yaw_deg: float,
) -> NDArray[np.uint8]:
    stride = int(np.clip(round(camera.width / WIDTH / 1.5), 1, OPTIONS['point_stride'].high))
    products = depth_products(rgb, camera, depth, DepthSettings(point_stride=stride))
    points, colours = products.points.reshape(-1, 3), np.asarray(products.colours).reshape(-1, 3)
    known = np.isfinite(points).all(axis=1)
    return draw_points(
        points[known],
        colours[known],
        middle_view(points[known], yaw_deg),
        WIDTH,
        height,
        stride / camera.fx,
    )
