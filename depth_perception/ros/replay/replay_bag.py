# SPDX-License-Identifier: Apache-2.0
"""`replay_bag`: play a rosbag2 recording, for machines without `ros2 bag`.

Messages are published byte for byte as recorded; only `--restamp` changes headers. `--list` prints
the contents of a recording for the launch files, whose Python may lack rosbags.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depth_perception import __version__
from depth_perception.errors import UsageError, first_line, refusing_odd_paths
from depth_perception.extras import explains_missing
from depth_perception.io.bag import COMPRESSED, Bag, BagError, Message, Topic
from depth_perception.io.encoded_size import encoded_size
from depth_perception.number_options import number
from depth_perception.ros.arguments import without_ros_arguments
from depth_perception.ros.conversions.stamps import restamped
from depth_perception.ros.conversions.topics import CHECK, READY
from depth_perception.ros.process import (
    ignore_signals,
    leave,
    leave_signals_to_ros,
    quit_at_once_on_signals,
)
from depth_perception.ros.start import WRONG_USAGE, StartError, enter_ros
from depth_perception.ros.transport import prefer_large_shared_memory

if TYPE_CHECKING:
    from rclpy.node import Node

    from depth_perception.ros.replay.lockstep import Lockstep

#: rosbag2's own rate of /clock, Hz.
CLOCK_RATE = 40.0
#: Seconds to wait at the end for subscribers to receive everything.
ACKNOWLEDGE_TIMEOUT = 10.0
HEADER_TYPE = 'std_msgs/Header'


@dataclass
class Report:
    """Counts of played messages.

    Attributes:
        sent: published messages by topic.
        unheard: messages published before the topic had a subscriber, by topic.
        worst_lateness: largest delay of a message, seconds.
    """

    sent: Counter[str]
    unheard: Counter[str]
    worst_lateness: float = 0.0


class Schedule:
    """Due times of messages on the monotonic clock, without drift.

    Args:
        start: bag time of the first message, nanoseconds.
        rate: playing speed; 2 plays twice as fast.
    """

    def __init__(self, start: int, rate: float) -> None:
        self.bag_start = start
        self._steady_start = time.monotonic()
        self._rate = rate

    def seconds_left(self, bag_time: int) -> float:
        """Return the seconds until a bag time is due; negative if it is past."""
        due = self._steady_start + (bag_time - self.bag_start) / 1e9 / self._rate
        return due - time.monotonic()

    def hold(self, bag_time: int) -> None:
        """Set the current bag time, after the bag's time stood still."""
        self._steady_start -= self.seconds_left(bag_time)

    def bag_time(self) -> int:
        """Return the current bag time, nanoseconds."""
        passed = (time.monotonic() - self._steady_start) * self._rate
        return self.bag_start + int(passed * 1e9)


