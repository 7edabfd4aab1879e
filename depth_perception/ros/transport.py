# SPDX-License-Identifier: Apache-2.0
"""Make Fast DDS deliver large images between processes of one machine.

Other DDS vendors pay no heed to these variables. Nothing is changed where the user has chosen
profiles or transports, or where shared memory is scarce (some containers have 64 MB).
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path

PROFILE = Path(__file__).with_name('large_images.fastdds.xml')
#: Its segment_size, bytes; a process takes one segment.
SEGMENT = 32 * 1024 * 1024
SHARED_MEMORY = Path('/dev/shm')
#: Name the profiles for Fast DDS 3 and 2.
_NEW, _OLD = 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'
#: Releases of ROS 2 with Fast DDS 2.
_OLD_RELEASES = ('humble', 'iron', 'jazzy')
_CHOICES = (_NEW, _OLD, 'FASTDDS_BUILTIN_TRANSPORTS', 'ROS_DISCOVERY_SERVER')
_DEFAULT_FILES = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')


def prefer_large_shared_memory(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Choose the profile, before rclpy.init; False where it is left as it was."""
    chosen = any(environment.get(name) for name in _CHOICES) \
        or any(Path(name).exists() for name in _DEFAULT_FILES)
    if chosen or not PROFILE.exists() or not _has_room():
        return False
    environment.update(dict.fromkeys(profile_variables(environment), str(PROFILE)))
    return True


def large_image_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to add to the environment of another process that publishes large images; or nothing."""
    chosen = dict(environment)
    prefer_large_shared_memory(chosen)
    return {name: value for name, value in chosen.items() if environment.get(name) != value}


def profile_variables(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What names the profiles in this release of ROS 2; both where that is not known.

    A release with Fast DDS 3 warns of the old name.
    """
    release = environment.get('ROS_DISTRO')
    if not release:
        return _NEW, _OLD
    return (_OLD,) if release in _OLD_RELEASES else (_NEW,)


def _has_room() -> bool:
    try:
        return shutil.disk_usage(SHARED_MEMORY).free >= 8 * SEGMENT
    except OSError:
        return False
