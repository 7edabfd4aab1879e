# SPDX-License-Identifier: Apache-2.0
"""`replay_bag`: play a rosbag2 folder onto its topics, for machines without `ros2 bag`.

Messages are published as they were recorded, byte for byte; only `--restamp` touches a header.
"""
from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depth_perception import __version__
from depth_perception.bag import CAMERA_INFO, COMPRESSED, RAW, Bag, BagError, Message, Topic
from depth_perception.extras import explains_missing
from depth_perception.ros.arguments import without_ros_arguments
from depth_perception.ros.process import (
    ignore_signals,
    leave,
    leave_signals_to_ros,
    quit_at_once_on_signals,
)
from depth_perception.ros.stamps import restamped
from depth_perception.ros.start import WRONG_USAGE, StartError, enter_ros
from depth_perception.ros.transport import prefer_large_shared_memory

if TYPE_CHECKING:
    from rclpy.node import Node

    from depth_perception.ros.lockstep import Lockstep

#: rosbag2's own rate of /clock, Hz.
CLOCK_RATE = 40.0
#: Seconds that the end waits for subscribers to have everything.
ACKNOWLEDGE_TIMEOUT = 10.0
#: Seconds without a new subscriber after which all are taken to be there.
SETTLED = 1.0
HEADER_TYPE = 'std_msgs/Header'


@dataclass
class Report:
    """What was played: messages by topic and the worst lateness in seconds."""

    sent: Counter[str]
    worst_lateness: float = 0.0


class Schedule:
    """When each message of a bag is due, on the steady clock; drift-free.

    Args:
        start: bag time of the first message, nanoseconds.
        rate: 2 plays twice as fast.
    """

    def __init__(self, start: int, rate: float) -> None:
        self.bag_start = start
        self._steady_start = time.monotonic()
        self._rate = rate

    def seconds_left(self, bag_time: int) -> float:
        """Until that time of the bag is due; negative when it is past."""
        due = self._steady_start + (bag_time - self.bag_start) / 1e9 / self._rate
        return due - time.monotonic()

    def delay(self, seconds: float) -> None:
        """Everything that is still to come is due so much later."""
        self._steady_start += seconds

    def bag_time(self) -> int:
        """The bag's time now, nanoseconds."""
        passed = (time.monotonic() - self._steady_start) * self._rate
        return self.bag_start + int(passed * 1e9)


