# SPDX-License-Identifier: Apache-2.0
"""If the device leaves the host free, the host publishes a frame while the device runs the next.

No GPU is needed: the pipeline is told that its stand-in network runs on one.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image

from depth_perception.depth.scan import LEVEL
from depth_perception.ros.conversions.stamps import nanoseconds
from depth_perception.ros.node import pipeline
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.health import Health
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import Pipeline, Result
from depth_perception.ros.node.publishers import DepthPublishers
from depth_perception.ros.node.scan_pose import ScanPose
from depth_perception.ros.node.worker import ReceivedImage, Worker
from test.support.estimators import StandIn
from test.support.ros import picture, rgb_image, running_node, wait_until

TOPIC = 'depth/image'


@pytest.fixture
def events(monkeypatch) -> list[tuple[str, int]]:
    """Return events in order: ('infer', number of the call) and ('publish', stamp)."""
    monkeypatch.setattr(Pipeline, 'leaves_host_free', True)
    found: list[tuple[str, int]] = []
    publish = DepthPublishers.publish

    def watched(self: DepthPublishers, topic: str, message: Image) -> None:
        found.append(('publish', nanoseconds(message.header.stamp)))
        publish(self, topic, message)

    monkeypatch.setattr(DepthPublishers, 'publish', watched)
    return found


class Steps(StandIn):
    """A network that waits in each inference until `let_on` is called.

    Args:
        events: list to which each inference appends ('infer', number of the call).
    """

    def __init__(self, events: list[tuple[str, int]]) -> None:
        super().__init__()
        self._events = events
        self._steps = threading.Semaphore(0)

    def let_on(self, times: int = 1) -> None:
        self._steps.release(times)

    def estimate(self, rgb, camera=None, confidence=False, wait=True):
        depth = super().estimate(rgb, camera, confidence, wait)
        self._steps.acquire(timeout=30)
        self._events.append(('infer', self.calls))
        return depth


def two_frames(node, camera, network) -> tuple[int, int]:
    """Hold a frame in the network while a second one waits; return both stamps."""
    first = camera.send()
    wait_until(lambda: network.calls == 1, what='the network to have the first frame')
    second = camera.send()
    wait_until(lambda: node._parts.worker.mailbox.waiting, what='the second frame to wait')
    return nanoseconds(first.stamp), nanoseconds(second.stamp)


@contextmanager
def at_the_second_frame(namespace, robot, events):
    """Yield a node whose network holds the second of two frames, the network, and both stamps."""
    network = Steps(events)
    with running_node(namespace, load_estimator=network) as node:
        robot.listen(TOPIC)
        stamps = two_frames(node, robot.camera(), network)
        network.let_on()
        wait_until(lambda: network.calls == 2)
        yield node, network, *stamps


def test_a_frame_is_published_once_the_device_works_on_the_next(namespace, robot, events):
    with at_the_second_frame(namespace, robot, events) as (_, network, first, second):
        assert events == [('infer', 1)]
        network.let_on()
        robot.wait_for(TOPIC, 2)
    assert events == [('infer', 1), ('infer', 2), ('publish', first), ('publish', second)]


def test_on_a_cpu_a_frame_is_published_before_the_next(namespace, robot):
    network = Steps([])
    with running_node(namespace, load_estimator=network) as node:
        robot.listen(TOPIC)
        two_frames(node, robot.camera(), network)
        network.let_on()
        robot.wait_for(TOPIC, 1)
        network.let_on()
        robot.wait_for(TOPIC, 2)


def test_with_a_slow_publisher_all_that_was_inferred_comes_in_order(
    namespace, robot, events, monkeypatch
):
    publish = DepthPublishers.publish
    monkeypatch.setattr(
        DepthPublishers, 'publish', lambda *arguments: (time.sleep(0.05), publish(*arguments))
    )
    network = StandIn(seconds=0.02)
    with running_node(namespace, load_estimator=network) as node:
        robot.listen(TOPIC)
        camera = robot.camera()
        for _ in range(60):
            last = camera.send()
            time.sleep(0.02)
        # DDS may drop frames on a busy machine, but not the last one.
        wait_until(
            lambda: robot.received[TOPIC] and robot.received[TOPIC][-1].header == last,
            what='the last frame',
        )
        wait_until(
            lambda: (
                (c := node.health.snapshot().counts)['received'] == c['processed'] + c['replaced']
            ),
            what='each frame to be accounted for',
        )
        counts = node.health.snapshot().counts
        robot.wait_for(TOPIC, counts['processed'])
    stamps = [nanoseconds(message.header.stamp) for message in robot.received[TOPIC]]
    assert stamps == sorted(set(stamps)) and network.calls == len(stamps) == counts['processed']
    assert counts['replaced'] > 0


def test_deactivating_loses_no_frame_that_was_inferred(namespace, robot, events):
    with at_the_second_frame(namespace, robot, events) as (node, network, first, second):
        worker = node._parts.worker
        stopping = threading.Thread(
            target=robot.change_state, args=(Transition.TRANSITION_DEACTIVATE,)
        )
        stopping.start()
        wait_until(lambda: worker.mailbox.closed, what='the worker to be stopped')
        network.let_on()
        stopping.join(30)
        robot.wait_for(TOPIC, 2)
    assert events[-2:] == [('publish', first), ('publish', second)]


def test_a_next_frame_that_fails_holds_nothing_back(namespace, robot, events):
    network = Steps(events)
    with running_node(namespace, load_estimator=network) as node:
        robot.listen(TOPIC)
        camera = robot.camera()
        camera.send()
        wait_until(lambda: network.calls == 1)
        camera.send(Image(height=60, width=80, encoding='no such', step=80), with_info=False)
        wait_until(lambda: node._parts.worker.mailbox.waiting)
        network.let_on()
        robot.wait_for(TOPIC, 1)
        wait_until(lambda: node.health.snapshot().counts['bad'] == 1)


def test_publishing_that_fails_costs_one_frame_and_is_told(namespace, robot, events, monkeypatch):
    publish, tried = DepthPublishers.publish, []

    def failing_once(*arguments):
        tried.append(arguments)
        if len(tried) == 1:
            raise RuntimeError('no room')
        publish(*arguments)

    monkeypatch.setattr(DepthPublishers, 'publish', failing_once)
    network = Steps(events)
    with running_node(namespace, load_estimator=network) as node:
        robot.watch_diagnostics()
        robot.listen(TOPIC)
        _, second = two_frames(node, robot.camera(), network)
        network.let_on(2)
        received = robot.wait_for(TOPIC, 1)
        wait_until(lambda: (s := robot.status('inference')) and 'no room' in s.message)
        counts = node.health.snapshot().counts
    assert [nanoseconds(message.header.stamp) for message in received] == [second]
    assert counts['failed'] == counts['processed'] == 1


def test_max_rate_holds_no_result_back(namespace, robot, events):
    network = Steps(events)
    with running_node(namespace, load_estimator=network, max_rate=0.1) as node:
        robot.listen(TOPIC)
        first, _ = two_frames(node, robot.camera(), network)
        network.let_on()
        robot.wait_for(TOPIC, 1)
    assert events == [('infer', 1), ('publish', first)] and network.calls == 1


class ClosesMeanwhile:
    """A pipeline that receives a frame while it processes one, and then the node stops."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    @property
    def leaves_host_free(self) -> bool:
        self.worker.mailbox.close()
        return True

    def start(self, message, *_) -> Image:
        self.worker.put(ReceivedImage(message, time.monotonic()))
        return message

    def first(self, _message) -> Result:
        return Result((1, 1))

    def finish(self, message) -> Result:
        return Result((1, 1), outputs={TOPIC: message})


def test_what_waits_for_the_next_frame_is_published_when_none_comes_any_more():
    published: list[str] = []
    outputs = SimpleNamespace(
        wanted=lambda: frozenset({TOPIC}), publish=lambda topic, message: published.append(topic)
    )
    closing = ClosesMeanwhile()
    owner = SimpleNamespace(health=Health(), settings=Settings(), age=lambda stamp: 0.0)
    worker = closing.worker = Worker(closing, outputs, owner)
    worker.put(ReceivedImage(Image(), time.monotonic()))
    worker.start()
    wait_until(lambda: published == [TOPIC])
    assert worker.stop(30)


def test_stage_times_do_not_hold_what_was_done_meanwhile(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(pipeline.time, 'perf_counter', lambda: next(ticks))
    made = Pipeline(StandIn(), Calibrations('off'), lambda *_: ScanPose(LEVEL))
    work = made.start(rgb_image(picture()), frozenset({TOPIC}), Settings())
    next(ticks)
    result = made.finish(work)
    # One tick per reading of the clock.
    assert result.seconds == {'decode': 1, 'inference': 1, 'postprocess': 1}
