# SPDX-License-Identifier: Apache-2.0
"""Read image files, and derive the camera from their EXIF data if possible."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraError, CameraModel, same_aspect
from depth_perception.errors import why_missing
from depth_perception.extras import EXTRAS
from depth_perception.io.value_range import ValueRange
from depth_perception.reading import read_whole

IMAGE_SUFFIXES = (
    '.jpg',
    '.jpeg',
    '.jpe',
    '.jfif',
    '.jp2',
    '.png',
    '.gif',
    '.bmp',
    '.webp',
    '.tif',
    '.tiff',
    '.ppm',
    '.pgm',
    '.pbm',
    '.pnm',
    '.heic',
    '.heif',
    '.avif',
)
VIDEO_SUFFIXES = (
    '.mp4',
    '.m4v',
    '.mov',
    '.avi',
    '.mkv',
    '.webm',
    '.mpg',
    '.mpeg',
    '.wmv',
    '.3gp',
    '.flv',
    '.ogv',
    '.mts',
    '.m2ts',
)
#: Diagonal in millimetres of the film of the "35 mm equivalent" focal length (CIPA DCG-001).
_FILM_DIAGONAL = math.hypot(36.0, 24.0)
#: EXIF tags (CIPA DC-008).
_EXIF_IFD = 0x8769
_FOCAL_LENGTH, _FOCAL_LENGTH_35 = 0x920A, 0xA405
_WIDTH, _HEIGHT, _PLANE_RESOLUTION, _PLANE_UNIT = 0xA002, 0xA003, 0xA20E, 0xA210
#: Pillow's names of formats that hold animations or pages.
_PAGED = ('GIF', 'TIFF', 'WEBP', 'PNG', 'AVIF')
#: EXIF units of the focal-plane resolution, in millimetres.
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0}


class ImageError(ValueError):
    """An image cannot be used; the message says why."""


@dataclass(frozen=True)
class Photo:
    """An image file.

    Attributes:
        rgb: uint8 (H, W, 3), upright.
        camera: derived from the EXIF data, without distortion and with the principal point in the
            middle; None if the data is not sufficient.
        pages: number of images in the file; `rgb` is the first.
    """

    rgb: NDArray[np.uint8]
    camera: CameraModel | None = None
    pages: int = 1

    @property
    def remark(self) -> str:
        """A note if the file has more images than were read, otherwise ''."""
        return f'only the first of its {self.pages} pictures' if self.pages > 1 else ''


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read the RGB pixels of an image file; see `read_photo` for the errors.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import cv2
        >>> import numpy as np
        >>> from depth_perception.io.image_files import read_image
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, 'blue.png')  # OpenCV writes blue, green, red
        ...     _ = cv2.imwrite(str(file), np.full((2, 3, 3), (255, 0, 0), np.uint8))
        ...     rgb = read_image(file)
        >>> rgb.shape, rgb[0, 0].tolist()
        ((2, 3, 3), [0, 0, 255])
    """
    return read_photo(path).rgb


def read_photo(path: Path) -> Photo:
    """Read an image file and turn it upright according to its EXIF data.

    Raises:
        ImageError: the file is missing, cannot be read or does not contain an image.
    """
    try:
        content = read_whole(path)
    except FileNotFoundError as error:
        raise ImageError(why_missing(path)) from error
    except OSError as error:
        raise ImageError(error.strerror) from error
    if not content:
        raise ImageError('it is empty')
    bgr = _decoded(content)
    if bgr is None:
        return _read_by_pillow(content, path)
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    exif, pages = _exif_and_pages(content)
    return Photo(rgb, _camera_of(exif, rgb.shape[1], rgb.shape[0]), pages)


def _decoded(content: bytes) -> NDArray[np.uint8] | None:
    try:
        bgr = cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
        )
    except cv2.error:
        return None
    if bgr is None or bgr.dtype not in (np.uint8, np.uint16, np.float32):
        return None
    bgr = bgr if bgr.dtype == np.uint8 else ValueRange().to_8_bits(bgr)
    return cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR) if bgr.ndim == 2 else bgr


def _read_by_pillow(content: bytes, path: Path) -> Photo:
    """Read what OpenCV cannot: HEIC if pillow-heif is installed, AVIF if Pillow supports it."""
    is_heic = path.suffix.lower() in ('.heic', '.heif')
    try:
        _register_heic()
    except ImportError as error:
        if is_heic:
            raise ImageError(
                'HEIC needs the package pillow-heif: pip install '
                f'"depth_perception[{EXTRAS["pillow_heif"]}]"'
            ) from error
    try:
        from PIL import Image, ImageOps

        with _of_any_size(), Image.open(io.BytesIO(content)) as image:
            exif, pages = _plain(image.getexif()), _pages(image)
            rgb = np.array(ImageOps.exif_transpose(image).convert('RGB'))
    except Exception as error:  # Pillow's plugins raise all kinds of errors
        raise ImageError(
            'it is not an image that OpenCV or Pillow can read, or it is damaged'
        ) from error
    return Photo(rgb, _camera_of(exif, rgb.shape[1], rgb.shape[0]), pages)


@contextlib.contextmanager
def _of_any_size() -> Iterator[None]:
    """Silence Pillow's warning about more than 89 megapixels; above twice that it refuses."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        yield


def _register_heic() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def _exif_and_pages(content: bytes) -> tuple[dict[int, Any], int]:
    """Return EXIF tags and number of images of a file; no tags and 1 without Pillow."""
    try:
        from PIL import Image

        with _of_any_size(), Image.open(io.BytesIO(content)) as image:
            return _plain(image.getexif()), _pages(image)
    except Exception:  # only the focal length is lost
        return {}, 1


def _pages(image: Any) -> int:
    # Not for JPEG: the extra images that phones add for brightness or depth are not pages.
    return getattr(image, 'n_frames', 1) if image.format in _PAGED else 1


def _plain(exif: Any) -> dict[int, Any]:
    return {**exif, **exif.get_ifd(_EXIF_IFD)}


def _camera_of(exif: Mapping[int, Any], width: int, height: int) -> CameraModel | None:
    """Return the camera of an image of this size; None if it was cropped or tags are missing."""
    try:
        focal = _focal_length(exif, width, height)
        return (
            None
            if focal is None
            else CameraModel(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        )
    except (CameraError, TypeError, ValueError, ArithmeticError):
        return None


def _focal_length(exif: Mapping[int, Any], width: int, height: int) -> float | None:
    """Return the focal length in pixels of an image of this size, upright or not."""
    sides = [float(exif.get(tag, 0)) for tag in (_WIDTH, _HEIGHT)]
    short, long = sorted(sides)
    if short > 0 and not same_aspect((long, short), (max(width, height), min(width, height))):
        return None  # cropped since
    if (equivalent := float(exif.get(_FOCAL_LENGTH_35, 0))) > 0:
        return equivalent * math.hypot(width, height) / _FILM_DIAGONAL
    length, resolution = (float(exif.get(tag, 0)) for tag in (_FOCAL_LENGTH, _PLANE_RESOLUTION))
    if not (length > 0 and resolution > 0 and short > 0):
        return None
    return length * resolution / _UNITS[int(exif.get(_PLANE_UNIT, 2))] * max(width, height) / long
