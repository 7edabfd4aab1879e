# SPDX-License-Identifier: Apache-2.0
"""Play a video, a folder of images, a bag or a webcam at the pace of recording."""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.camera.rectification import Calibration, Rectifier, calibration_of
from depth_perception.camera.source import CameraSource
from depth_perception.errors import UsageError, why_missing
from depth_perception.io.bag import Bag, Message, Topic, is_recording
from depth_perception.io.image_files import IMAGE_SUFFIXES, ImageError, Photo, read_photo
from depth_perception.io.video_files import USUAL_RATE, VideoReader

#: Seconds that each image of a folder is shown.
STAY = 1.0
#: Seconds; a grab that is faster returns an old picture from the driver's queue.
WAITING = 0.004
_AGAIN = 'is it still there? Then start this command again'


@dataclass(frozen=True)
class Picture:
    """An image and its camera.

    Attributes:
        rgb: uint8 (H, W, 3), rectified if the lens has distortion.
        camera: the camera; None if unknown.
        unseen: bool (H, W), True at pixels outside the raw image; None if there are none.
        remarks: a sentence for each problem with the camera.
    """

    rgb: NDArray[np.uint8]
    camera: CameraModel | None
    unseen: NDArray[np.bool_] | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shot:
    """A picture that is not decoded yet.

    Attributes:
        time: seconds since the first shot.
        picture: decodes the picture; raises ImageError or CameraError if it cannot be used.
        number: index in the footage, from 0.
    """

    time: float
    picture: Callable[[], Picture]
    number: int = 0


class Footage(ABC):
    """Shots in the order of their times.

    Attributes:
        name: human-readable name.
        recorded: whether the footage has a pace and an end; otherwise each shot is live.
        may_skip: whether late shots may be skipped.
    """

    name: str
    recorded = True
    may_skip = True

    @abstractmethod
    def shots(self) -> Iterator[Shot]:
        """Yield all shots from the start."""


class Folder(Footage):
    """The images of a folder, or one image file, each shown for a second."""

    may_skip = False

    def __init__(self, path: Path, cameras: CameraSource) -> None:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        self._files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        if not self._files:
            raise UsageError(f'there is no image in folder {path}')
        self._cameras = cameras
        self.name = f'{len(self._files)} images of {path}' if path.is_dir() else str(path)

    def shots(self) -> Iterator[Shot]:
        """Yield one image per second."""
        for index, file in enumerate(self._files):
            yield Shot(STAY * index, functools.partial(self._picture, file), index)

    def _picture(self, file: Path) -> Picture:
        return _of_photo(read_photo(file), self._cameras)


class Video(Footage):
    """A video file."""

    def __init__(self, path: Path, cameras: CameraSource) -> None:
        self.name = str(path)
        self._cameras = cameras
        try:
            next(VideoReader(path).frames())
        except ImageError as error:
            raise UsageError(f'cannot show {path}: {error}') from error

    def shots(self) -> Iterator[Shot]:
        """Yield every frame of the file."""
        capture = _opened(self.name, f'cannot read {self.name}')
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else USUAL_RATE
        index = 0
        while capture.grab():
            yield Shot(index / rate, lambda: _retrieved(capture, self._cameras), index)
            index += 1
        capture.release()


class Webcam(Footage):
    """A camera opened by OpenCV, by number."""

    recorded = False

    def __init__(self, index: int, cameras: CameraSource) -> None:
        self.name = f'webcam {index}'
        self._cameras = cameras
        self._capture = _opened(index, f'there is no webcam {index}')

    def shots(self) -> Iterator[Shot]:
        """Yield live pictures until the camera is disconnected."""
        start, number = time.monotonic(), 0
        while self._grab_newest():
            yield Shot(
                time.monotonic() - start, lambda: _retrieved(self._capture, self._cameras), number
            )
            number += 1

    def _grab_newest(self) -> bool:
        """Drop the pictures that the driver has queued: grab until a grab has to wait."""
        for _ in range(10):
            start = time.perf_counter()
            if not self._capture.grab():
                return False
            if time.perf_counter() - start > WAITING:
                break
        return True


