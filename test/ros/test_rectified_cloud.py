# SPDX-License-Identifier: Apache-2.0
"""A checkerboard seen through a distorting lens becomes a flat cloud with correct corners.

Only the network is a stand-in, which is exact for its input image. The rest is the code of the
node: camera_info, rectification, cloud.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from depth_perception.depth.scan import LEVEL
from depth_perception.ros.conversions.topics import POINTS
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import Pipeline
from depth_perception.ros.node.scan_pose import ScanPose
from test.support.board import FAR, NEAR, Lens, Window, depth_seen, off_plane
from test.support.estimators import StandIn
from test.support.ros import cloud_array, rgb_image, running_node

MODELS = ['plumb_bob', 'rational_polynomial', 'equidistant']
WINDOWS = {
    'whole': Window(),
    'binned': Window(binning=2),
    'binned region': Window(96, 64, 480, 320, 2),
}
SETTINGS = Settings(point_stride=1, edge_threshold=0.0)


def cloud_of(lens: Lens, rectify: str) -> np.ndarray:
    """Return the cloud (h, w, 4) that the node's pipeline computes of the board."""
    cameras = Calibrations(rectify)
    cameras.update(lens.info())
    pipeline = Pipeline(StandIn(depth_seen), cameras, lambda *_: ScanPose(LEVEL))
    result = pipeline.process(rgb_image(lens.picture()), frozenset({POINTS}), SETTINGS)
    return cloud_array(result.outputs[POINTS])


def flatness(cloud: np.ndarray) -> tuple[float, float]:
    """Return the RMS and largest distance of the points from the plane, metres."""
    distance = off_plane(cloud[..., :3][np.isfinite(cloud[..., 2])].astype(float))
    return float(np.sqrt(np.mean(distance**2))), float(np.abs(distance).max())


def corner_errors(cloud: np.ndarray, lens: Lens, rectify: bool) -> np.ndarray:
    """Return the errors in metres of the corners in the cloud, which are found by colour."""
    red = (np.ascontiguousarray(cloud[..., 3]).view(np.uint32) >> 16).astype(np.uint8)
    points, margin = cloud[..., :3], 8
    errors = []
    for world, (u, v) in lens.corners(rectify):
        row, column = round(v) - margin, round(u) - margin
        patch = points[row : row + 2 * margin + 1, column : column + 2 * margin + 1]
        if (
            min(row, column) < 0
            or patch.shape[:2] != (2 * margin + 1,) * 2
            or not np.isfinite(patch).all()
        ):
            continue
        found = cv2.cornerSubPix(
            red,
            np.array([[[u, v]]], np.float32),
            (5, 5),
            (-1, -1),
            (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-3),
        )
        place = cv2.remap(
            np.ascontiguousarray(points), found[..., 0], found[..., 1], cv2.INTER_LINEAR
        )[0, 0]
        errors.append(np.linalg.norm(place - world))
    return np.array(errors)


@pytest.mark.parametrize('window', WINDOWS)
@pytest.mark.parametrize('model', MODELS)
def test_the_cloud_is_flat_and_its_corners_are_in_place(model, window):
    lens = Lens(model, WINDOWS[window])
    cloud = cloud_of(lens, 'auto')
    rms, worst = flatness(cloud)
    corners = corner_errors(cloud, lens, True)
    print(
        f'\n{model}, {window}: RMS {1000 * rms:.2f} mm, worst {1000 * worst:.1f} mm; '
        f'{len(corners)} corners, mean {1000 * corners.mean():.2f} mm, '
        f'worst {1000 * corners.max():.2f} mm'
    )
    # A step of green is 4 mm of depth, and so 1.2 mm RMS.
    assert rms < 0.0015 and worst < 0.005
    assert len(corners) >= 40
    # A pixel is 5 mm wide at 2 m, and a binned pixel 10 mm.
    assert corners.mean() < 0.002 and corners.max() < 0.006


@pytest.mark.parametrize('model', MODELS)
def test_without_rectification_the_same_cloud_is_bent(model):
    lens = Lens(model)
    cloud = cloud_of(lens, 'off')
    rms, worst = flatness(cloud)
    corners = corner_errors(cloud, lens, False)
    print(
        f'\n{model}: RMS {1000 * rms:.2f} mm, worst {1000 * worst:.1f} mm; '
        f'corners mean {1000 * corners.mean():.2f} mm, worst {1000 * corners.max():.2f} mm'
    )
    assert worst > 0.02 and corners.max() > 0.05


def test_what_the_raw_image_does_not_show_is_unknown():
    """The view of P is wider than that of the lens: the black margin must not give points."""
    cloud = cloud_of(Lens('plumb_bob of 4'), 'auto')
    unknown = np.isnan(cloud[..., 2])
    assert 0.02 < unknown.mean() < 0.5
    assert unknown[0].all() and not unknown[200:280, 280:360].any()


def test_the_node_publishes_that_cloud(namespace, robot):
    lens = Lens('rational_polynomial', WINDOWS['binned region'])
    with running_node(
        namespace, load_estimator=StandIn(depth_seen), point_stride=1, edge_threshold=0.0
    ):
        robot.listen('depth/points', 'depth/camera_info')
        robot.camera().send(rgb_image(lens.picture()), lens.info())
        cloud = cloud_array(robot.wait_for('depth/points', 1)[0])
        info = robot.wait_for('depth/camera_info', 1)[0]
    assert flatness(cloud)[0] < 0.0015
    assert (info.width, info.height) == (240, 160) and not any(info.d)
    camera = lens.rectified
    assert list(info.k)[:6] == [
        camera.fx / 2,
        0,
        (camera.cx - 96) / 2,
        0,
        camera.fy / 2,
        (camera.cy - 64) / 2,
    ]
    assert np.nanmin(cloud[..., 2]) > NEAR and np.nanmax(cloud[..., 2]) < FAR