class Player:
    """Publish the messages of a bag.

    Args:
        node: node that creates the publishers.
        bag: the bag to play.
        topics: the topics to play.
        options: parsed command line.
    """

    def __init__(
        self, node: Node, bag: Bag, topics: list[Topic], options: argparse.Namespace
    ) -> None:
        self._node = node
        self._bag = bag
        self._options = options
        self._headed: set[str] = set()
        self._publishers: dict[str, Any] = {}
        self._lockstep = self._make_lockstep() if options.lockstep else None
        for topic in topics:
            why = self._unwanted(topic) or self._add_publisher(topic)
            if why:
                node.get_logger().warning(f'{topic.name} is not played: {why}')
        self._check()
        self._clock = self._make_clock() if options.clock else None
        self._next_tick = 0.0
        self._last_stamp = (b'', 0)
        self.report = Report(Counter(), Counter())

    def wait_for_subscribers(self, seconds: float) -> None:
        """Wait until all expected subscribers are there, or until the timeout.

        Raises:
            LockstepError: nobody publishes depth.
        """
        from depth_perception.ros.replay.audience import Audience

        images = [
            topic.name for topic in self._bag.image_topics() if topic.name in self._publishers
        ]
        each = [topic for topic in self._options.wait_for or () if topic in self._publishers]
        if self._lockstep and not each:
            each = [self._lockstep.images]
        audience = Audience(
            self._node,
            self._publishers,
            each,
            images,
            self._options.wait_for_nodes,
            self._unready,
            [self._lockstep.depth] if self._lockstep else [],
        )
        missing = audience.wait(seconds)
        if not _alive(self._node):
            return
        if self._lockstep and not self._node.count_publishers(self._lockstep.depth):
            self._lockstep.give_up(seconds)
        if missing and seconds > 0:
            self._node.get_logger().warning(
                f'plays without {", ".join(missing)}: not there after {seconds:g} s'
            )

    def _unready(self) -> list[str]:
        """Return descriptions of what else is missing, such as a check that is not ready."""
        not_ready = [
            name
            for name in self._options.wait_for_nodes
            if name.endswith(f'/{CHECK}')
            and not self._node.count_publishers(f'{name[: -len(CHECK)]}{READY}')
        ]
        return [
            *(self._lockstep.missing() if self._lockstep else []),
            *(
                f'the confirmation of {name} that it receives the outputs of the node'
                for name in not_ready
            ),
        ]

    def play(self) -> None:
        """Play once, or as often as `--loop` says, and wait until everything is received."""
        times = self._options.loop
        played = 0
        while _alive(self._node) and (times == 0 or played < times):
            self._last_stamp = (b'', 0)
            played += 1
            self._play_once(again=played != times)
        self._drain()

    def _play_once(self, again: bool) -> None:
        """Play the bag once; `again` indicates that another round follows."""
        schedule: Schedule | None = None
        counts: Counter[str] = Counter()
        last = 0
        if self._lockstep:
            self._lockstep.start()
        for message in self._bag.messages(self._publishers):
            schedule = schedule or Schedule(message.time, self._options.rate)
            if self._lockstep:
                self._keep_step(self._lockstep, schedule, message, last)
            if not self._wait(schedule, message.time):
                return
            if self._lockstep:
                schedule.hold(message.time)
            lateness = -schedule.seconds_left(message.time)
            self.report.worst_lateness = max(self.report.worst_lateness, lateness)
            self._publish(message, schedule)
            counts[message.topic] += 1
            last = message.time
        if self._lockstep:
            self._lockstep.wait()
        elif again and schedule is not None:
            # Wait one period between rounds. Otherwise the last image of a round and the first of
            # the next come at once, and a node would drop the first.
            period = (last - schedule.bag_start) // max(1, max(counts.values()) - 1)
            self._wait(schedule, last + period)

    def _keep_step(
        self, lockstep: Lockstep, schedule: Schedule, message: Message, last: int
    ) -> None:
        """Wait for the depth of the last image, while the bag's clock stands still.

        The clock also stands still while a message is read and published, so that images do not
        grow old.
        """
        if message.topic == lockstep.images:
            lockstep.wait()
        schedule.hold(last or message.time)

    def _wait(self, schedule: Schedule, bag_time: int) -> bool:
        """Sleep until a message is due, and publish /clock; return False on shutdown."""
        while _alive(self._node):
            self._tick(schedule, bag_time)
            left = schedule.seconds_left(bag_time)
            if left <= 0:
                return True
            time.sleep(min(left, 1 / (self._options.clock or 10.0)))
        return False

    def _publish(self, message: Message, schedule: Schedule) -> None:
        data = message.data
        if self._options.restamp and message.topic in self._headed:
            data = restamped(data, self._new_stamp(data[4:12]))
        if self._lockstep and message.topic == self._lockstep.images:
            self._next_tick = 0.0  # send the image's time before the image
            self._tick(schedule, message.time)
            self._lockstep.played(data)
        sent, unheard, publisher = (
            self.report.sent,
            self.report.unheard,
            self._publishers[message.topic],
        )
        if unheard[message.topic] == sent[message.topic] and not publisher.get_subscription_count():
            unheard[message.topic] += 1
        publisher.publish(data)
        sent[message.topic] += 1

    def _new_stamp(self, recorded: bytes) -> int:
        """Return the present time; the same for an image and its camera_info."""
        if recorded != self._last_stamp[0]:
            self._last_stamp = (recorded, time.time_ns())
        return self._last_stamp[1]

    def _drain(self) -> None:
        """Wait until all messages are received: undelivered ones are lost with their publisher."""
        from rclpy.duration import Duration

        for publisher in self._publishers.values():
            deadline = time.monotonic() + ACKNOWLEDGE_TIMEOUT
            # In short waits, so that a signal is handled even if a subscriber hangs.
            while _alive(self._node) and time.monotonic() < deadline:
                if publisher.wait_for_all_acked(Duration(seconds=0.2)):
                    break

    def _unwanted(self, topic: Topic) -> str:
        """Return why a topic must not be played, or ''."""
        if topic.name in self._options.exclude:
            return 'it is excluded'
        if topic.name == '/clock' and self._options.clock:
            return 'this replay publishes its own clock'
        if self._lockstep and topic.name in ('/diagnostics', self._lockstep.depth):
            return 'the replay subscribes to that of the node'
        return ''

    def _add_publisher(self, topic: Topic) -> str:
        """Create a publisher; return why that is not possible, or ''."""
        kind = message_class(topic.type)
        if kind is None:
            return f'its type {topic.type} is not installed here'
        try:
            from rclpy.validate_full_topic_name import validate_full_topic_name

            validate_full_topic_name(topic.name)
            publisher = self._node.create_publisher(kind, topic.name, self._profile(topic))
        except Exception as error:  # ROS may refuse a name or type; play the others
            if not _alive(self._node):
                raise
            return f'ROS 2 refuses it: {first_line(error)}'
        fields = list(kind.get_fields_and_field_types().items())
        if fields and fields[0] == ('header', HEADER_TYPE):
            self._headed.add(topic.name)
        self._publishers[topic.name] = publisher
        return ''

    def _check(self) -> None:
        """Raise BagError if there is nothing to play, or a requested topic is missing."""
        if not self._publishers:
            raise BagError(f'no topic of bag {self._bag.path} can be played')
        for option, topics in (
            ('--lockstep', (self._options.lockstep or ())[:1]),
            ('--wait-for', self._options.wait_for or ()),
        ):
            for topic in topics:
                if topic not in self._publishers:
                    raise BagError(
                        f'{option}: bag {self._bag.path} plays no {topic}; it plays '
                        f'{", ".join(self._publishers)}'
                    )

    def _profile(self, topic: Topic) -> Any:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        reliable = topic.reliable is not False and not self._options.best_effort
        if self._lockstep and topic.name == self._lockstep.images:
            reliable = True  # compatible with every subscriber, and no image is lost
        latched = topic.transient_local or topic.name == '/tf_static'
        return QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )

    def _make_clock(self) -> Any:
        from rosgraph_msgs.msg import Clock

        return self._node.create_publisher(Clock, '/clock', 10)

    def _make_lockstep(self) -> Lockstep:
        from rclpy.exceptions import InvalidTopicNameException

        from depth_perception.ros.replay.lockstep import Lockstep

        try:
            return Lockstep(self._node, *self._options.lockstep)
        except InvalidTopicNameException as error:
            raise UsageError(f'--lockstep: {" ".join(str(error).split())}') from error

    def _tick(self, schedule: Schedule, latest: int) -> None:
        """Publish the bag time if a tick is due, but never a time after `latest`."""
        now = time.monotonic()
        if self._clock is None or now < self._next_tick:
            return
        from rosgraph_msgs.msg import Clock

        self._next_tick = now + 1 / self._options.clock
        message = Clock()
        bag_time = min(schedule.bag_time(), latest)
        message.clock.sec, message.clock.nanosec = divmod(bag_time, 10**9)
        self._clock.publish(message)


