# SPDX-License-Identifier: Apache-2.0
"""From an image message's bytes to RGB: every encoding of sensor_msgs/image_encodings.

rgb8, bgr8, rgba8, bgra8 and mono8 need no library. The others go through cv_bridge where it can be
imported, and through OpenCV where it is missing or broken (an apt cv_bridge built against
NumPy 1 fails beside a pip NumPy 2); both give the same picture.
"""
from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.ros.encoded_size import encoded_size

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

#: Pixels that a compressed image may have: decoded, they take three bytes each, and more to work.
MAX_PIXELS = 64_000_000

Rgb = NDArray[np.uint8]
Converter = Callable[['Image'], Rgb]


class FrameError(ValueError):
    """A message that is no usable image; the text names the value that is wrong."""


@dataclass(frozen=True)
class Encoding:
    """How the bytes of an encoding are laid out.

    Attributes:
        channels: values a pixel, as stored in a row.
        bits: of one value, 8 or 16.
        to_rgb: OpenCV's colour conversion, None where the values are RGB already.
        rows: stored rows per image row (planar YUV stores one and a half, or three).
    """

    channels: int
    bits: int = 8
    to_rgb: int | None = None
    rows: float = 1


ENCODINGS: dict[str, Encoding] = {
    'rgb8': Encoding(3),
    'bgr8': Encoding(3, to_rgb=cv2.COLOR_BGR2RGB),
    'rgba8': Encoding(4, to_rgb=cv2.COLOR_RGBA2RGB),
    'bgra8': Encoding(4, to_rgb=cv2.COLOR_BGRA2RGB),
    'mono8': Encoding(1, to_rgb=cv2.COLOR_GRAY2RGB),
    '8UC1': Encoding(1, to_rgb=cv2.COLOR_GRAY2RGB),
    '8UC3': Encoding(3, to_rgb=cv2.COLOR_BGR2RGB),
    '8UC4': Encoding(4, to_rgb=cv2.COLOR_BGRA2RGB),
    'rgb16': Encoding(3, 16),
    'bgr16': Encoding(3, 16, cv2.COLOR_BGR2RGB),
    'rgba16': Encoding(4, 16, cv2.COLOR_RGBA2RGB),
    'bgra16': Encoding(4, 16, cv2.COLOR_BGRA2RGB),
    'mono16': Encoding(1, 16, cv2.COLOR_GRAY2RGB),
    '16UC1': Encoding(1, 16, cv2.COLOR_GRAY2RGB),
    'yuv422': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUY2),
    'nv12': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_NV12, rows=1.5),
    'nv21': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_NV21, rows=1.5),
    # OpenCV names a Bayer pattern by its second row's second and third pixel.
    'bayer_rggb8': Encoding(1, to_rgb=cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': Encoding(1, to_rgb=cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': Encoding(1, to_rgb=cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': Encoding(1, to_rgb=cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': Encoding(1, 16, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': Encoding(1, 16, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': Encoding(1, 16, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': Encoding(1, 16, cv2.COLOR_BayerGB2RGB),
}
#: Converted here whatever else is installed: nothing is faster.
FAST = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC1', '8UC3', '8UC4')


def decode(message: Image | CompressedImage) -> Rgb:
    """RGB uint8 (H, W, 3) of either kind of image message.

    Raises:
        FrameError: the message is no usable image.
    """
    is_raw = hasattr(message, 'encoding')
    return decode_image(message) if is_raw else decode_compressed(message)


def decode_image(message: Image, converter: Converter | None = None) -> Rgb:
    """RGB of a raw image message, uint8 (H, W, 3), contiguous; may share the message's memory.

    Args:
        message: sensor_msgs/Image; rows may be padded, 16-bit values big-endian.
        converter: for encodings beyond the plain ones; None is the best that is installed.

    Raises:
        FrameError: unknown encoding, a step shorter than a row, or too few bytes.
    """
    if message.encoding in FAST:
        return opencv_converter(message)
    check_layout(message)
    return (converter or default_converter())(message)


def decode_compressed(message: CompressedImage) -> Rgb:
    """RGB of a JPEG or PNG image message, uint8 (H, W, 3).

    Raises:
        FrameError: the format is another, the bytes are truncated or no image, or it claims more
            than MAX_PIXELS.
    """
    data = np.frombuffer(message.data, np.uint8)
    if 'compressedDepth' in message.format:
        raise FrameError(f'format {message.format!r} is a depth image, not a camera image')
    if data.size == 0 or _is_truncated(bytes(data[:8]), bytes(data[-1024:])):
        raise FrameError(f'compressed image (format {message.format!r}, {data.size} bytes) '
                         'is truncated')
    size = encoded_size(data.tobytes())
    if size is None:
        raise FrameError(f'compressed image (format {message.format!r}, {data.size} bytes) '
                         'cannot be decoded: it is neither a JPEG nor a PNG')
    width, height = size
    if width * height > MAX_PIXELS:
        raise FrameError(f'compressed image of {width}x{height} pixels is not decoded: the limit '
                         f'is {MAX_PIXELS / 1e6:.0f} megapixels')
    image = _decoded(data)
    if image is None:
        raise FrameError(f'compressed image (format {message.format!r}, {data.size} bytes) '
                         'cannot be decoded')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decoded(data: NDArray[np.uint8]) -> Rgb | None:
    """BGR of an encoded image; None where OpenCV cannot read it, or it is beyond reason."""
    try:
        # An EXIF rotation would turn the picture but not its camera_info.
        return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _is_truncated(head: bytes, tail: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; OpenCV would fill the rest with grey in silence."""
    if head.startswith(b'\xff\xd8'):
        return b'\xff\xd9' not in tail
    return head.startswith(b'\x89PNG') and b'IEND' not in tail


def check_layout(message: Image) -> Encoding:
    """The message's encoding, after checking that its sizes fit together.

    Raises:
        FrameError: naming the value that does not fit.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise FrameError(f'unknown encoding {message.encoding!r}: use one of '
                         f'{", ".join(ENCODINGS)}')
    if message.width == 0 or message.height == 0:
        raise FrameError(f'image of size {message.width}x{message.height}')
    row = message.width * encoding.channels * encoding.bits // 8
    if message.step < row:
        raise FrameError(f'step {message.step} is shorter than a row of {message.width} '
                         f'{message.encoding} pixels ({row} bytes)')
    needed = message.step * (_stored_rows(message, encoding) - 1) + row
    if len(message.data) < needed:
        raise FrameError(f'{len(message.data)} bytes of data, needed are {needed} for '
                         f'{message.width}x{message.height} {message.encoding}, '
                         f'step {message.step}')
    return encoding


def stored_values(message: Image) -> NDArray:
    """The message's values (rows, W) or (rows, W, channels), padding cut off, native endian.

    Raises:
        FrameError: see `check_layout`.
    """
    encoding = check_layout(message)
    rows, width = _stored_rows(message, encoding), message.width * encoding.channels
    itemsize = encoding.bits // 8
    data = np.frombuffer(message.data, np.uint8)
    # The last row's padding may be missing: a view by strides never touches it.
    data = np.lib.stride_tricks.as_strided(data, (rows, width * itemsize), (message.step, 1))
    if encoding.bits == 16:
        data = np.ascontiguousarray(data).view('>u2' if message.is_bigendian else '<u2')
        data = data.astype(np.uint16, copy=False)
    if encoding.channels == 1:
        return data
    return data.reshape(rows, message.width, encoding.channels)


def opencv_converter(message: Image) -> Rgb:
    """RGB of a message by OpenCV alone."""
    encoding = ENCODINGS.get(message.encoding)
    values = stored_values(message)
    if encoding.bits == 16:
        values = cv2.convertScaleAbs(np.ascontiguousarray(values), alpha=255 / 65535)
    if encoding.to_rgb is None:
        return np.ascontiguousarray(values)
    try:
        return cv2.cvtColor(np.ascontiguousarray(values), encoding.to_rgb)
    except cv2.error as error:
        raise FrameError(f'{message.width}x{message.height} {message.encoding} cannot be '
                         f'converted: {error.err}') from error


def cv_bridge_converter() -> Converter:
    """RGB by cv_bridge; by OpenCV for an encoding that this release of it does not know.

    cv_bridge gets rows without padding and values in native order: its releases differ in what
    they make of others.

    Raises:
        ImportError: it is not installed, or was built against another NumPy.
    """
    if not _cv_bridge_works():
        raise ImportError('cv_bridge is not installed, or was built against another NumPy')
    from cv_bridge import CvBridge, CvBridgeError

    bridge = CvBridge()

    def convert(message: Image) -> Rgb:
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(_plain(message), 'rgb8'))
        except CvBridgeError:
            return opencv_converter(message)

    return convert


@functools.cache
def _cv_bridge_works() -> bool:
    """Try a conversion in a process of its own: a broken cv_bridge may crash instead of raise."""
    if importlib.util.find_spec('cv_bridge') is None:
        return False
    trial = ('from types import SimpleNamespace as S; from cv_bridge import CvBridge; '
             'm = S(height=2, width=2, encoding="bayer_rggb8", is_bigendian=0, step=2, '
             'data=bytes(4)); '
             'raise SystemExit(CvBridge().imgmsg_to_cv2(m, "rgb8").shape != (2, 2, 3))')
    result = subprocess.run([sys.executable, '-c', trial], capture_output=True, check=False)
    return result.returncode == 0


def _plain(message: Image) -> SimpleNamespace:
    """The message with its rows packed and its values in native order."""
    values = np.ascontiguousarray(stored_values(message))
    return SimpleNamespace(
        height=message.height, width=message.width, encoding=message.encoding,
        is_bigendian=int(sys.byteorder == 'big'), step=values.nbytes // len(values),
        data=values.tobytes())


@functools.cache
def default_converter() -> Converter:
    """cv_bridge where it works, otherwise OpenCV."""
    try:
        return cv_bridge_converter()
    except ImportError:
        return opencv_converter


def _stored_rows(message: Image, encoding: Encoding) -> int:
    return int(message.height * encoding.rows)
