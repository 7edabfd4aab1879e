# SPDX-License-Identifier: Apache-2.0
"""What `rviz:=true` of launch/depth.launch.py gives to RViz; a script stands for RViz itself.

Skipped where launch is missing: it comes with a ROS 2 installation.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

for _name in ('launch', 'launch_ros'):
    pytest.importorskip(
        _name, reason=f'{_name} is not installed: it comes with ROS 2 from apt, not from PyPI'
    )

from test.support.launch import PATIENCE, Launched, offer_command
from test.support.ros import wait_until

OUTPUTS = ('depth/image_color', 'depth/points')


@pytest.fixture
def given(tmp_path, monkeypatch) -> Path:
    """Where the configuration that RViz was given lies, when it has been started."""
    script = tmp_path / 'rviz2'
    script.write_text(
        f'#!/bin/sh\ncp "$2" {tmp_path}/copy && mv {tmp_path}/copy {tmp_path}/given\n'
        f'echo "$@" > {tmp_path}/words\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(offer_command('rviz2', script)), prepend=':')
    return tmp_path / 'given'


@pytest.mark.parametrize(
    ('arguments', 'namespace', 'image', 'scan'),
    [
        ({}, '', '/camera/image_raw', '/scan'),
        (
            {'namespace': 'robot', 'image': 'cam/image/compressed', 'scan': '/obstacles'},
            '/robot',
            '/robot/cam/image/compressed',
            '/obstacles',
        ),
        (
            {'namespace': 'robot', 'cameras': 'front,rear', 'image': 'image'},
            '/robot/front',
            '/robot/front/image',
            '/robot/front/scan',
        ),
    ],
)
def test_rviz_shows_the_topics_of_the_launch(given, arguments, namespace, image, scan):
    with Launched(
        'depth.launch.py', rviz='true', device='cpu', frame='lens_optical_frame', **arguments
    ) as launched:
        wait_until(given.is_file, PATIENCE, f'RViz in {launched.output()}')
    displays = yaml.safe_load(given.read_text())['Visualization Manager']['Displays']
    assert {display['Topic']['Value'] for display in displays if 'Topic' in display} == {
        image,
        scan,
        *(f'{namespace}/{output}' for output in OUTPUTS),
    }
    assert '-f lens_optical_frame' in (given.parent / 'words').read_text()


@pytest.mark.skipif(shutil.which('rviz2') is not None, reason='RViz is installed')
def test_a_missing_rviz_is_one_sentence():
    with Launched('depth.launch.py', rviz='true') as launched:
        assert launched.wait() == 1
        assert 'rviz:=true needs RViz: sudo apt install' in launched.output()
