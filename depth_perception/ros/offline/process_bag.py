# SPDX-License-Identifier: Apache-2.0
"""Process each frame of a recording with the node's pipeline, and write a new recording.

    process_bag recording depth
    process_bag recording depth --outputs depth/image scan -p max_depth:=5.0
    process_bag recording depth --ros-args --params-file robot.yaml -r image:=/front/image_raw

Nothing is played back or sent over the network: no frame waits for its time, and none is dropped.
If the process is killed, the same command continues where it stopped. Parameters and remappings are
the same as for the node.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from depth_perception import __version__
from depth_perception.errors import UsageError, refuse_empty, refusing_odd_paths
from depth_perception.extras import explains_missing
from depth_perception.inference.threads import share_the_cores
from depth_perception.number_options import number
from depth_perception.ros.conversions.topics import DEPTH, INFO, OUTPUTS, POINTS, SCAN
from depth_perception.termination import exit_code, terminable

DEFAULT_OUTPUTS = (DEPTH, INFO, POINTS, SCAN)
#: Frames per file of the new bag, 0.7 GB at 640x480; at most this many are repeated after a kill.
FRAMES_PER_FILE = 300
WRONG_USAGE = 2


@explains_missing('process_bag')
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    0 = all frames done, 1 = some frames failed, 2 = nothing can be done, 130 or 143 = killed.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args([word for word in words if word not in ('--ros-args', '--')])
    share_the_cores()
    try:
        with terminable(), refusing_odd_paths():
            refuse_empty(words)
            from depth_perception.ros.offline.processing import process

            return process(options)
    except UsageError as error:
        sys.stderr.write(f'process_bag: {error}\n')
        return WRONG_USAGE
    except KeyboardInterrupt as error:
        sys.stderr.write('process_bag: interrupted; the same command goes on from here\n')
        return exit_code(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='process_bag',
        description='Write the depth of a rosbag2 recording into a new one. '
        'Arguments of the node may follow, with or without --ros-args. If it was interrupted, the '
        'same command continues where it stopped.',
    )
    add = parser.add_argument
    add('--version', action='version', version=f'process_bag {__version__}')
    add('bag', metavar='IN', type=Path, help='rosbag2 folder, or its .mcap or .db3 file')
    add('out', metavar='OUT', type=Path, help='rosbag2 folder to write')
    add(
        '--outputs',
        nargs='+',
        metavar='TOPIC',
        choices=OUTPUTS,
        default=DEFAULT_OUTPUTS,
        help=f"the node's outputs to write: of {', '.join(OUTPUTS)} "
        f'(default: {" ".join(DEFAULT_OUTPUTS)})',
    )
    add(
        '--copy',
        nargs='+',
        metavar='TOPIC',
        default=[],
        help='topics of the recording to copy, in addition to /tf and /tf_static',
    )
    add(
        '--frames-per-file',
        type=number(int, 1),
        default=FRAMES_PER_FILE,
        metavar='N',
        help='frames in each file of the new bag; at most so many are processed again after an '
        'interruption '
        '(default: %(default)s)',
    )
    _add_ros_arguments(parser)
    return parser


def _add_ros_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '-r',
        '--remap',
        action='append',
        default=[],
        metavar='FROM:=TO',
        help='as for the node, such as image:=/camera/image_raw (default: the likeliest topics of '
        'the recording) or __ns:=/front',
    )
    add(
        '-p',
        '--param',
        action='append',
        default=[],
        metavar='NAME:=VALUE',
        help='a parameter of the node',
    )
    add(
        '--params-file',
        action='append',
        default=[],
        metavar='FILE',
        help='YAML file with parameters of the node',
    )


def command() -> None:
    """Run `main` and exit; entry point of the installed `process_bag`."""
    sys.exit(main())


if __name__ == '__main__':
    command()
