# SPDX-License-Identifier: Apache-2.0
"""Use the library, without ROS: from an image to depth, a point cloud and an obstacle scan.

    python examples/depth_of_an_image.py photo.jpg --horizontal-fov-deg 63 --out results

writes depth.png (in colour), depth.npy (metres), cloud.ply and scan.csv, and prints where the
nearest obstacle is.
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
    DepthEstimator,
    DepthSettings,
    depth_products,
    write_ply,
)


def main() -> int:
    """Read the command line and write the results."""
    options = _parser().parse_args()
    bgr = cv2.imread(str(options.image))
    if bgr is None:
        sys.stderr.write(f'cannot read image {options.image}\n')
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    height, width = rgb.shape[:2]
    camera = CameraModel.from_field_of_view(width, height, options.horizontal_fov_deg)
    # The node's parameters for depth, with the same names and defaults.
    settings = DepthSettings(
        camera_pitch=options.camera_pitch, camera_height=options.camera_height, point_stride=1
    )

    estimator = DepthEstimator.load(device=options.device)
    metres = estimator.infer(rgb, camera)
    products = depth_products(
        rgb, camera, metres, settings, network_max_depth=estimator.info.max_depth
    )

    # Depth: float32 (height, width), metres; -Inf too near, +Inf too far, NaN unknown.
    np.save(options.out / 'depth.npy', products.clean)
    cv2.imwrite(str(options.out / 'depth.png'), products.preview())
    # Cloud: (height, width, 3), x right, y down, z forward.
    count = write_ply(options.out / 'cloud.ply', products.points, products.colours)
    # Scan: metres to the nearest obstacle in each direction, as in sensor_msgs/LaserScan.
    scan = products.scan()
    np.savetxt(
        options.out / 'scan.csv',
        np.stack([scan.angles, scan.ranges], 1),
        '%.4f',
        ',',
        header='angle in radians (positive: left),range in metres',
        comments='',
    )

    nearest = _nearest(scan.angles, scan.ranges, scan.range_min)
    sys.stdout.write(f'{count} points in {options.out / "cloud.ply"}\n{nearest}\n')
    return 0


def _nearest(angles: np.ndarray, ranges: np.ndarray, range_min: float) -> str:
    """Describe where the nearest obstacle is."""
    if (ranges <= range_min).any():
        return 'an obstacle is too near to be measured'
    if not np.isfinite(ranges).any():
        return 'no obstacle in sight'
    beam = int(np.nanargmin(ranges))
    side = 'left' if angles[beam] > 0 else 'right'
    return (
        f'the nearest obstacle is {ranges[beam]:.2f} m away, '
        f'{abs(math.degrees(angles[beam])):.0f} degrees to the {side}'
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Depth, cloud and obstacle scan of an image.')
    parser.add_argument('image', type=Path)
    parser.add_argument('--out', type=Path, default=Path('.'), help='folder for the results')
    parser.add_argument('--device', default='auto', help='auto, cpu or cuda')
    parser.add_argument(
        '--horizontal-fov-deg',
        type=float,
        default=63.0,
        help='horizontal field of view of the camera (default: %(default)s)',
    )
    parser.add_argument(
        '--camera-pitch', type=float, default=0.0, help='degrees by which the camera looks down'
    )
    parser.add_argument(
        '--camera-height',
        type=float,
        default=0.0,
        help='metres above the floor; if given, the floor is not an obstacle',
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())
