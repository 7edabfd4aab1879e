# SPDX-License-Identifier: Apache-2.0
"""Receive images and camera_info in the executor's thread, and pass them on."""

from __future__ import annotations

import time

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_perception.ros.conversions.stamps import age, seconds
from depth_perception.ros.node.health import OTHER_CLOCK
from depth_perception.ros.node.parts import Parts
from depth_perception.ros.node.worker import ReceivedImage, Worker

#: A stamp this many seconds before the last one is a jump back in time; less is only disorder.
JUMP_BACK = 0.1
#: Seconds after a jump back in time in which ages are ignored: when a bag restarts, its first
#: images arrive before the matching /clock.
CLOCK_FOLLOWS = 1.0
#: Seconds that the executor sleeps after it gave a frame to an idle worker, which needs the
#: interpreter until the network runs.
HAND_OVER = 0.002


class Receiver:
    """Count each message and pass it to the worker or the calibrations.

    Args:
        node: the node; its clock gives the age of an image.
        parts: parts of the node.
    """

    def __init__(self, node: Node, parts: Parts) -> None:
        self._node = node
        self._parts = parts
        self._last_stamp: float | None = None
        self._last_arrival = 0.0
        self._jumped_back = float('-inf')

    def on_lost(self, count: int) -> None:
        """Count images that the middleware reports as lost."""
        self._parts.health.lost(count)

    def on_camera_info(self, message: CameraInfo) -> None:
        """Store the calibration for later images."""
        self._parts.health.info_received()
        if self._parts.cameras is not None:
            self._parts.cameras.update(message)

    def on_image(self, message: Image | CompressedImage) -> None:
        """Pass the image to the worker unless the node is paused."""
        parts = self._parts
        if parts.worker is None:
            return
        stamp = seconds(message.header.stamp)
        self._watch_time(stamp)
        now = time.monotonic()
        frame = ReceivedImage(message, now, now - self._jumped_back > CLOCK_FOLLOWS)
        if parts.still is not None:
            frame = parts.still.received(frame, parts.enabled)
        parts.health.image_received(
            stamp,
            age(self._node.get_clock(), message.header.stamp) if frame.has_age else None,
            _image_facts(message, parts.parameters.settings.optical_frame),
        )
        if parts.enabled:
            self._hand_over(parts.worker, frame)
        else:
            parts.health.count('paused')

    def _hand_over(self, worker: Worker, frame: ReceivedImage) -> None:
        """Give a frame to the worker; if it was idle, sleep so that it gets the interpreter.

        After a callback, rclpy runs Python code until it waits for the next message.
        """
        idle = worker.busy_for == 0
        worker.put(frame)
        if idle:
            time.sleep(HAND_OVER)

    def _watch_time(self, stamp: float) -> None:
        """Reset the state after a bag restarts, a clock is set or a simulation is reset."""
        last, self._last_stamp = self._last_stamp, stamp
        before, self._last_arrival = self._last_arrival, time.monotonic()
        if last is not None and stamp < last - JUMP_BACK:
            text = f'time went back by {last - stamp:.1f} s: counters are reset'
            self._parts.health.start_anew()
            for part in (self._parts.scan_poses, self._parts.anchors):
                if part is not None:
                    part.reset()
            self._jumped_back = time.monotonic()
        elif last is not None and stamp - last > self._last_arrival - before + OTHER_CLOCK:
            text = f'stamps went ahead by {stamp - last:.1f} s'
        else:
            return
        self._node.get_logger().info(text)
        self._parts.health.error('time', text)


def _image_facts(message: Image | CompressedImage, optical_frame: str) -> dict[str, str]:
    facts = {'frame_id': optical_frame or message.header.frame_id}
    if isinstance(message, Image):
        return {**facts, 'encoding': message.encoding, 'size': f'{message.width}x{message.height}'}
    return {**facts, 'encoding': message.format}