def message_class(name: str) -> Any | None:
    """Return the Python class of `package/msg/Name`; None if the package is not installed."""
    package, *middle, kind = name.split('/')
    try:
        return getattr(importlib.import_module('.'.join([package, *(middle or ['msg'])])), kind)
    except (ImportError, AttributeError):
        return None


def chosen_topics(bag: Bag, names: list[str] | None) -> list[Topic]:
    """Return the topics to play: all, or the named ones.

    Raises:
        BagError: a name is not in the bag; the message lists the topics.
    """
    for name in names or ():
        if name not in bag.topics:
            raise BagError(f'bag {bag.path} has no topic {name}; it has {", ".join(bag.topics)}')
    return [bag.topics[name] for name in names or bag.topics]


def contents(bag: Bag) -> dict[str, Any]:
    """Return the contents of a bag: cameras by image topic, the most likely first; all topics.

    Raises:
        BagError: the bag has no camera images.
    """
    bag.image_topic()
    cameras = {}
    for image in bag.image_topics():
        info = bag.camera_info_topic(image)
        cameras[image.name] = {
            'compressed': image.type == COMPRESSED,
            'size': _size(bag, image),
            'camera_info': info.name if info else None,
        }
    return {'cameras': cameras, 'topics': {topic.name: topic.type for topic in bag.topics.values()}}


def _size(bag: Bag, topic: Topic) -> str | None:
    """Return WIDTHxHEIGHT of the first image; None if it is unknown."""
    first = bag.deserialize(next(bag.messages([topic.name])))
    if topic.type == COMPRESSED:
        size = encoded_size(first.data.tobytes())
    else:
        size = first.width, first.height
    return f'{size[0]}x{size[1]}' if size and min(size) > 0 else None


