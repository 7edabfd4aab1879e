# SPDX-License-Identifier: Apache-2.0
"""A camera in its own process: the bundled clip over DDS as raw images, at any rate."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CLIP = Path(__file__).parents[1] / 'data' / 'clip_bag'
#: Seconds behind schedule after which missed frames are skipped.
GIVE_UP = 1.0

_processes = multiprocessing.get_context('spawn')


class CameraProcess:
    """Publish `image` and `camera_info` at an adjustable rate; 0 = pause.

    Args:
        namespace: namespace of both topics.
        reliable: reliability of both topics.
        size: width and height of the images; None = as in the clip.
        clouds: serialized clouds, one for each image of the clip; a sensor publishes them on
            `anchors/points` before the images, with their stamps.
    """

    def __init__(
        self,
        namespace: str = '',
        reliable: bool = True,
        size: tuple[int, int] | None = None,
        clouds: Sequence[bytes] = (),
    ) -> None:
        self._rate = _processes.Value('d', 0.0)
        self._sent = _processes.Value('Q', 0)
        self._stop = _processes.Event()
        self._process = _processes.Process(
            target=_run,
            args=(namespace, reliable, size, clouds, self._rate, self._sent, self._stop),
            daemon=True,
        )
        self._process.start()

    @property
    def sent(self) -> int:
        """Number of images published so far."""
        return self._sent.value

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.is_alive()

    def set_rate(self, hertz: float) -> None:
        """Change the rate."""
        self._rate.value = hertz

    def close(self) -> None:
        """End the process."""
        self._stop.set()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def serialized_clip(size: tuple[int, int] | None = None) -> list[tuple[bytes, bytes]]:
    """Return (image, camera_info) of each frame of the bundled clip as CDR, decoded to rgb8.

    Args:
        size: width and height to resize to, with the camera; None = as recorded.
    """
    import cv2
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CameraInfo, Image

    from depth_perception.io.bag import Bag
    from depth_perception.io.image_messages import decode_compressed

    with Bag(CLIP) as bag:
        image = bag.image_topic()
        infos = bag.messages([bag.camera_info_topic(image).name])
        pictures = [
            decode_compressed(bag.deserialize(message)) for message in bag.messages([image.name])
        ]
        recorded = [bag.deserialize(message) for message in infos]
    frames = []
    for rgb, info in zip(pictures, recorded):
        scale = 1.0
        if size is not None:
            rgb, scale = cv2.resize(rgb, size), size[0] / rgb.shape[1]
        message = Image(
            height=rgb.shape[0], width=rgb.shape[1], encoding='rgb8', step=rgb.shape[1] * 3
        )
        message.header.frame_id = info.header.frame_id
        message.data.frombytes(memoryview(rgb).cast('B'))
        camera = CameraInfo(
            width=rgb.shape[1],
            height=rgb.shape[0],
            k=_scaled(info.k, scale),
            p=_scaled(info.p, scale),
            r=info.r,
            d=list(info.d),
            distortion_model=info.distortion_model,
        )
        camera.header.frame_id = info.header.frame_id
        frames.append((serialize_message(message), serialize_message(camera)))
    return frames


def _scaled(matrix: Any, scale: float) -> Any:
    """Scale K or P (row-major) for a larger image; the last row is unchanged."""
    values = matrix.copy()
    values[: 2 * len(values) // 3] *= scale
    return values


def _sensor(node: Any, clouds: Sequence[bytes]) -> Callable[[int], None]:
    """Return a function that publishes the cloud of the next image with its stamp."""
    from sensor_msgs.msg import PointCloud2

    from depth_perception.ros.conversions.stamps import restamped
    from depth_perception.ros.conversions.topics import ANCHOR_POINTS

    publisher = node.create_publisher(PointCloud2, ANCHOR_POINTS, 5)
    measured = itertools.cycle(clouds)
    return lambda stamp: publisher.publish(restamped(next(measured), stamp))


def _run(
    namespace: str,
    reliable: bool,
    size: tuple[int, int] | None,
    clouds: Sequence[bytes],
    rate: Any,
    sent: Any,
    stop: Any,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CameraInfo, Image

    from benchmarks.process import keep_freed_memory
    from depth_perception.ros.conversions.stamps import restamped
    from depth_perception.ros.transport import prefer_large_shared_memory

    prefer_large_shared_memory()
    keep_freed_memory()
    rclpy.init(args=[])
    node = rclpy.create_node('camera', namespace=namespace, start_parameter_services=False)
    profile = QoSProfile(
        depth=5,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )
    images = node.create_publisher(Image, 'image', profile)
    infos = node.create_publisher(CameraInfo, 'camera_info', profile)
    frames = itertools.cycle(serialized_clip(size))
    measure = _sensor(node, clouds) if clouds else lambda stamp: None
    due = time.monotonic()
    while not stop.is_set():
        hertz, now = rate.value, time.monotonic()
        if hertz <= 0 or now - due > GIVE_UP:
            due = now
        if hertz <= 0 or due > now:
            time.sleep(min(max(0.0, due - now), 0.02) or 0.02)
            continue
        due += 1 / hertz
        stamp = time.time_ns()
        image, info = next(frames)
        measure(stamp)
        infos.publish(restamped(info, stamp))
        images.publish(restamped(image, stamp))
        sent.value += 1
    node.destroy_node()
    rclpy.try_shutdown()
