# SPDX-License-Identifier: Apache-2.0
"""The command line of `depth_node`, apart from `--ros-args`."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence

from depth_perception import __version__

#: A name in ROS, which may have parts (design.ros2.org, "Topic and Service name mapping").
_NAME = re.compile(r'[A-Za-z]\w*(/[A-Za-z]\w*)*', re.ASCII)


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `depth_node`."""
    result = argparse.ArgumentParser(
        prog='depth_node',
        description='Depth, point cloud and obstacle scan of a camera. '
        'Parameters, remappings and the namespace come after --ros-args.',
    )
    result.add_argument('--version', action='version', version=f'depth_node {__version__}')
    result.add_argument(
        '--cameras',
        type=camera_names,
        default=(),
        metavar='NAME,NAME,...',
        help='serve these cameras, each in the namespace of its name, with one network',
    )
    return result


def without_ros_arguments(words: Sequence[str]) -> list[str]:
    """Return the arguments without those from each `--ros-args` to the next `--`.

    Works like rclpy's function, but without rclpy, whose import takes seconds and may fail.
    """
    own, is_own = [], True
    for word in words:
        if word == '--ros-args':
            is_own = False
        elif is_own:
            own.append(word)
        elif word == '--':
            is_own = True
    return own


def camera_names(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of names.

    Raises:
        argparse.ArgumentTypeError: a name is invalid in ROS, or occurs twice.
    """
    names = tuple(name.strip() for name in text.split(','))
    for name in names:
        if not _NAME.fullmatch(name) or '__' in name:
            raise argparse.ArgumentTypeError(
                f'{name!r} is not a valid name for a camera: it needs letters, digits and single '
                '_, and begins with a letter, such as front,rear'
            )
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f'there are two cameras {name!r}: give each its own')
    return names


def process_namespace(words: Sequence[str]) -> str:
    """Return the namespace of the first `-r __ns:=/robot` rule in the arguments, as rcl; or ''."""
    rules = (rule for flag, rule in itertools.pairwise(words) if flag in ('-r', '--remap'))
    found = (re.fullmatch(r'(?:depth_node:)?__ns:=(.*)', rule) for rule in rules)
    return next((match[1].rstrip('/') for match in found if match), '')
