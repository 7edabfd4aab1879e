# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may use."""
from __future__ import annotations

import os

from depth_perception.ros.transport import prefer_large_shared_memory
from depth_perception.threads import share_the_cores

# One domain a test process, before rclpy reads it: parallel runs must not hear each other.
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
# What the package's own processes do: the tests publish camera images and run networks too.
prefer_large_shared_memory()
share_the_cores()
