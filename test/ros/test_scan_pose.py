# SPDX-License-Identifier: Apache-2.0
"""The scan of a camera whose pose is known: from parameters and from TF."""
from __future__ import annotations

import numpy as np

from test.ros.test_node_parameters import set_parameter
from test.support.estimators import StandIn
from test.support.ros import running_node

#: Metres of the camera above the floor of the scene, and of the box that stands 1 m ahead.
HEIGHT, BOX = 0.15, 0.1


def scene(rgb: np.ndarray, camera) -> np.ndarray:
    """A level camera before a floor, with a box across the left half."""
    rows, columns = np.indices(rgb.shape[:2])
    down = (rows - camera.cy) / camera.fy
    with np.errstate(divide='ignore'):
        floor = np.where(down > 0, HEIGHT / down, 50.0)
    is_box = (columns < 40) & (down < HEIGHT) & (down > HEIGHT - BOX)
    return np.where(is_box, 1.0, floor)


def halves(message) -> tuple[np.ndarray, np.ndarray]:
    """Ranges on the left and on the right, without the beams between."""
    ranges = np.array(message.ranges)
    middle = len(ranges) // 2
    return ranges[middle + 3:], ranges[:middle - 3]


def test_the_height_takes_the_floor_out_of_the_scan_and_leaves_the_box(namespace, robot):
    with running_node(namespace, load_estimator=StandIn(scene), edge_threshold=0.0):
        robot.listen('scan')
        camera = robot.camera()
        camera.send()
        left, right = halves(robot.wait_for('scan', 1)[-1])
        assert (left < 0.7).all() and (right < 0.7).all(), 'the floor, as its height is not known'

        assert set_parameter(robot, 'camera_height', HEIGHT).successful
        camera.send()
        left, right = halves(robot.wait_for('scan', 2)[-1])
        assert ((left >= 1.0) & (left < 1.2)).all() and (right == np.inf).all()

        assert set_parameter(robot, 'floor_tolerance', 0.12).successful
        camera.send()
        left, right = halves(robot.wait_for('scan', 3)[-1])
        assert (left == np.inf).all() and (right == np.inf).all()
