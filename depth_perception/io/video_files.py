# SPDX-License-Identifier: Apache-2.0
"""Read and write video files frame by frame with OpenCV."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.errors import why_missing
from depth_perception.io.files import name_aside, naming
from depth_perception.io.image_files import ImageError

#: Frame rate for videos that do not declare one, Hz.
USUAL_RATE = 25.0
#: MPEG-4 part 2 in .mp4: every OpenCV build can write it, and most players show it.
_CODEC = 'mp4v'


class VideoReader:
    """Reader of a video file.

    Attributes:
        rate: frames per second.
        count: number of frames according to the file; 0 if unknown.
        read: number of frames that the last call of `frames` has read.

    Raises:
        ImageError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ImageError('it is not a file' if path.exists() else why_missing(path))
        if not path.stat().st_size:
            raise ImageError('it is empty')
        self._path, self.read = path, 0
        capture = self._opened()
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else USUAL_RATE
        self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()

    def frames(self, every: int = 1) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the number and the RGB pixels, uint8 (H, W, 3), of each `every`-th frame."""
        capture, self.read = self._opened(), 0
        try:
            while capture.grab():
                if self.read % every == 0:
                    good, bgr = capture.retrieve()
                    if good:
                        yield self.read, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                self.read += 1
        finally:
            capture.release()
        if not self.read:
            raise ImageError('it has no frame that OpenCV can read')

    def _opened(self) -> cv2.VideoCapture:
        with _quiet():
            capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise ImageError('it is not a video that OpenCV can read, or it is damaged')
        return capture


class VideoWriter:
    """Writer of a video file that appears only when complete; a context manager.

    Args:
        path: the .mp4 file to write.
        rate: frames per second.

    Raises:
        OSError: the file cannot be written completely; no partial file is left behind.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._rate, self._written = path, rate, 0
        self._aside = name_aside(path, path.suffix)
        # Also runs when the process ends, if a signal comes just before __exit__.
        self._discard = weakref.finalize(self, self._aside.unlink, missing_ok=True)
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        try:
            with naming(self._path), open(self._aside, 'xb'):
                os.chmod(self._aside, 0o644)
        except BaseException:  # a signal too
            self._discard()
            raise
        return self

    def write(self, bgr: NDArray[np.uint8]) -> None:
        """Add a BGR image; all images must have the same size, with even sides."""
        if self._writer is None:
            height, width = bgr.shape[:2]
            self._writer = cv2.VideoWriter(
                str(self._aside), cv2.VideoWriter.fourcc(*_CODEC), self._rate, (width, height)
            )
            if not self._writer.isOpened():
                raise OSError(errno.EIO, 'OpenCV cannot write this video', str(self._path))
        self._writer.write(np.ascontiguousarray(bgr))
        self._written += 1
        # OpenCV does not report a full disk.
        if shutil.disk_usage(self._path.parent).free < bgr.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if kind is None and self._written:
                self._check()
                os.replace(self._aside, self._path)
        finally:
            self._discard()

    def _check(self) -> None:
        capture = cv2.VideoCapture(str(self._aside))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if count < self._written:
            raise OSError(
                errno.ENOSPC,
                f'only {count} of {self._written} frames could be written',
                str(self._path),
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence OpenCV's messages about unreadable files; ours suffice."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
