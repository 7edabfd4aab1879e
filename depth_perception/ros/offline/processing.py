# SPDX-License-Identifier: Apache-2.0
"""Process a recording with the node's pipeline, part by part."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from depth_perception import __version__
from depth_perception.camera.model import CameraError
from depth_perception.errors import UsageError, first_line, named, told
from depth_perception.inference.device import out_of_memory_errors
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.bag import COMPRESSED, Bag, BagError, Message, Topic
from depth_perception.io.bag_parts import BagParts
from depth_perception.io.bag_writer import canonical
from depth_perception.io.frame_error import FrameError
from depth_perception.progress import Progress
from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.conversions.transforms import TransformError
from depth_perception.ros.node.anchor_inputs import AnchorTopicError
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import NonFiniteDepth, Pipeline, Result
from depth_perception.ros.node.publishers import TYPES
from depth_perception.ros.node.receiver import JUMP_BACK
from depth_perception.ros.node.scan_pose import ScanPoses
from depth_perception.ros.offline.arguments import NodeArguments, node_arguments
from depth_perception.ros.offline.surroundings import (
    TF,
    TF_STATIC,
    Ahead,
    BagAnchors,
    BagCalibrations,
    BagTransforms,
    LevelFrames,
)


def process(options: argparse.Namespace) -> int:
    """Process a bag as the command line requests; return the exit code.

    Raises:
        UsageError: the bag cannot be processed.
    """
    arguments = node_arguments(options.params_file, options.param, options.remap)
    settings = arguments.settings()
    if remark := arguments.unknown():
        _say(remark)
    try:
        with Bag(options.bag) as bag:
            return _process(bag, arguments, settings, options)
    except (BagError, TransformError, AnchorTopicError) as error:
        raise UsageError(str(error)) from error
    except OSError as error:  # for example, a full disk; completed parts remain
        raise UsageError(
            f'{error.filename or options.out}: {error.strerror}; once that is mended, '
            'the same command goes on'
        ) from error


def _process(
    bag: Bag, arguments: NodeArguments, settings: Settings, options: argparse.Namespace
) -> int:
    image = _image_topic(bag, arguments)
    info = _info_topic(bag, arguments, image)
    copied = _copied(bag, options.copy)
    estimator = _estimator(settings)
    job = {
        'version': __version__,
        'bag': _files(options.bag),
        'image': image.name,
        'camera_info': info,
        'outputs': sorted(options.outputs),
        'copy': copied,
        'namespace': arguments.namespace,
        'remappings': arguments.remappings,
        'frames per file': options.frames_per_file,
        'weights': estimator.checksum,
        'device': str(estimator.device),
        'precision': estimator.precision,
        'backend': estimator.backend,
        **dataclasses.asdict(settings),
    }
    with BagParts(options.out, job) as parts:
        run = Run(bag, image, parts, arguments, settings, frozenset(options.outputs))
        run.prepare(estimator, info, copied)
        run.process(options.frames_per_file)
    return run.tell()


@dataclass
class Run:
    """The frames of one camera of a recording.

    Attributes:
        bag, image: the recording and its image topic.
        parts: parts of the new bag.
        arguments, settings: arguments and parameters of the node.
        wanted: wanted outputs, by the node's topic names.
    """

    bag: Bag
    image: Topic
    parts: BagParts
    arguments: NodeArguments
    settings: Settings
    wanted: frozenset[str]
    done: int = 0
    failed: int = 0
    reason: str = ''
    remarks: tuple[str, ...] = ()

    def prepare(self, estimator: DepthEstimator, info: str | None, copied: list[str]) -> None:
        """Create the pipeline and its inputs, and restore their state after the last part."""
        settings, facts = self.settings, self.parts.facts
        self._transforms = BagTransforms(self.bag, 'base_frame') if settings.base_frame else None
        self._frames = LevelFrames(self._write_now, facts.get('level frames', []))
        self._poses = ScanPoses(None, settings.base_frame, self._transforms, self._frames)  # type: ignore[arg-type]
        self._anchors = (
            BagAnchors(self.bag, settings.anchors, self._transforms, self.arguments)
            if settings.anchors
            else None
        )
        rectified = any(part.startswith('image_rect') for part in self.image.name.split('/'))
        cameras = Calibrations(settings.rectify, settings.horizontal_fov_deg, rectified)
        self._infos = BagCalibrations(self.bag, info, cameras)
        self._pipeline = Pipeline(estimator, cameras, self._poses.of, self._anchors)
        self._copied = Ahead(self.bag.messages(copied))
        self._kind = CompressedImage if self.image.type == COMPRESSED else Image
        self._kept: tuple[int, Result] | None = None
        self._last_stamp = -math.inf
        self._time = 0
        if facts:
            self.done, self.failed, self.reason = (
                facts[name] for name in ('done', 'failed', 'reason')
            )
            self._poses.remember(facts['pose'])
            self._pipeline.remember(self.parts.memory)

    def process(self, frames_per_file: int) -> None:
        """Process all remaining frames, and complete the new bag."""
        before = self.done
        with Progress('process_bag', self.image.count - before, ' images') as progress:
            if before:
                progress.say(f'process_bag: goes on after {before} images')
            for number, message in enumerate(self.bag.messages([self.image.name])):
                self._surround(message)
                if number < before:
                    for _ in self._copied.until(message.time):  # already written
                        pass
                    continue
                self._frame(message)
                self.done += 1
                if self.done % frames_per_file == 0:
                    self._commit()
                progress.step()
        self._write_kept()
        for message in self._copied.until(sys.maxsize):
            self._copy(message)
        self._commit()
        self.parts.finish()

    def tell(self) -> int:
        """Print a summary of the frames; return the exit code."""
        for remark in self.remarks:
            _say(remark)
        _say(f'{self.done - self.failed} of {self.done} images became {self.parts.path}')
        if self.failed:
            _say(f'{self.failed} images gave no depth, the first: {self.reason}')
        return 1 if self.failed else 0

    def _surround(self, image: Message) -> None:
        """Feed all inputs with the messages recorded up to this image."""
        stamp = serialized_stamp(image.data) / 1e9
        if stamp < self._last_stamp - JUMP_BACK:
            for part in (self._poses, self._anchors):
                if part is not None:
                    part.reset()
        self._last_stamp = stamp
        for source in (self._infos, self._transforms, self._anchors):
            if source is not None:
                source.feed(image)

    def _frame(self, message: Message) -> None:
        """Process one image; write the previous result while a device works on this image."""
        try:
            image = deserialize_message(message.data, self._kind)
            work = self._pipeline.start(image, self.wanted, self.settings)
            self._write_kept()
            self._copy_until(message.time)
            self._frames.stamp = image.header.stamp
            self._time = message.time
            self._kept = message.time, self._pipeline.finish(work)
        except OSError:
            raise
        except out_of_memory_errors() as error:
            raise UsageError(
                'out of memory on the device: use a smaller network or -p device:=cpu'
            ) from error
        except Exception as error:  # as in the node, only this frame is lost
            self._write_kept()
            known = isinstance(error, (FrameError, CameraError, NonFiniteDepth))
            self.reason = self.reason or (first_line(error) if known else named(error))
            self.failed += 1

    def _write_kept(self) -> None:
        kept, self._kept = self._kept, None
        if kept is None:
            return
        time, result = kept
        for topic, message in result.outputs.items():
            kind = f'sensor_msgs/msg/{TYPES[topic].__name__}'
            self.parts.write(
                self.arguments.resolve_topic_name(topic),
                kind,
                time,
                canonical(serialize_message(message), kind),
            )
        problem = f'no cloud and no scan: {result.camera_problem}' if result.camera_problem else ''
        anchors = result.anchors.problem if result.anchors else ''
        for remark in filter(None, (problem, result.scan_problem, anchors, *result.input_remarks)):
            if len(self.remarks) < 10 and remark not in self.remarks:
                self.remarks = (*self.remarks, remark)

    def _write_now(self, topic: str, kind: str, data: bytes) -> None:
        self.parts.write(topic, kind, self._time, data)

    def _copy_until(self, time: int) -> None:
        for message in self._copied.until(time):
            self._copy(message)

    def _copy(self, message: Message) -> None:
        self.parts.write(
            message.topic, self.bag.topics[message.topic].type, message.time, message.data
        )

    def _commit(self) -> None:
        self._write_kept()
        self.parts.commit(
            {
                'done': self.done,
                'failed': self.failed,
                'reason': self.reason,
                'level frames': self._frames.known,
                'pose': self._poses.memory(),
            },
            self._pipeline.memory(),
        )


def _estimator(settings: Settings) -> DepthEstimator:
    try:
        estimator = DepthEstimator.load(
            settings.model_file, settings.device, settings.precision, settings.backend
        )
    except Exception as error:  # as the node reports it when it is configured
        raise UsageError(told(error)) from error
    if problem := settings.problem_with(estimator.info):
        raise UsageError(problem)
    return estimator


def _image_topic(bag: Bag, arguments: NodeArguments) -> Topic:
    """Return the remapped image topic, with /compressed added if needed; or the likeliest one."""
    for own in ('image', 'image/compressed'):
        if own in arguments.remappings:
            name = arguments.resolve_topic_name(own)
            packed = f'{name}/compressed'
            return bag.image_topic(
                packed if name not in bag.topics and packed in bag.topics else name
            )
    return bag.image_topic()


def _info_topic(bag: Bag, arguments: NodeArguments, image: Topic) -> str | None:
    if 'camera_info' not in arguments.remappings:
        found = bag.camera_info_topic(image)
        return found.name if found else None
    name = arguments.resolve_topic_name('camera_info')
    if name not in bag.topics:
        raise BagError(f'bag {bag.path} has no {name}; it has {", ".join(bag.topics)}')
    return name


def _copied(bag: Bag, asked: list[str]) -> list[str]:
    """Return the topics to copy: the requested ones, and TF."""
    missing = [topic for topic in asked if topic not in bag.topics]
    if missing:
        raise BagError(
            f'--copy: bag {bag.path} has no {missing[0]}; it has {", ".join(bag.topics)}'
        )
    return sorted({*asked, *(topic for topic in (TF, TF_STATIC) if topic in bag.topics)})


def _files(bag: Path) -> dict[str, int]:
    """Return the file names and sizes, which identify a recording."""
    return {file.name: file.stat().st_size for file in _storage(bag.expanduser())}


def _storage(bag: Path) -> Iterator[Path]:
    return iter(sorted(bag.iterdir())) if bag.is_dir() else iter((bag,))


def _say(text: str) -> None:
    sys.stderr.write(f'process_bag: {text}\n')
