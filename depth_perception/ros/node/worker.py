# SPDX-License-Identifier: Apache-2.0
"""The thread that processes the newest frame and publishes the subscribed outputs.

Exceptions do not end the thread: after a failed frame, the next one is processed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from depth_perception.camera.model import CameraError
from depth_perception.depth.scan import CameraPose
from depth_perception.errors import first_line, named
from depth_perception.inference.device import out_of_memory_errors
from depth_perception.io.frame_error import FrameError
from depth_perception.ros.node.health import OTHER_CLOCK, Health
from depth_perception.ros.node.mailbox import Mailbox
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import NonFiniteDepth, Pipeline, Result

#: Seconds to wait for the current frame when stopping.
STOP_TIMEOUT = 10.0


@dataclass(frozen=True)
class ReceivedImage:
    """An image message, its arrival time in monotonic seconds, and whether its age counts."""

    message: Image | CompressedImage
    arrived: float
    has_age: bool = True


class Outputs(Protocol):
    """The interface for publishing results."""

    def wanted(self) -> frozenset[str]:
        """Return the topics that have subscribers."""

    def publish(self, topic: str, message: Any) -> None:
        """Publish one message."""


class Owner(Protocol):
    """The interface to the node; called from the worker's thread."""

    @property
    def health(self) -> Health:
        """The health record."""

    @property
    def settings(self) -> Settings:
        """The current parameters."""

    def age(self, stamp: Time) -> float:
        """Return the age of a stamp by the node's clock, seconds."""

    def on_frame_lost(self, reason: str) -> None:
        """Report a lost frame, with the reason in one sentence."""

    def on_out_of_memory(self) -> None:
        """Report that the device has no memory left."""


