# SPDX-License-Identifier: Apache-2.0
"""What a robot's .bashrc sets does not reach the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_variables_of_ros_are_the_tests_own():
    theirs = {
        'ROS_LOCALHOST_ONLY': '1',
        'ROS_NAMESPACE': '/robot',
        'ROS_DISCOVERY_SERVER': 'host',
        'CYCLONEDDS_URI': 'file:///none.xml',
        'RCUTILS_COLORIZED_OUTPUT': '1',
    }
    program = f'import os, test.conftest; print([n for n in {list(theirs)} if n in os.environ])'
    said = subprocess.run(
        [sys.executable, '-c', program],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **theirs},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == '[]'
