# SPDX-License-Identifier: Apache-2.0
r"""What the floor model costs: milliseconds a frame, on one core or with a GPU.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        python -m benchmarks.floor [--size 640x480] [--device cpu]

A camera 0.4 m above the floor, a wall, a depth that is wrong by a smooth factor.
"""

from __future__ import annotations

import argparse
import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.anchors import milliseconds
from benchmarks.machine import machine
from depth_perception.camera.model import CameraModel
from depth_perception.depth.floor import floor_layout, level_floor
from depth_perception.depth.scan import CameraPose, level_rays

POSE = CameraPose(math.radians(8), 0.0, 0.4)


def scene(camera: CameraModel) -> NDArray[np.float32]:
    """A floor and a wall at 3 m, wrong by 10 % here and there."""
    forward, _, up = level_rays(camera, POSE)
    depth = np.minimum(3 / forward, np.where(up < 0, POSE.height / np.maximum(-up, 1e-3), np.inf))
    v, u = np.mgrid[: camera.height, : camera.width] / camera.height
    return (depth * np.exp(0.1 * np.sin(3 * u) * np.cos(2 * v))).astype(np.float32)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', default='640x480', metavar='WIDTHxHEIGHT')
    parser.add_argument('--device', default='cpu')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    width, height = (int(side) for side in options.size.split('x'))
    camera = CameraModel(width, height, 0.8 * width, 0.8 * width, width / 2, height / 2)
    depth = torch.from_numpy(scene(camera)).to(options.device)
    layout = floor_layout(
        camera, POSE, device='numpy' if options.device == 'cpu' else options.device
    )
    taken = milliseconds(lambda: level_floor(depth, layout), options.device, 3.0)
    print(
        f'{machine()}; {options.device}, one thread; {width}x{height}: '
        f'{taken["median"]:.2f} ms median, {taken["p95"]:.2f} ms 95 %'
    )


if __name__ == '__main__':
    main()
