# SPDX-License-Identifier: Apache-2.0
"""The command line of `depth_node`, beside `--ros-args`."""
from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence

from depth_perception import __version__

#: A name in ROS (design.ros2.org, "Topic and Service name mapping"), with names in it at will.
_NAME = re.compile(r'[A-Za-z]\w*(/[A-Za-z]\w*)*', re.ASCII)


def parser() -> argparse.ArgumentParser:
    """What `depth_node` accepts."""
    result = argparse.ArgumentParser(
        prog='depth_node', description='Depth, point cloud and obstacle scan of a camera. '
        'Parameters, remappings and the namespace come after --ros-args.')
    result.add_argument('--version', action='version', version=f'depth_node {__version__}')
    result.add_argument(
        '--cameras', type=camera_names, default=(), metavar='NAME,NAME,...',
        help='serve these cameras, each in the namespace of its name, with one network')
    return result


def without_ros_arguments(words: Sequence[str]) -> list[str]:
    """The words but for those from each `--ros-args` to the next `--`, which are ROS's.

    As rclpy does it, which takes seconds to import and may be missing.
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
    """The names in a list with commas.

    Raises:
        argparse.ArgumentTypeError: one is no name in ROS, or there twice.
    """
    names = tuple(name.strip() for name in text.split(','))
    for name in names:
        if not _NAME.fullmatch(name) or '__' in name:
            raise argparse.ArgumentTypeError(
                f'{name!r} is no name for a camera: it needs letters, digits and single _, '
                'and begins with a letter, such as front,rear')
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f'there are two cameras {name!r}: give each its own')
    return names


def process_namespace(words: Sequence[str]) -> str:
    """What `-r __ns:=/robot` among the words says, as rcl understands it: the first rule; or ''."""
    rules = (rule for flag, rule in itertools.pairwise(words) if flag in ('-r', '--remap'))
    found = (re.fullmatch(r'(?:depth_node:)?__ns:=(.*)', rule) for rule in rules)
    return next((match[1].rstrip('/') for match in found if match), '')