@explains_missing('replay_bag')
def main(arguments: list[str] | None = None) -> int:
    """Run the command line: return 0 if played or interrupted, 1 on failure, 2 for wrong usage."""
    quit_at_once_on_signals()
    words = [sys.argv[0], *arguments] if arguments is not None else sys.argv
    options = _parser().parse_args(without_ros_arguments(words[1:]))
    if options.list:
        return _list(options.bag)
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from depth_perception.ros.replay.lockstep import LockstepError

    prefer_large_shared_memory()
    try:
        enter_ros(words)
    except StartError as error:
        sys.stderr.write(f'replay_bag: cannot start: {error}\n')
        return WRONG_USAGE
    node = rclpy.create_node('replay_bag', start_parameter_services=False)
    leave_signals_to_ros()
    try:
        with refusing_odd_paths(), Bag(options.bag) as bag:
            player = Player(node, bag, chosen_topics(bag, options.topics), options)
            player.wait_for_subscribers(options.wait_for_subscribers)
            player.play()
            _say(node, player.report, [topic.name for topic in bag.image_topics()])
    except UsageError as error:
        node.get_logger().error(str(error))
        return WRONG_USAGE
    except (BagError, LockstepError) as error:
        node.get_logger().error(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # otherwise a signal ended the context in the middle of a call
            raise
    finally:
        ignore_signals()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _list(path: str) -> int:
    try:
        with refusing_odd_paths(), Bag(path) as bag:
            sys.stdout.write(json.dumps(contents(bag), indent=1) + '\n')
    except UsageError as error:
        sys.stderr.write(f'replay_bag: {error}\n')
        return WRONG_USAGE
    except BagError as error:
        sys.stderr.write(f'replay_bag: {error}\n')
        return 1
    return 0


def _say(node: Node, report: Report, images: list[str]) -> None:
    if _alive(node):
        sent = ', '.join(f'{count} on {topic}' for topic, count in sorted(report.sent.items()))
        node.get_logger().info(
            f'played {sent}; at worst {1000 * report.worst_lateness:.1f} ms late'
        )
        unheard = _unheard(report, [topic for topic in images if topic in report.sent])
        if unheard:
            node.get_logger().warning(unheard)


def _unheard(report: Report, images: list[str]) -> str:
    """Return a warning if no node received the images, or not from the first one on; or ''.

    A recording may have several cameras; only the one that was received most is considered.
    """
    if not images:
        return ''
    topic = min(images, key=lambda topic: report.unheard[topic] / report.sent[topic])
    missed, sent = report.unheard[topic], report.sent[topic]
    remedy = '--wait-for-subscribers 60 waits for a node that is still starting'
    if missed == sent:
        return f'nobody subscribed to {" or ".join(images)}: {remedy}'
    if missed:
        return (
            f'nobody had subscribed to {topic} yet when its first {missed} of {sent} images '
            f'were played: {remedy}'
        )
    return ''


def _alive(node: Node) -> bool:
    return node.context.ok()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='replay_bag', description='Play a rosbag2 recording (sqlite3 or mcap) onto its topics.'
    )
    add = parser.add_argument
    add('--version', action='version', version=f'replay_bag {__version__}')
    add('bag', help='rosbag2 folder, or its .mcap or .db3 file')
    add(
        '--list',
        action='store_true',
        help='play nothing, print as JSON which cameras and topics there are',
    )
    add(
        '--rate',
        type=number(float, 0, above=True),
        default=1.0,
        help='2 plays twice as fast (default 1)',
    )
    add(
        '--loop',
        type=number(int, 1),
        nargs='?',
        const=0,
        default=1,
        metavar='N',
        help='play N times, or without N until interrupted',
    )
    add(
        '--clock',
        type=number(float, 0, above=True),
        nargs='?',
        const=CLOCK_RATE,
        default=None,
        metavar='HZ',
        help=f"publish the bag's time on /clock (default {CLOCK_RATE:g} Hz)",
    )
    add('--topics', nargs='+', metavar='TOPIC', help='play only these')
    add('--exclude', nargs='+', default=[], metavar='TOPIC', help='do not play these')
    _add_waiting(parser)
    add('--restamp', action='store_true', help='put the present time into headers')
    add('--best-effort', action='store_true', help='publish best effort, as many cameras do')
    return parser


def _add_waiting(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        '--wait-for-subscribers',
        type=number(float, 0),
        default=0.0,
        metavar='SECONDS',
        help='before playing, wait up to this long for subscribers: of --wait-for, or of the '
        'images of one camera',
    )
    add('--wait-for', nargs='+', metavar='TOPIC', help='topics that must each have a subscriber')
    add(
        '--wait-for-nodes',
        nargs='+',
        default=[],
        metavar='NODE',
        help='full names of nodes that must be there too',
    )
    add(
        '--lockstep',
        nargs=2,
        metavar=('IMAGES', 'DEPTH'),
        help='play the next message on topic IMAGES when the last one has its depth on topic DEPTH',
    )


def command() -> None:
    """Run `main` and end the process: entry point of the installed `replay_bag`."""
    leave(main())


if __name__ == '__main__':
    command()
