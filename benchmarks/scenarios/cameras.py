# SPDX-License-Identifier: Apache-2.0
"""Cameras that disconnect, change, restart, or use another clock."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from benchmarks.scenarios import Outcome, scenario
from benchmarks.scenarios.stage import a_robot, is_served, says, serves, stage
from depth_perception.demo.processes import child
from depth_perception.io.image_messages import ENCODINGS
from depth_perception.ros.conversions.stamps import nanoseconds
from test.support.estimators import StandIn
from test.support.ros import (
    BEST_EFFORT,
    RELIABLE,
    Camera,
    Robot,
    camera_info,
    picture,
    running_node,
    wait_until,
)

BAG_TIME = 1_700_000_000.0


@scenario(full=100, short=3)
def unplugged(times: int) -> Outcome:
    """A camera process disconnects and returns, first reliable, then best effort."""
    with stage() as (_, robot, first):
        serves(robot, first)
        robot.node.destroy_publisher(first.images)
        robot.node.destroy_publisher(first.infos)
        process, seconds, said = psutil.Process(), [], ''
        handles: list[int] = []
        for index in range(times):
            if index % 10 == 0:
                said = says(robot, 'input', 'nobody publishes it')
            # After a best-effort camera the subscription stays best effort, which fits both kinds.
            seconds.append(_plug_in(robot, RELIABLE if index < times / 2 else BEST_EFFORT))
            handles.append(process.num_fds())
    return Outcome(
        f'camera unplugged and back {times} times',
        said,
        {
            'seconds_to_first_depth_p50': float(np.median(seconds)),
            'seconds_to_first_depth_max': max(seconds),
            'handles_first_last': (handles[0], handles[-1]),
        },
    )


def _plug_in(robot: Robot, reliability: object) -> float:
    """Connect a camera with its own DDS participant until a frame is processed; return seconds."""
    context = Context()
    context.init()
    node = Node('camera', context=context, namespace=robot.node.get_namespace())
    executor = SingleThreadedExecutor(context=context)
    start = time.monotonic()
    try:
        camera = Camera(node, reliability, 'image', Image)
        wait_until(
            lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count()
        )
        before = len(robot.received['depth/image'])
        wait_until(
            lambda: (
                camera.send()
                and not time.sleep(0.05)
                and len(robot.received['depth/image']) > before
            ),
            what='depth',
        )
        return time.monotonic() - start
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


@scenario(full=300, short=12)
def changed_in_mid_stream(times: int) -> Outcome:
    """Every frame has a different size, encoding and focal length than the one before."""
    rng = np.random.default_rng(0)
    encodings = list(ENCODINGS)
    with stage() as (_, robot, camera):
        robot.listen('depth/camera_info')
        for index in range(times):
            width, height = (2 * int(n) for n in rng.integers(8, 100, 2))
            image = _image(encodings[index % len(encodings)], width, height)
            focal = float(rng.uniform(0.5, 2) * width)
            header = camera.send(image, camera_info(width, height, focal))
            is_served(robot, header)
            depth = robot.received['depth/image'][-1]
            assert (depth.width, depth.height) == (width, height)
            _has_focal(robot, header, focal)
        said = says(robot, 'input', 'OK', camera.send)
        serves(robot, camera)
    return Outcome(
        f'{times} frames, each of another size, encoding and focal length',
        said,
        {'encodings': len(encodings)},
    )


def _image(encoding: str, width: int, height: int) -> Image:
    layout = ENCODINGS[encoding]
    step = width * layout.channels * layout.bits // 8
    data = picture(0, width, height).tobytes() * 4
    image = Image(width=width, height=height, encoding=encoding, step=step)
    image.data.frombytes(data[: int(height * layout.rows) * step])
    return image


def _has_focal(robot: Robot, header: object, focal: float) -> None:
    def found() -> bool:
        infos = robot.received['depth/camera_info']
        return bool(infos) and infos[-1].header.stamp == header.stamp

    wait_until(found, what='camera_info')
    assert abs(robot.received['depth/camera_info'][-1].k[0] - focal) < 1e-6


@scenario(full=50, short=4)
def looped_bag(times: int) -> Outcome:
    """A short bag is played in a loop, with its time on /clock."""
    from rosbags.rosbag2 import StoragePlugin

    from test.support.bags import write_bag

    frames = 10
    with (
        tempfile.TemporaryDirectory() as folder,
        stage(use_sim_time=True, max_age=0.5) as (_, robot, camera),
    ):
        bag = write_bag(
            Path(folder) / 'bag',
            [picture(i) for i in range(frames)],
            storage=StoragePlugin.MCAP,
            jpeg=False,
            hz=10.0,
        )
        namespace = robot.node.get_namespace()
        with child(
            'depth_perception.ros.replay.replay_bag',
            str(bag),
            '--loop',
            str(times),
            '--clock',
            '--wait-for-subscribers',
            '30',
            remaps={
                '/camera/image_raw': f'{namespace}/image',
                '/camera/camera_info': f'{namespace}/camera_info',
            },
        ) as replay:
            said = says(robot, 'input', 'time went back by 0.9 s: counters are reset')
            wait_until(replay.ended, 60 + 2 * times, 'the end of the bag')
            assert not replay.failed(), replay.complaint()
        tenths = Counter(
            round(message.header.stamp.nanosec / 1e8) for message in robot.received['depth/image']
        )
        lost = {frame: times - tenths[frame] for frame in range(frames) if tenths[frame] != times}
        # The last image of one round and the first of the next arrive together: the newest wins.
        assert sum(lost.values()) < 0.1 * times * frames, lost
        serves(robot, camera, header=camera.header(BAG_TIME + 0.9))
    return Outcome(
        f'a bag of {frames} frames looped {times} times, /clock',
        said,
        {'sent': times * frames, 'served': sum(tenths.values()), 'lost_by_frame': lost},
    )


@scenario(full=100, short=4)
def sim_time_jumps(times: int) -> Outcome:
    """/clock and the stamps jump by up to an hour, back and forth."""
    rng = np.random.default_rng(0)
    with (
        a_robot() as robot,
        running_node(
            robot.node.get_namespace(), load_estimator=StandIn(), use_sim_time=True
        ) as node,
    ):
        clock = robot.node.create_publisher(Clock, '/clock', QoSProfile(depth=1))
        robot.listen('depth/image')
        camera, now, said = robot.camera(), BAG_TIME, set()
        for index in range(times):
            step = float(rng.uniform(2, 3600)) * (-1) ** index
            now += step
            _set_clock(node, clock, now)
            serves(robot, camera, header=camera.header(now))
            if index < 4:
                word = 'time went back' if step < 0 else 'stamps went ahead'
                said.add(says(robot, 'input', word) if index or step < 0 else '')
    return Outcome(
        f'sim time set {times} times, up to an hour ahead and back', '; '.join(sorted(said - {''}))
    )


def _set_clock(node: Node, clock: object, now: float) -> None:
    message = Clock()
    message.clock.sec, message.clock.nanosec = int(now), round(now % 1 * 1e9)
    target = nanoseconds(message.clock)

    def taken() -> bool:
        clock.publish(message)
        time.sleep(0.02)
        return node.get_clock().now().nanoseconds == target

    wait_until(taken, what='the clock to be taken')


YEAR = 365 * 86400.0
#: Offset in seconds between the clocks of camera and node, and the expected diagnostics. Up to
#: max_age, or if the camera's clock is ahead, all is well; up to a minute the frame is too old;
#: a larger offset indicates a different clock, and the frames are processed.
OFFSETS = {
    0.0: 'OK',
    -0.3: 'OK',
    30.0: 'OK',
    -30.0: 'older than max_age',
    3600.0: 'use_sim_time?',
    -3600.0: 'use_sim_time?',
    -YEAR: 'use_sim_time?',
    YEAR: 'use_sim_time?',
}


@scenario(full=20, short=1)
def system_clock_jumps(times: int) -> Outcome:
    """The camera's clock differs from the node's: stamps jump by seconds to a year."""
    said = set()
    with stage(max_age=5.0) as (_, robot, camera):
        for offset, text in list(OFFSETS.items()) * times:

            def send(offset: float = offset) -> object:
                return camera.send(header=camera.header(time.time() + offset))

            stale = text.startswith('older')
            if not stale:
                is_served(robot, send())
            if text not in said:
                said.add(text)
                says(robot, 'inference' if stale else 'input', text, send)
        serves(robot, camera)
    return Outcome(
        f'stamps set {len(OFFSETS) * times} times, up to a year ahead and back',
        '; '.join(sorted(said)),
    )