class Worker:
    """Run a pipeline on the frames of a mailbox in its own thread.

    On a CPU, the depth image is published before the other outputs are computed. What is left of a
    result is published as soon as it is complete, with one exception: if a device leaves the host
    free and the next frame is already waiting, it is published while the device works on that.

    Args:
        pipeline: processes the frames.
        outputs: reports the wanted topics, and publishes the results.
        owner: the node.
    """

    def __init__(self, pipeline: Pipeline, outputs: Outputs, owner: Owner) -> None:
        self.mailbox: Mailbox[ReceivedImage] = Mailbox()
        self.last_result: Result | None = None
        self._pipeline = pipeline
        self._outputs = outputs
        self._owner = owner
        self._health = owner.health
        self._kept: tuple[ReceivedImage, Result] | None = None
        self._busy_since: float | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name='depth_worker', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the current frame and end the thread; return False if this times out.

        Args:
            timeout: seconds to wait; None = STOP_TIMEOUT.
        """
        self.mailbox.close()
        self._thread.join(STOP_TIMEOUT if timeout is None else timeout)
        self._abandoned = self._thread.is_alive()
        return not self._abandoned

    @property
    def busy_for(self) -> float:
        """Seconds since processing of the current frame began; 0 while idle."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def put(self, frame: ReceivedImage) -> None:
        """Pass a frame to the thread; replace and count a frame that was not taken."""
        if self.mailbox.put(frame):
            self._health.count('replaced')

    def _run(self) -> None:
        while not self.mailbox.closed:
            frame = self.mailbox.take()
            if frame is None:
                continue
            started = self._busy_since = time.monotonic()
            try:
                self._serve(frame)
                self._busy_since = None
                self._hold_rate(started)
            except Exception as error:  # outside the guarded work, such as in logging
                self._busy_since = None
                self._health.error('inference', f'frame dropped: {named(error)}')
        self._publish_kept()

    def _serve(self, frame: ReceivedImage) -> None:
        result = self._guarded(self._process, frame)
        self._publish_kept()  # no work was started for this frame, so do not wait
        if result is not None:
            self._kept = frame, result
            if not self._may_keep(frame):
                self._publish_kept()

    def _may_keep(self, frame: ReceivedImage) -> bool:
        """Return whether the result may wait until the device works on the next frame.

        The next frame is decoded first, which may take longer than publishing if it is compressed.
        """
        return (
            self.mailbox.waiting
            and self._pipeline.leaves_host_free
            and isinstance(frame.message, Image)
        )

    def _hold_rate(self, started: float) -> None:
        """Wait until max_rate allows the next frame; meanwhile, newer frames replace older ones."""
        max_rate = self._owner.settings.max_rate
        while max_rate > 0 and not self.mailbox.closed:
            left = started + 1 / max_rate - time.monotonic()
            if left <= 0:
                return
            self._publish_kept()
            time.sleep(min(left, 0.1))

    def _guarded(self, function: Callable[..., Result | None], *arguments: Any) -> Result | None:
        """Return the function's result, or None if it fails: only this frame is lost."""
        try:
            return function(*arguments)
        except (FrameError, CameraError) as error:
            self._lose('bad', 'input', f'image dropped: {error}')
        except NonFiniteDepth as error:
            self._lose('failed', 'inference', f'frame dropped: {error}')
        except out_of_memory_errors() as error:
            self._lose('failed', 'memory', f'out of memory on the device: {first_line(error)}')
            self._owner.on_out_of_memory()
        except Exception as error:  # process the next frame whatever happened
            self._lose('failed', 'inference', f'frame dropped: {named(error)}')
        return None

    def _lose(self, count: str, kind: str, text: str) -> None:
        if self.mailbox.closed:
            return  # publishing fails during shutdown; do not report this
        self._health.count(count)
        self._health.error(kind, text)
        self._owner.on_frame_lost(text)

    def _process(self, frame: ReceivedImage) -> Result | None:
        settings = self._owner.settings
        wanted = self._outputs.wanted()
        if not wanted:
            self._health.count('idle')
            return None
        if frame.has_age and self._is_stale(frame, settings.max_age):
            self._health.count('stale')
            return None
        work = self._pipeline.start(frame.message, wanted, settings)
        self._publish_kept()  # while a device computes the depth
        self._publish_new(self._pipeline.first(work))
        return self._pipeline.finish(work)

    def _is_stale(self, frame: ReceivedImage, max_age: float) -> bool:
        age = self._owner.age(frame.message.header.stamp)
        return max_age > 0 and max_age < age < OTHER_CLOCK

    def _publish_kept(self) -> None:
        """Publish the pending result, if there is one."""
        kept, self._kept = self._kept, None
        if kept is not None and not self._abandoned:  # if abandoned, the node no longer waits
            self._guarded(self._publish, *kept)

    def _publish_new(self, result: Result) -> None:
        """Publish the messages of a result that are not published yet."""
        if self._abandoned:  # the node no longer waits for this thread
            return
        start = time.monotonic()
        for topic, message in result.outputs.items():
            if topic not in result.published:
                self._outputs.publish(topic, message)
                result.published.add(topic)
                self._health.count(f'published {topic}')
        result.seconds['publish'] = result.seconds.get('publish', 0.0) + time.monotonic() - start

    def _publish(self, frame: ReceivedImage, result: Result) -> None:
        self._publish_new(result)
        done = time.monotonic()
        result.seconds['arrival_to_publish'] = done - frame.arrived
        if 'network' in result.seconds:
            result.seconds['beside_network'] = done - frame.arrived - result.seconds['network']
        age = self._owner.age(frame.message.header.stamp)
        if frame.has_age and abs(age) < OTHER_CLOCK:
            result.seconds['capture_to_publish'] = age
        self._health.count('processed')
        self._record(result)

    def _record(self, result: Result) -> None:
        self.last_result = result
        self._health.latencies(result.seconds)
        if result.sample is not None:
            self._health.depth_seen(
                result.sample,
                {
                    'contrast': result.contrast,
                    'focal_factor': result.focal_factor,
                    **_confidence_facts(result),
                    **_pose_facts(result.pose),
                    **(result.anchors.facts() if result.anchors else {}),
                },
            )


def _confidence_facts(result: Result) -> dict[str, float]:
    """Return the confidence of a typical pixel; nothing if it is not computed."""
    if result.confidence is None:
        return {}
    return {'confidence_percent': 100 * float(np.median(result.confidence))}


def _pose_facts(pose: CameraPose | None) -> dict[str, float]:
    """Return the pose of the camera used for the scan."""
    if pose is None:
        return {}
    height = {} if pose.height is None else {'camera_height_m': pose.height}
    return {
        'camera_pitch_deg': math.degrees(pose.pitch),
        'camera_roll_deg': math.degrees(pose.roll),
        **height,
    }
