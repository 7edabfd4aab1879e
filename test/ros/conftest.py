# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that need ROS 2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')

from depth_perception.io.weights import save_weights
from depth_perception.networks import create_network
from depth_perception.ros.node import lazy_images
from test.support.estimators import INFO
from test.support.ros import Robot

_numbers = itertools.count()


@pytest.fixture
def namespace() -> str:
    """Return a namespace for this test only, so that tests do not receive each other's messages."""
    return f'/test_{next(_numbers)}'


@pytest.fixture(autouse=True)
def _always_read_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nodes of this process wait long for a subscriber: a test may be slow to make one."""
    monkeypatch.setattr(lazy_images, 'LINGER', 3600.0)


@pytest.fixture
def robot(namespace: str) -> Iterator[Robot]:
    """Return the robot that the node under test communicates with."""
    robot = Robot(namespace)
    yield robot
    robot.close()


@pytest.fixture(scope='session')
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the weights file of a small, fast network with random weights, for 80x60."""
    import dataclasses

    torch.manual_seed(0)
    arguments = {'encoder': 'tf_efficientnet_lite2', 'max_depth': 10.0, 'uncertainty': True}
    path = tmp_path_factory.mktemp('weights') / 'random.safetensors'
    info = dataclasses.replace(INFO, network_arguments=arguments, name='random')
    save_weights(path, create_network('efficientnet_sff', **arguments), info)
    return path
