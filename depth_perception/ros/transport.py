# SPDX-License-Identifier: Apache-2.0
"""Make Fast DDS deliver large images between processes of one machine.

Other DDS vendors pay no heed to these variables. Nothing is changed where the user has chosen
profiles or transports, or where shared memory is scarce (some containers have 64 MB).
"""
from __future__ import annotations

import os
import shutil
from collections.abc import MutableMapping
from pathlib import Path

PROFILE = Path(__file__).with_name('large_images.fastdds.xml')
#: Its segment_size, bytes; a process takes one segment.
SEGMENT = 32 * 1024 * 1024
SHARED_MEMORY = Path('/dev/shm')
#: Fast DDS 3 and 2.
_PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
_CHOICES = (*_PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS', 'ROS_DISCOVERY_SERVER')
_DEFAULT_FILES = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')


def prefer_large_shared_memory(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Choose the profile, before rclpy.init; False where it is left as it was."""
    chosen = any(environment.get(name) for name in _CHOICES) \
        or any(Path(name).exists() for name in _DEFAULT_FILES)
    if chosen or not PROFILE.exists() or not _has_room():
        return False
    for name in _PROFILE_VARIABLES:
        environment[name] = str(PROFILE)
    return True


def _has_room() -> bool:
    try:
        return shutil.disk_usage(SHARED_MEMORY).free >= 8 * SEGMENT
    except OSError:
        return False
