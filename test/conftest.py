# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may use."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from depth_perception.inference.threads import share_the_cores
from depth_perception.ros.transport import prefer_large_shared_memory

# What a robot's .bashrc sets, and what would change what the tests hear, or what ROS says.
for _name in (
    'ROS_LOCALHOST_ONLY',
    'ROS_AUTOMATIC_DISCOVERY_RANGE',
    'ROS_STATIC_PEERS',
    'ROS_DISCOVERY_SERVER',
    'ROS_SUPER_CLIENT',
    'ROS_NAMESPACE',
    'ROS_SECURITY_ENABLE',
    'ROS_DISABLE_LOANED_MESSAGES',
    'CYCLONEDDS_URI',
    'ZENOH_CONFIG_OVERRIDE',
    'FASTDDS_BUILTIN_TRANSPORTS',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'RMW_FASTRTPS_USE_QOS_FROM_XML',
    'RMW_FASTRTPS_PUBLICATION_MODE',
    'RCUTILS_COLORIZED_OUTPUT',
    'RCUTILS_CONSOLE_OUTPUT_FORMAT',
    'RCUTILS_LOGGING_BUFFERED_STREAM',
    'RCUTILS_LOGGING_USE_STDOUT',
):
    os.environ.pop(_name, None)
# One domain a test process, before rclpy reads it: parallel runs must not hear each other.
# A worker of pytest-xdist would inherit that of the process that started it.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ.pop('ROS_DOMAIN_ID', None)
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# What OpenVINO compiles is kept for this run, and is none of the user's.
os.environ['XDG_CACHE_HOME'] = _cache = tempfile.mkdtemp(prefix='depth_perception_test_')
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
# What the package's own processes do: the tests publish camera images and run networks too.
prefer_large_shared_memory()
share_the_cores()

#: What talks over ROS, or waits for processes that do: one worker runs these, one after the other.
_TOGETHER = {'benchmarks', 'demo', 'launch', 'ros', 'test_stop_at_obstacle.py', 'view'}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group for `pytest -n 2 --dist loadgroup` (pytest-xdist): the long chain first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item.path)))
        # `-m cuda` runs what needs a GPU, and nothing else.
        if any(
            mark.kwargs.get('reason') == 'no CUDA device here'
            for mark in item.iter_markers('skipif')
        ):
            item.add_marker(pytest.mark.cuda)
    items.sort(key=lambda item: _group(item.path) != 'ros')


def _group(file: Path) -> str:
    talks = not _TOGETHER.isdisjoint(file.relative_to(Path(__file__).parent).parts)
    return 'ros' if talks else str(file)