class Player:
    """Publishes a bag's messages through a node.

    Args:
        node: makes the publishers.
        bag: what to play.
        topics: which of its topics.
        options: parsed command line.
    """

    def __init__(self, node: Node, bag: Bag, topics: list[Topic],
                 options: argparse.Namespace) -> None:
        self._node = node
        self._bag = bag
        self._options = options
        self._headed: set[str] = set()
        self._publishers = {}
        for topic in topics:
            self._add_publisher(topic)
        if not self._publishers:
            raise BagError(f'no topic of bag {bag.path} can be played')
        self._clock = self._make_clock() if options.clock else None
        self._lockstep = self._make_lockstep() if options.lockstep else None
        self._next_tick = 0.0
        self._last_stamp = (b'', 0)
        self.report = Report(Counter())

    def wait_for_subscribers(self, seconds: float) -> None:
        """Wait until the camera's topics have all their subscribers, or the time is over.

        Subscribers are found one after the other: they count as complete when each topic has one
        and none has come for SETTLED seconds.
        """
        topics = [topic for topic in self._publishers
                  if self._bag.topics[topic].type in (RAW, COMPRESSED, CAMERA_INFO)]
        deadline = time.monotonic() + seconds
        counts, since = [], time.monotonic()
        while time.monotonic() < deadline and _alive(self._node):
            now = [self._publishers[topic].get_subscription_count() for topic in topics]
            if now != counts:
                counts, since = now, time.monotonic()
            if all(counts) and self._has_depth() and time.monotonic() - since > SETTLED:
                return
            time.sleep(0.05)
        if not _alive(self._node):
            return
        if self._lockstep and not self._has_depth():
            self._lockstep.give_up(seconds)
        if seconds > 0:
            alone = [topic for topic, count in zip(topics, counts) if not count]
            self._node.get_logger().warning(f'nobody subscribes to {", ".join(alone)}')

    def play(self) -> None:
        """Play once, or as often as `--loop` says, and wait until subscribers have it all."""
        times = self._options.loop
        played = 0
        while _alive(self._node) and (times == 0 or played < times):
            self._last_stamp = (b'', 0)
            played += 1
            self._play_once(again=played != times)
        self._drain()

    def _play_once(self, again: bool) -> None:
        """From the beginning to the end; `again` tells whether another round follows."""
        schedule, counts = None, Counter()
        for message in self._bag.messages(self._publishers):
            schedule = schedule or Schedule(message.time, self._options.rate)
            if self._lockstep and message.topic == self._lockstep.images:
                # The clock stands still meanwhile: no image grows old.
                schedule.delay(self._lockstep.wait())
            if not self._wait(schedule, message.time):
                return
            lateness = -schedule.seconds_left(message.time)
            self.report.worst_lateness = max(self.report.worst_lateness, lateness)
            self._publish(message)
            counts[message.topic] += 1
        if self._lockstep:
            self._lockstep.wait()
        elif again and schedule is not None:
            # Images of two rounds at once are no distance apart: a node would keep the newer alone.
            period = (message.time - schedule.bag_start) // max(1, max(counts.values()) - 1)
            self._wait(schedule, message.time + period)

    def _wait(self, schedule: Schedule, bag_time: int) -> bool:
        """Sleep until a message is due, ticking /clock; False when shut down."""
        while _alive(self._node):
            self._tick(schedule)
            left = schedule.seconds_left(bag_time)
            if left <= 0:
                return True
            time.sleep(min(left, 1 / (self._options.clock or 10.0)))
        return False

    def _publish(self, message: Message) -> None:
        data = message.data
        if self._options.restamp and message.topic in self._headed:
            data = restamped(data, self._new_stamp(data[4:12]))
        if self._lockstep and message.topic == self._lockstep.images:
            self._lockstep.played(data)
        self._publishers[message.topic].publish(data)
        self.report.sent[message.topic] += 1

    def _new_stamp(self, recorded: bytes) -> int:
        """The present; the same for an image and its camera_info."""
        if recorded != self._last_stamp[0]:
            self._last_stamp = (recorded, time.time_ns())
        return self._last_stamp[1]

    def _drain(self) -> None:
        """A publisher that goes away takes what was not yet delivered with it."""
        from rclpy.duration import Duration

        for publisher in self._publishers.values():
            deadline = time.monotonic() + ACKNOWLEDGE_TIMEOUT
            # In small parts: a signal is not to wait for a subscriber that hangs.
            while _alive(self._node) and time.monotonic() < deadline:
                if publisher.wait_for_all_acked(Duration(seconds=0.2)):
                    break

    def _add_publisher(self, topic: Topic) -> None:
        kind = message_class(topic.type)
        if kind is None:
            self._node.get_logger().warning(
                f'{topic.name} is skipped: its type {topic.type} is not installed here')
            return
        fields = list(kind.get_fields_and_field_types().items())
        if fields and fields[0] == ('header', HEADER_TYPE):
            self._headed.add(topic.name)
        self._publishers[topic.name] = self._node.create_publisher(
            kind, topic.name, self._profile(topic))

    def _profile(self, topic: Topic) -> Any:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        reliable = topic.reliable is not False and not self._options.best_effort
        latched = topic.transient_local or topic.name == '/tf_static'
        return QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)

    def _make_clock(self) -> Any:
        from rosgraph_msgs.msg import Clock

        return self._node.create_publisher(Clock, '/clock', 10)

    def _make_lockstep(self) -> Lockstep:
        from depth_perception.ros.lockstep import Lockstep

        images, depth = self._options.lockstep
        if images not in self._publishers:
            raise BagError(f'--lockstep: bag {self._bag.path} plays no {images}; it plays '
                           f'{", ".join(self._publishers)}')
        return Lockstep(self._node, images, depth)

    def _has_depth(self) -> bool:
        return self._lockstep is None or self._lockstep.has_publisher()

    def _tick(self, schedule: Schedule) -> None:
        now = time.monotonic()
        if self._clock is None or now < self._next_tick:
            return
        from rosgraph_msgs.msg import Clock

        self._next_tick = now + 1 / self._options.clock
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(schedule.bag_time(), 10**9)
        self._clock.publish(message)


