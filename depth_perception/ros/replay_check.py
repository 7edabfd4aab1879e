# SPDX-License-Identifier: Apache-2.0
"""`replay_check`: watch the node during a replay, keep its outputs, and judge them.

It ends by itself: when the replay has left the image topic and the last image has its outputs.
"""
from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from depth_perception import __version__
from depth_perception.bag import Bag, BagError
from depth_perception.bag_writer import BagWriter
from depth_perception.extras import explains_missing
from depth_perception.files import check_writable
from depth_perception.ros.arguments import without_ros_arguments
from depth_perception.ros.process import (
    ignore_signals,
    leave,
    leave_signals_to_ros,
    quit_at_once_on_signals,
)
from depth_perception.ros.stamps import serialized_stamp
from depth_perception.ros.start import WRONG_USAGE, StartError, enter_ros
from depth_perception.ros.topics import DEPTH

ALL = 'all'


def image_stamps(path: Path, topic: str | None) -> tuple[str, list[int]]:
    """The image topic and the stamps of its messages in the order of recording, nanoseconds.

    Raises:
        BagError: the bag or its images cannot be used.
    """
    with Bag(path) as bag:
        name = bag.image_topic(topic).name
        return name, [serialized_stamp(message.data) for message in bag.messages([name])]


def faults(images: Sequence[int], outputs: dict[str, Counter[int]], expected: int) -> list[str]:
    """What is wrong with the outputs, one sentence each; empty when all is well.

    Args:
        images: stamps of the bag's images.
        outputs: how many messages of each stamp came, by topic.
        expected: depth images that are the least.
    """
    depth = outputs[DEPTH]
    found = []
    if depth.total() < expected:
        found.append(f'{depth.total()} depth images for {len(images)} images: at least {expected} '
                     f'were expected')
    if images[-1] not in depth:
        found.append('the last image has no depth')
    for topic, stamps in outputs.items():
        if foreign := stamps.keys() - set(images):
            found.append(f'{len(foreign)} messages on {topic} have the stamp of no image, such as '
                         f'{min(foreign) / 1e9:.3f} s')
        if repeated := stamps - Counter(stamps.keys()):
            found.append(f'{repeated.total()} messages on {topic} came twice')
    return found


@explains_missing('replay_check')
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when all was well or it was interrupted, 1 for a fault, 2 for wrong usage."""
    quit_at_once_on_signals()
    words = [sys.argv[0], *arguments] if arguments is not None else sys.argv
    options = _parser().parse_args(without_ros_arguments(words[1:]))
    import rclpy
    from rclpy.executors import ExternalShutdownException

    try:
        enter_ros(words)
    except StartError as error:
        sys.stderr.write(f'replay_check: cannot start: {error}\n')
        return WRONG_USAGE
    try:
        return _check(options)
    except (BagError, OSError) as error:
        rclpy.logging.get_logger('replay_check').error(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except Exception:
        if rclpy.ok():  # otherwise a signal ended the context in the middle of a call
            raise
        return 0
    finally:
        ignore_signals()
        rclpy.try_shutdown()


def _check(options: argparse.Namespace) -> int:
    import rclpy

    from depth_perception.ros.output_watcher import OutputWatcher

    if options.report:
        check_writable(options.report)
    topic, images = image_stamps(options.bag, options.image)
    expected = len(images) if options.expect == ALL else options.expect
    with BagWriter(options.record) if options.record else nullcontext() as writer:
        watcher = OutputWatcher(topic, writer)
        leave_signals_to_ros()
        try:
            watcher.watch(images[-1])
        finally:
            watcher.destroy_node()
    if not rclpy.ok():
        return 0
    found = faults(images, watcher.stamps, expected)
    counts = {topic: stamps.total() for topic, stamps in watcher.stamps.items()}
    if options.report:
        report = {'images': len(images), 'outputs': counts, 'faults': found}
        options.report.write_text(json.dumps(report, indent=1) + '\n')
    logger = rclpy.logging.get_logger('replay_check')
    logger.info(f'{len(images)} images became ' + ', '.join(
        f'{count} on {topic}' for topic, count in counts.items()))
    for fault in found:
        logger.error(fault)
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='replay_check', description="Judge the node's outputs while a bag is played to it.")
    add = parser.add_argument
    add('--version', action='version', version=f'replay_check {__version__}')
    add('bag', type=Path, help='rosbag2 folder that is played')
    add('--image', metavar='TOPIC', help="the bag's image topic (default: found by itself)")
    add('--expect', type=_count_or_all, default=1, metavar='N',
        help='depth images that are the least, or "all" (default 1)')
    add('--record', type=Path, metavar='FOLDER', help='write the outputs into a rosbag2 folder')
    add('--report', type=Path, metavar='FILE', help='write counts and faults as JSON')
    return parser


def _count_or_all(text: str) -> int | str:
    if text == ALL:
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is neither a count nor "all"')
    return int(text)


def command() -> None:
    """What the installed `replay_check` runs: `main`, and out."""
    leave(main())


if __name__ == '__main__':
    command()
