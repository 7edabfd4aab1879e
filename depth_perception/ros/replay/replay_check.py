# SPDX-License-Identifier: Apache-2.0
"""`replay_check`: check the node's outputs during a replay, and record inputs and outputs.

The program ends by itself when the replay is over and the node has finished the last image.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_perception import __version__
from depth_perception.extras import explains_missing
from depth_perception.io.bag import Bag, BagError
from depth_perception.io.files import check_writable, write_atomically
from depth_perception.ros.arguments import without_ros_arguments
from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.conversions.topics import DEPTH
from depth_perception.ros.process import (
    ignore_signals,
    leave,
    leave_signals_to_ros,
    quit_at_once_on_signals,
)
from depth_perception.ros.replay.record import TF, TF_STATIC, ReplayRecord
from depth_perception.ros.start import WRONG_USAGE, StartError, enter_ros

ALL = 'all'


@dataclass(frozen=True)
class Played:
    """The node's inputs in a bag.

    Attributes:
        image: topic of the images.
        inputs: topics that the node subscribes to.
        stamps: stamps of the images in the order of recording, nanoseconds.
        times: recording times of the images by stamp, nanoseconds.
    """

    image: str
    inputs: tuple[str, ...]
    stamps: list[int]
    times: dict[int, int]


def played(path: Path, image: str | None, camera_info: str | None = None) -> Played:
    """Return the node's inputs in a bag.

    Raises:
        BagError: the bag or its images cannot be used.
    """
    with Bag(path) as bag:
        topic = bag.image_topic(image)
        info = bag.camera_info_topic(topic)
        if camera_info and camera_info not in bag.topics:
            raise BagError(f'bag {path} has no {camera_info}; it has {", ".join(bag.topics)}')
        names = (topic.name, camera_info or (info.name if info else ''), TF, TF_STATIC)
        times = [
            (serialized_stamp(message.data), message.time) for message in bag.messages([topic.name])
        ]
        return Played(
            topic.name, tuple(filter(None, names)), [stamp for stamp, _ in times], dict(times)
        )


def faults(
    images: Sequence[int], outputs: dict[str, Counter[int]], expected: int, finished: bool = True
) -> list[str]:
    """Return a sentence for each fault of the outputs.

    Args:
        images: stamps of the bag's images; some drivers give several images one stamp.
        outputs: number of received messages by stamp, by topic.
        expected: smallest acceptable number of depth images.
        finished: whether the node has finished all images.
    """
    depth = outputs[DEPTH]
    found = []
    if depth.total() < expected:
        found.append(
            f'{depth.total()} depth images for {len(images)} images: at least {expected} '
            f'were expected'
        )
    if not finished:
        found.append('the node did not finish: the last image has no depth')
    counts = Counter(images)
    for topic, stamps in outputs.items():
        if foreign := stamps.keys() - counts.keys():
            found.append(
                f'{len(foreign)} messages on {topic} have stamps that no image has, such '
                f'as {min(foreign) / 1e9:.3f} s'
            )
        if repeated := stamps - counts - Counter({stamp: stamps[stamp] for stamp in foreign}):
            found.append(f'{repeated.total()} messages on {topic} came twice')
    return found


@explains_missing('replay_check')
def main(arguments: list[str] | None = None) -> int:
    """Run the command line: return 0 if all is well or interrupted, 1 for faults, 2 for usage."""
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

    from depth_perception.ros.replay.output_watcher import OutputWatcher

    if options.report:
        check_writable(options.report)
    about = played(options.bag, options.image, options.camera_info)
    expected = len(about.stamps) if options.expect == ALL else options.expect
    with _record(options, about) as record:
        watcher = OutputWatcher(about.image, record)
        leave_signals_to_ros()
        try:
            finished = watcher.watch(about.stamps[-1])
        finally:
            watcher.destroy_node()
    if not rclpy.ok():
        return 0
    found = faults(about.stamps, watcher.stamps, expected, finished)
    report = {
        'images': len(about.stamps),
        'outputs': {topic: stamps.total() for topic, stamps in watcher.stamps.items()},
        'lost': dict(watcher.counters.lost),
        'missed': watcher.missed(),
        'faults': found,
    }
    if options.report:
        write_atomically(options.report, [json.dumps(report, indent=1).encode() + b'\n'])
    _say(report)
    return 1 if found else 0


def _record(options: argparse.Namespace, about: Played) -> AbstractContextManager[Any]:
    if options.record is None:
        return nullcontext()
    return ReplayRecord(options.record, options.bag, about.inputs, about.times)


def _say(report: dict[str, Any]) -> None:
    import rclpy

    from depth_perception.ros.replay.frame_counters import LOSSES

    logger = rclpy.logging.get_logger('replay_check')
    logger.info(
        f'{report["images"]} images gave '
        + ', '.join(f'{count} on {topic}' for topic, count in report['outputs'].items())
    )
    for what, count in report['lost'].items():
        logger.warning(f'{count} images got no depth: {LOSSES[what]}')
    for topic, count in report['missed'].items():
        logger.warning(
            f'{count} messages on {topic} were published but did not arrive here: see '
            'docs/dds.md on large images'
        )
    for fault in report['faults']:
        logger.error(fault)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='replay_check', description="Check the node's outputs while a bag is played to it."
    )
    add = parser.add_argument
    add('--version', action='version', version=f'replay_check {__version__}')
    add('bag', type=Path, help='recording that is played: a rosbag2 folder, or one of its files')
    add('--image', metavar='TOPIC', help="the bag's image topic (default: found automatically)")
    add(
        '--camera-info',
        metavar='TOPIC',
        help="the bag's topic of the calibration (default: found automatically)",
    )
    add(
        '--expect',
        type=_count_or_all,
        default=1,
        metavar='N',
        help='smallest acceptable number of depth images, or "all" (default 1)',
    )
    add(
        '--record',
        type=Path,
        metavar='FOLDER',
        help='write the outputs and inputs of the node, with TF, into a new rosbag2 folder',
    )
    add('--report', type=Path, metavar='FILE', help='write counts and faults as JSON')
    return parser


def _count_or_all(text: str) -> int | str:
    if text == ALL:
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is neither a count nor "all"')
    return int(text)


def command() -> None:
    """Run `main` and end the process: entry point of the installed `replay_check`."""
    leave(main())


if __name__ == '__main__':
    command()