def message_class(name: str) -> Any | None:
    """The Python class of `package/msg/Name`; None where the package is not installed."""
    package, *middle, kind = name.split('/')
    try:
        return getattr(importlib.import_module('.'.join([package, *(middle or ['msg'])])), kind)
    except (ImportError, AttributeError):
        return None


def chosen_topics(bag: Bag, names: list[str] | None) -> list[Topic]:
    """The topics to play: all, or the named ones.

    Raises:
        BagError: a name is not in the bag; lists what is.
    """
    for name in names or ():
        if name not in bag.topics:
            raise BagError(f'bag {bag.path} has no topic {name}; it has {", ".join(bag.topics)}')
    return [bag.topics[name] for name in names or bag.topics]


@explains_missing('replay_bag')
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when played or interrupted, 1 when that failed, 2 for wrong usage."""
    quit_at_once_on_signals()
    words = [sys.argv[0], *arguments] if arguments is not None else sys.argv
    options = _parser().parse_args(without_ros_arguments(words[1:]))
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from depth_perception.ros.lockstep import LockstepError

    prefer_large_shared_memory()
    try:
        enter_ros(words)
    except StartError as error:
        sys.stderr.write(f'replay_bag: cannot start: {error}\n')
        return WRONG_USAGE
    node = rclpy.create_node('replay_bag', start_parameter_services=False)
    leave_signals_to_ros()
    try:
        with Bag(options.bag) as bag:
            player = Player(node, bag, chosen_topics(bag, options.topics), options)
            player.wait_for_subscribers(options.wait_for_subscribers)
            player.play()
            _say(node, player.report)
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


def _say(node: Node, report: Report) -> None:
    if _alive(node):
        sent = ', '.join(f'{count} on {topic}' for topic, count in sorted(report.sent.items()))
        node.get_logger().info(
            f'played {sent}; at worst {1000 * report.worst_lateness:.1f} ms late')


def _alive(node: Node) -> bool:
    return node.context.ok()


def _positive(low: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not low < value < float('inf'):
            raise argparse.ArgumentTypeError(f'{text} is not above {low:g}')
        return value
    return number


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is not 1 or more')
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='replay_bag', description='Play a rosbag2 folder (sqlite3 or mcap) onto its topics.')
    add = parser.add_argument
    add('--version', action='version', version=f'replay_bag {__version__}')
    add('bag', help='rosbag2 folder, the one with metadata.yaml')
    add('--rate', type=_positive(0), default=1.0, help='2 plays twice as fast (default 1)')
    add('--loop', type=_count, nargs='?', const=0, default=1, metavar='N',
        help='play N times, or without N until interrupted')
    add('--clock', type=_positive(0), nargs='?', const=CLOCK_RATE, default=None, metavar='HZ',
        help=f"publish the bag's time on /clock (default {CLOCK_RATE:g} Hz)")
    add('--topics', nargs='+', metavar='TOPIC', help='play these alone')
    add('--wait-for-subscribers', type=float, default=0.0, metavar='SECONDS',
        help='first wait so long for subscribers of images and camera_info')
    add('--lockstep', nargs=2, metavar=('IMAGES', 'DEPTH'),
        help='play the next message on topic IMAGES when the last one has its depth on topic DEPTH')
    add('--restamp', action='store_true', help='put the present time into headers')
    add('--best-effort', action='store_true', help='publish best effort, as many cameras do')
    return parser


def command() -> None:
    """What the installed `replay_bag` runs: `main`, and out."""
    leave(main())


if __name__ == '__main__':
    command()
