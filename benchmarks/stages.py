# SPDX-License-Identifier: Apache-2.0
"""Measure the CPU cost of a frame besides the network, by stages, in one process without DDS.

    python -m benchmarks.stages                 640x480: depth, cloud of every second pixel, scan
    python -m benchmarks.stages --size 1280 720 --frames 500
    python -m benchmarks.stages --anchors 128   with a cloud of so many points that corrects depth

Each stage is called as in the node, on images of the bundled clip. The network runs once per image;
its output is reused afterwards. `whole` is the node's function from message to messages on the same
images, without the network's time, alternating with the stages.
`benchmarks.node` measures the node itself, with executor and DDS.
"""

from __future__ import annotations

import argparse
import itertools
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image

from benchmarks.camera import serialized_clip
from benchmarks.machine import machine
from benchmarks.sensor import clouds
from depth_perception.depth import geometry
from depth_perception.depth.anchor_sources import MOST_POINTS, point_anchors
from depth_perception.depth.anchors import prepare_anchors
from depth_perception.depth.products import ProductMaker
from depth_perception.depth.scan import LEVEL
from depth_perception.inference.backends.base import Backend
from depth_perception.inference.backends.choice import choose_backend
from depth_perception.inference.device import CPU
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.transfer import Upload
from depth_perception.io.image_messages import decode
from depth_perception.io.weights import load_weights
from depth_perception.ros.conversions import messages
from depth_perception.ros.conversions.sensor_messages import cloud_points
from depth_perception.ros.conversions.topics import DEPTH, POINTS, SCAN
from depth_perception.ros.node.anchor_inputs import FrameAnchors
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.measurement import CameraView
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import Pipeline
from depth_perception.ros.node.scan_pose import ScanPose

#: One in this many images of the clip is used.
THINNING = 10


class Replay:
    """A backend that runs another one once per image, and then reuses its output."""

    device = CPU

    def __init__(self, backend: Backend) -> None:
        self.name, self.precision = backend.name, backend.precision
        self._backend = backend
        self._outputs: dict[int, NDArray[np.float32]] = {}

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output for an image as a new array, like a network."""
        key = zlib.crc32(np.ascontiguousarray(image))
        if key not in self._outputs:
            self._outputs[key] = self._backend.run(image)
        return self._outputs[key].copy()


class Sensor:
    """Replaces `AnchorInputs`: a sensor in the camera's frame with the same cloud for each image.

    Args:
        count: number of anchors, see `benchmarks.sensor`.
    """

    def __init__(self, count: int) -> None:
        self._cloud = clouds(count)[0]

    def of(self, view: CameraView, *_rest: Any) -> FrameAnchors:
        """Return the anchors as `AnchorInputs` does for a cloud that was not prepared."""
        anchors = point_anchors(cloud_points(self._cloud, MOST_POINTS), np.eye(4), view.camera)
        return FrameAnchors(anchors, 0.0, prepared=prepare_anchors(anchors, view.size, view.limits))


@dataclass
class Stages:
    """Run the stages of a frame one by one and record their seconds, by name in order."""

    estimator: DepthEstimator
    cameras: Calibrations
    settings: Settings = field(default_factory=Settings)
    sensor: Sensor | None = None
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        sensor: Any = self.sensor
        self._pipeline = Pipeline(self.estimator, self.cameras, lambda *_: ScanPose(LEVEL), sensor)
        self._products = ProductMaker(self.estimator.info.max_depth)

    def run(self, image: Image) -> None:
        """Run all stages of one image separately, then all together."""
        start = time.perf_counter()
        self._one_by_one(image)
        self.seconds['sum'].append(
            sum(times[-1] for name, times in self.seconds.items() if name not in ('sum', 'whole'))
        )
        start = time.perf_counter()
        result = self._pipeline.process(image, frozenset({DEPTH, POINTS, SCAN}), self.settings)
        self.seconds['whole'].append(time.perf_counter() - start - result.seconds['network'])

    def _one_by_one(self, image: Image) -> None:
        with self._timed('decode'):
            rgb = decode(image)
        colours = Upload(CPU)(rgb)
        camera = self.cameras.for_image(image.width, image.height).camera.camera
        with self._timed('resize, there and back'):
            estimate = self.estimator.estimate(rgb, camera)
        depth = estimate.depth
        self.seconds['resize, there and back'][-1] -= estimate.network_seconds
        with self._timed('finite?'):
            geometry.all_finite(depth)
        products = self._products(rgb, camera, depth, self.settings, image=colours)
        if self.sensor is not None:
            with self._timed('anchors'):
                limits = self._products.anchor_limits(self.settings)
                seen = self.sensor.of(CameraView(image.header.frame_id, camera, limits))
                products, self.report = self._products.anchored(products, seen.prepared)
        with self._timed('range mask'):
            ranged = products.depth
        with self._timed('depth message'):
            messages.depth_message(ranged, image.header, '32FC1')
        with self._timed('edge filter'):
            products.clean  # noqa: B018 - computed now
        with self._timed('cloud'):
            cloud = products.cloud
        with self._timed('cloud message'):
            messages.cloud_message(cloud, image.header, True)
        with self._timed('scan'):
            found = products.scan()
        with self._timed('scan message'):
            messages.scan_message(found.ranges, found.layout, image.header, self.settings.min_depth)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name].append(time.perf_counter() - start)


def clip(size: tuple[int, int]) -> tuple[list[Image], CameraInfo]:
    """Return some images of the clip at a size (width, height), and their camera."""
    frames = serialized_clip(size)[::THINNING]
    return (
        [deserialize_message(image, Image) for image, _ in frames],
        deserialize_message(frames[0][1], CameraInfo),
    )


def measure(
    size: tuple[int, int], frames: int, backend: str = 'auto', anchors: int = 0
) -> dict[str, list[float]]:
    """Return the seconds of each stage for this many frames."""
    images, info = clip(size)
    cameras = Calibrations()
    cameras.update(info)
    weights = load_weights(None)
    runner = Replay(choose_backend(weights.network, CPU, 'fp16', backend))
    sensor = Sensor(anchors) if anchors else None
    stages = Stages(DepthEstimator(runner, weights.info), cameras, sensor=sensor)
    for image in images * 2:
        stages.run(image)
    stages.seconds.clear()
    if sensor is not None:
        print(f'{stages.report.compared} anchors compared, {stages.report.used} agree')
    for image in itertools.islice(itertools.cycle(images), frames):
        stages.run(image)
    return stages.seconds


def table(seconds: dict[str, list[float]]) -> str:
    """Format milliseconds for a terminal."""
    lines = [f'{"stage":<24}{"median ms":>10}{"p95 ms":>10}']
    lines += [
        f'{name:<24}{1000 * np.median(times):10.2f}{1000 * np.percentile(times, 95):10.2f}'
        for name, times in seconds.items()
    ]
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--size', type=int, nargs=2, default=(640, 480), metavar=('WIDTH', 'HEIGHT')
    )
    parser.add_argument('--frames', type=int, default=200)
    parser.add_argument('--anchors', type=int, default=0, metavar='N', help='true distances')
    options = parser.parse_args(arguments)
    seconds = measure(tuple(options.size), options.frames, anchors=options.anchors)
    print(f'{machine()}, {options.size[0]}x{options.size[1]}, {options.frames} frames')
    print(table(seconds))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
