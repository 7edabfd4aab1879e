# SPDX-License-Identifier: Apache-2.0
"""Make Fast DDS deliver large images between processes of one machine; say where buffers are small.

Other DDS vendors ignore these variables. Nothing is changed if the user has chosen profiles or
transports, or if shared memory is scarce (some containers have 64 MB).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from depth_perception.reading import NotTextError, read_text

PROFILE = Path(__file__).with_name('large_images.fastdds.xml')
#: segment_size of the profile, bytes; each process uses one segment.
SEGMENT = 32 * 1024 * 1024
SHARED_MEMORY = Path('/dev/shm')
#: Size in bytes of a receive buffer with which Cyclone DDS lost no 640x480 images, and the file
#: with the kernel's limit.
RECEIVE_BUFFER, RMEM_MAX = 10_000_000, Path('/proc/sys/net/core/rmem_max')
#: Variables with the path of the profiles, for Fast DDS 3 and 2.
_NEW, _OLD = 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'
#: Releases of ROS 2 with Fast DDS 2.
_OLD_RELEASES = ('humble', 'iron', 'jazzy')
_CHOICES = (_NEW, _OLD, 'FASTDDS_BUILTIN_TRANSPORTS', 'ROS_DISCOVERY_SERVER')
_DEFAULT_FILES = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')


def prefer_large_shared_memory(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Select the profile before rclpy.init; return False if nothing was changed."""
    chosen = any(environment.get(name) for name in _CHOICES) or any(
        Path(name).exists() for name in _DEFAULT_FILES
    )
    if chosen or not PROFILE.exists() or not _has_room():
        return False
    environment.update(dict.fromkeys(profile_variables(environment), str(PROFILE)))
    return True


def large_image_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables to add to the environment of a process that publishes large images."""
    chosen = dict(environment)
    prefer_large_shared_memory(chosen)
    return {name: value for name, value in chosen.items() if environment.get(name) != value}


def profile_variables(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the variables of this release of ROS 2, or both if the release is unknown.

    A release with Fast DDS 3 warns about the old name.
    """
    release = environment.get('ROS_DISTRO')
    if not release:
        return _NEW, _OLD
    return (_OLD,) if release in _OLD_RELEASES else (_NEW,)


def buffer_problem(middleware: str, environment: Mapping[str, str] = os.environ) -> str:
    """Why large images may push messages out of the buffers of a middleware, one sentence; or ''.

    Args:
        middleware: such as `rmw_cyclonedds_cpp`.
        environment: of this process.
    """
    if 'cyclone' in middleware:
        return _cyclone_problem(environment.get('CYCLONEDDS_URI', ''))
    chosen = any(environment.get(name) for name in _CHOICES)
    if 'fastrtps' in middleware and not chosen and not _has_room():
        return (
            f'{SHARED_MEMORY} has less than {8 * SEGMENT >> 20} MB free, so that Fast DDS has '
            'its default of half a megabyte for each process: large images may get lost, see '
            'docs/dds.md'
        )
    return ''


def _cyclone_problem(configuration: str) -> str:
    """Cyclone DDS asks for 1 MB by itself, of which one image takes most."""
    try:
        largest = int(RMEM_MAX.read_text())
    except (OSError, ValueError):
        largest = RECEIVE_BUFFER  # some containers do not tell
    missing = []
    if largest < RECEIVE_BUFFER:
        missing.append(f'net.core.rmem_max is {largest}, less than {RECEIVE_BUFFER}')
    if 'SocketReceiveBufferSize' not in _cyclone_text(configuration):
        missing.append('CYCLONEDDS_URI sets no SocketReceiveBufferSize')
    if not missing:
        return ''
    return (
        f'large images may push other messages out of the receive buffer: '
        f'{" and ".join(missing)}, see docs/dds.md'
    )


def _cyclone_text(configuration: str) -> str:
    """What CYCLONEDDS_URI says: XML itself, or the files that it names, with commas between."""
    if '<' in configuration:
        return configuration
    found = []
    for name in configuration.split(','):
        with contextlib.suppress(OSError, NotTextError):
            found.append(read_text(name.strip().removeprefix('file://')))
    return ''.join(found)


def _has_room() -> bool:
    try:
        return shutil.disk_usage(SHARED_MEMORY).free >= 8 * SEGMENT
    except OSError:
        return False
