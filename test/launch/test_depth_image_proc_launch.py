# SPDX-License-Identifier: Apache-2.0
"""What launch/depth_image_proc.launch.py gives its container; a script stands for the container.

Skipped where launch is missing: it comes with a ROS 2 installation.
"""

from __future__ import annotations

import os

import pytest

for _name in ('launch', 'launch_ros'):
    pytest.importorskip(
        _name, reason=f'{_name} is not installed: it comes with ROS 2 from apt, not from PyPI'
    )

from depth_perception.ros.transport import PROFILE, large_image_variables, profile_variables
from test.support.launch import PATIENCE, Launched, offer_command
from test.support.ros import wait_until


def test_the_container_gets_the_profile_for_large_images(tmp_path, monkeypatch):
    for name in profile_variables({}):
        monkeypatch.delenv(name, raising=False)
    if not large_image_variables():
        pytest.skip('shared memory is scarce here, or transports were chosen')
    said = tmp_path / 'environment'
    script = tmp_path / 'component_container'
    script.write_text(f'#!/bin/sh\nenv > {said}.part && mv {said}.part {said}\n')
    script.chmod(0o755)
    offered = offer_command('rclcpp_components', script)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(offered), prepend=os.pathsep)
    with Launched('depth_image_proc.launch.py', image='camera/image_raw') as launched:
        wait_until(said.is_file, PATIENCE, f'the container in {launched.output()}')
    variables = dict(line.partition('=')[::2] for line in said.read_text().splitlines())
    assert {variables[name] for name in large_image_variables()} == {str(PROFILE)}
