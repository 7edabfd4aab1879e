# SPDX-License-Identifier: Apache-2.0
"""The library in one file: from an image to depth, a point cloud and an obstacle scan.

    python examples/depth_of_an_image.py photo.jpg --horizontal-fov-deg 63 --out results

writes depth.png (in colour), depth.npy (metres), cloud.ply and scan.csv, and says where the nearest
obstacle is. Without ROS.
"""
from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import cv2
import numpy as np

from depth_perception import (
    CameraModel,
    CameraPose,
    DepthEstimator,
    back_project,
    colourise,
    mask_edges,
    mask_range,
    scan_layout,
    scan_ranges,
    write_ply,
)

#: Metres: nearer depth is too near to be true, farther depth is not used.
MIN_DEPTH, MAX_DEPTH = 0.3, 10.0
#: Relative jump between two pixels above which the farther one floats between two surfaces.
EDGE_THRESHOLD = 0.05


def main() -> int:
    """Read the command line, write the results."""
    options = _parser().parse_args()
    bgr = cv2.imread(str(options.image))
    if bgr is None:
        sys.stderr.write(f'cannot read image {options.image}\n')
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    height, width = rgb.shape[:2]
    camera = CameraModel.from_field_of_view(width, height, options.horizontal_fov_deg)
    pose = CameraPose(math.radians(options.camera_pitch), height=options.camera_height)

    # Depth: float32 (height, width), metres; -Inf too near, +Inf too far, NaN unknown.
    estimator = DepthEstimator.load(device=options.device)
    depth = mask_range(estimator.infer(rgb, camera), MIN_DEPTH, MAX_DEPTH)
    depth = mask_edges(depth, EDGE_THRESHOLD)
    cv2.imwrite(str(options.out / 'depth.png'), colourise(depth, MIN_DEPTH, MAX_DEPTH))
    np.save(options.out / 'depth.npy', depth)

    # Cloud: (height, width, 3), x right, y down, z forward.
    count = write_ply(options.out / 'cloud.ply', back_project(depth, camera), rgb)

    # Scan: metres to the nearest obstacle in each direction, as sensor_msgs/LaserScan has them.
    layout = scan_layout(camera, MAX_DEPTH, pose=pose)  # compute once for each camera
    ranges = scan_ranges(depth, layout, MIN_DEPTH).numpy()
    angles = layout.angle_min + layout.angle_increment * np.arange(layout.count)
    np.savetxt(options.out / 'scan.csv', np.stack([angles, ranges], 1), '%.4f', ',',
               header='angle in radians (positive: left),range in metres', comments='')

    sys.stdout.write(f'{count} points in {options.out / "cloud.ply"}\n{_nearest(angles, ranges)}\n')
    return 0


def _nearest(angles: np.ndarray, ranges: np.ndarray) -> str:
    """Say where the nearest obstacle is."""
    if np.isneginf(ranges).any():
        return f'an obstacle is nearer than {MIN_DEPTH} m'
    if not np.isfinite(ranges).any():
        return 'no obstacle in sight'
    beam = int(np.nanargmin(ranges))
    side = 'left' if angles[beam] > 0 else 'right'
    return (f'the nearest obstacle is {ranges[beam]:.2f} m away, '
            f'{abs(math.degrees(angles[beam])):.0f} degrees to the {side}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Depth, cloud and obstacle scan of an image.')
    parser.add_argument('image', type=Path)
    parser.add_argument('--out', type=Path, default=Path('.'), help='folder for the results')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')
    parser.add_argument('--horizontal-fov-deg', type=float, default=63.0,
                        help='horizontal field of view of the camera (default: %(default)s)')
    parser.add_argument('--camera-pitch', type=float, default=0.0,
                        help='degrees that the camera looks down')
    parser.add_argument('--camera-height', type=float,
                        help='metres above the floor; then the floor is no obstacle')
    return parser


if __name__ == '__main__':
    sys.exit(main())