class BagFootage(Footage):
    """The images of a rosbag2 recording, rectified by their camera_info.

    Args:
        path: the bag.
        topic: topic of the images; None for the most likely colour camera.
        cameras: camera to use instead of the bag's camera_info, if it is known.

    Raises:
        BagError: the bag or the topic cannot be used.
    """

    def __init__(self, path: Path, topic: str | None, cameras: CameraSource) -> None:
        self._bag = Bag(path)
        self._image = self._bag.image_topic(topic)
        self._info = self._bag.camera_info_topic(self._image)
        self._cameras = cameras
        self._calibration: Calibration | None = None
        self._decode: Callable[[object], NDArray[np.uint8]] | None = None
        self._rectifier: Rectifier | None = None
        self.name = f'{path}, {self._image.name}'

    def shots(self) -> Iterator[Shot]:
        """Yield every image; all use the first camera_info of the bag."""
        first: int | None = None
        for number, message in enumerate(self._bag.messages([self._image.name])):
            first = message.time if first is None else first
            yield Shot(
                (message.time - first) / 1e9, functools.partial(self._picture, message), number
            )

    def _picture(self, message: Message) -> Picture:
        from depth_perception.io.frame_error import FrameError
        from depth_perception.io.image_messages import Decoder

        self._decode = self._decode or Decoder()
        try:
            rgb = self._decode(self._bag.deserialize(message))
        except FrameError as error:
            raise ImageError(str(error)) from error
        if self._cameras != CameraSource() or self._info is None:
            return _with_camera(rgb, self._cameras)
        return self._rectified(rgb, self._info)

    def _rectified(self, rgb: NDArray[np.uint8], topic: Topic) -> Picture:
        height, width = rgb.shape[:2]
        calibration = self._calibration
        if calibration is None or calibration.camera.width != width:
            info = next(self._bag.messages([topic.name]))
            calibration = calibration_of(self._bag.deserialize(info), width, height)
            undone = calibration.is_distorted and '/image_rect' not in self._image.name
            self._calibration = calibration
            self._rectifier = Rectifier(calibration) if undone and not calibration.unknown else None
        remarks = tuple(filter(None, (*calibration.doubts, calibration.unknown)))
        if self._rectifier is None:
            return Picture(rgb, calibration.camera, remarks=remarks)
        return Picture(self._rectifier(rgb), calibration.rectified, self._rectifier.unseen, remarks)


def open_footage(word: str, topic: str | None, cameras: CameraSource) -> Footage:
    """Open what a command-line argument names.

    Raises:
        UsageError: it cannot be shown.
        BagError: the bag cannot be used.
    """
    path = Path(word)
    is_webcam = word.isdecimal() and not path.exists()
    if is_webcam and topic is None:
        return Webcam(int(word), cameras)
    if not (path.exists() or is_webcam):
        said = why_missing(
            word,
            'give a video, an image, a folder of images, a rosbag2 folder, '
            'its .mcap or .db3 file, or the number of a webcam',
        )
        raise UsageError(f'there is no {word}: {said}')
    if is_recording(path) or path.suffix == '.bag':
        return BagFootage(path, topic, cameras)
    if topic is not None:
        raise UsageError(f'--image {topic} needs a recording, but {word} is not one')
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return Folder(path, cameras)
    return Video(path, cameras)


class Pace:
    """Play shots at the pace of recording, and skip those that would come too late.

    Args:
        footage: what to play.
        repeat: whether to start again at the end.

    Raises:
        ImageError: once, from `next`, if a camera or a file stops giving pictures.
    """

    #: Seconds that a shot may be late.
    LATE = 0.1
    #: Seconds of skipping after which the footage is slowed down: the machine cannot keep up.
    PATIENCE = 0.5

    def __init__(self, footage: Footage, repeat: bool = True) -> None:
        self._footage = footage
        self._shots = self._endless(repeat and footage.recorded)
        self._start: float | None = None
        self._ahead: Shot | None = None

    def next(self, timeout: float) -> Shot | None:
        """Return the current shot; None after the timeout (seconds) or at the end."""
        shot, self._ahead = self._ahead or self._in_time(), None
        wait = timeout if shot is None else self._seconds_left(shot)
        time.sleep(max(0.0, min(wait, timeout)))
        if wait > timeout:
            self._ahead, shot = shot, None
        return shot

    def pause(self) -> None:
        """Stop the clock: the next shot follows the last one, however late it is requested."""
        self._start = None

    def _in_time(self) -> Shot | None:
        """Return the first shot that is in time, or any shot if the machine cannot keep up."""
        give_way = time.monotonic() + self.PATIENCE
        for shot in self._shots:
            if not self._footage.may_skip or self._seconds_left(shot) >= -self.LATE:
                return shot
            if time.monotonic() > give_way:
                self.pause()
                return shot
        return None

    def _seconds_left(self, shot: Shot) -> float:
        """Return the seconds until a shot is due; the first one after a pause is due now."""
        if self._start is None or not self._footage.recorded:
            self._start = time.monotonic() - shot.time
        return self._start + shot.time - time.monotonic()

    def _endless(self, repeat: bool) -> Iterator[Shot]:
        while True:
            shot = None
            for shot in self._footage.shots():
                yield shot
            if shot is None or not self._footage.recorded:
                raise ImageError(f'{self._footage.name}: no more pictures come; {_AGAIN}')
            if not repeat:
                return
            self.pause()


def _opened(name: str | int, complaint: str) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(name)
    if not capture.isOpened():
        raise UsageError(complaint)
    return capture


def _retrieved(capture: cv2.VideoCapture, cameras: CameraSource) -> Picture:
    good, bgr = capture.retrieve()
    if not good:
        raise ImageError('a frame cannot be decoded')
    return _with_camera(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), cameras)


def _of_photo(photo: Photo, cameras: CameraSource) -> Picture:
    picture = _with_camera(photo.rgb, cameras)
    return replace(
        picture,
        camera=picture.camera or photo.camera,
        remarks=tuple(filter(None, (*picture.remarks, photo.remark))),
    )


def _with_camera(rgb: NDArray[np.uint8], cameras: CameraSource) -> Picture:
    return Picture(*cameras.prepared(rgb), cameras.remarks)
