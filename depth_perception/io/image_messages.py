# SPDX-License-Identifier: Apache-2.0
"""Convert image messages to RGB: every encoding of sensor_msgs/image_encodings.

rgb8, bgr8, rgba8, bgra8 and mono8 are always converted by OpenCV. The others are converted by
cv_bridge if it works, otherwise by OpenCV too (cv_bridge from apt, built against NumPy 1, fails
with NumPy 2 from pip); the results are the same.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.io.compressed_images import Format, unpacked
from depth_perception.io.frame_error import FrameError
from depth_perception.io.value_range import ValueRange

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

Rgb = NDArray[np.uint8]
Converter = Callable[['Image'], Rgb]


@dataclass(frozen=True)
class Encoding:
    """Memory layout of an encoding.

    Attributes:
        channels: values per pixel in a stored row.
        bits: bits per value: 8, 16, or 32 for floating point.
        to_rgb: OpenCV's colour conversion; None if the values are already RGB.
        rows: stored rows per image row (planar YUV stores one and a half, or three).
        chroma_width: width of a chroma row relative to a luma row, if they differ; otherwise 0.
        even: which of width and height must be even, because pixels share their colour.
    """

    channels: int
    bits: int = 8
    to_rgb: int | None = None
    rows: float = 1
    chroma_width: float = 0
    even: tuple[str, ...] = ()


_BOTH = ('width', 'height')
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
    'yuv422': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY, even=('width',)),
    'uyvy': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_UYVY, even=('width',)),
    'yuv422_yuy2': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUY2, even=('width',)),
    'yuyv': Encoding(2, to_rgb=cv2.COLOR_YUV2RGB_YUY2, even=('width',)),
    'nv12': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_NV12, rows=1.5, even=_BOTH),
    'nv21': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_NV21, rows=1.5, even=_BOTH),
    'nv24': Encoding(1, rows=3, chroma_width=2),
    'yuv420': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_I420, rows=1.5, chroma_width=0.5, even=_BOTH),
    'i420': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_I420, rows=1.5, chroma_width=0.5, even=_BOTH),
    'I420': Encoding(1, to_rgb=cv2.COLOR_YUV2RGB_I420, rows=1.5, chroma_width=0.5, even=_BOTH),
    '32FC3': Encoding(3, 32, cv2.COLOR_BGR2RGB),
    # OpenCV names a Bayer pattern by the second and third pixel of its second row.
    'bayer_rggb8': Encoding(1, to_rgb=cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': Encoding(1, to_rgb=cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': Encoding(1, to_rgb=cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': Encoding(1, to_rgb=cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': Encoding(1, 16, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': Encoding(1, 16, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': Encoding(1, 16, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': Encoding(1, 16, cv2.COLOR_BayerGB2RGB),
}
#: Always converted by OpenCV, even if cv_bridge is installed: nothing is faster.
FAST = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', '8UC1', '8UC3', '8UC4')
#: 8-bit encodings whose name does not follow from replacing 16 by 8.
_IN_8_BITS = {'16UC1': '8UC1', '32FC3': '8UC3'}
#: Encodings of depth images, which cannot be used as camera images.
_DEPTH = ('32FC1', '64FC1')
#: Prefixes of encodings without colour.
_GREY = ('mono', '8UC1', '16UC1')


class Decoded(NamedTuple):
    """A decoded image, and a remark if its publisher lost information, otherwise ''."""

    rgb: Rgb
    remark: str = ''


class Decoder:
    """Convert the images of one stream to RGB.

    Args:
        converter: conversion for encodings that are not in FAST; None selects the best installed.
    """

    def __init__(self, converter: Converter | None = None) -> None:
        self._converter = converter
        self._range = ValueRange()

    def __call__(self, message: Image | CompressedImage) -> Rgb:
        """Return RGB, uint8 (H, W, 3), contiguous; it may share memory with a raw message.

        Raises:
            FrameError: the message is not a usable image.
        """
        return self.decode(message).rgb

    def decode(self, message: Image | CompressedImage) -> Decoded:
        """Convert a message like `__call__`, and return a remark too."""
        if hasattr(message, 'encoding'):
            return Decoded(self._raw(message))
        return self._compressed(message)

    def _raw(self, message: Image) -> Rgb:
        if message.encoding in FAST:
            return opencv_converter(message)
        encoding = check_layout(message)
        if encoding.bits > 8:
            return self._raw(
                _packed(
                    self._range.to_8_bits(stored_values(message)),
                    _in_8_bits(message.encoding),
                    message.width,
                    message.height,
                )
            )
        if encoding.chroma_width:
            return opencv_converter(message)  # cv_bridge releases differ here
        return (self._converter or default_converter())(message)

    def _compressed(self, message: CompressedImage) -> Decoded:
        values, kind = unpacked(message), Format.of(message.format)
        if values.dtype != np.uint8:
            values = self._range.to_8_bits(values)
        height, width = values.shape[:2]
        channels = values.size // (height * width)
        is_mosaic = channels == 1 and kind.is_mosaic
        remark = _lost_colour(kind) if channels == 1 and not is_mosaic else ''
        encoding = (
            _in_8_bits(kind.source)
            if is_mosaic
            else {
                1: 'mono8',
                3: 'rgb8' if kind.is_rgb else 'bgr8',
                4: 'rgba8' if kind.is_rgb else 'bgra8',
            }[channels]
        )
        return Decoded(self._raw(_packed(values, encoding, width, height)), remark)


def decode(message: Image | CompressedImage) -> Rgb:
    """Convert one raw or compressed image message to RGB, uint8 (H, W, 3); see `Decoder`.

    Raises:
        FrameError: the message is not a usable image.

    Examples:
        >>> from types import SimpleNamespace
        >>> from depth_perception.io.image_messages import decode
        >>> image = SimpleNamespace(height=1, width=2, encoding='bgr8', step=6, is_bigendian=0,
        ...                         data=bytes([255, 0, 0, 0, 0, 255]))  # or a sensor_msgs/Image
        >>> decode(image).tolist()
        [[[0, 0, 255], [255, 0, 0]]]
    """
    return Decoder()(message)


def decode_image(message: Image, converter: Converter | None = None) -> Rgb:
    """Convert a raw image message to RGB; rows may be padded, 16-bit values may be big-endian.

    Raises:
        FrameError: unknown encoding, a step shorter than a row, or too few bytes.
    """
    return Decoder(converter)(message)


def decode_compressed(message: CompressedImage) -> Rgb:
    """Convert a JPEG, PNG or TIFF image message to RGB.

    Raises:
        FrameError: see `unpacked`.
    """
    return Decoder()(message)


def _lost_colour(kind: Format) -> str:
    """Return a remark if a grey file had colour before compression, otherwise ''."""
    if kind.source not in ENCODINGS or kind.source.startswith(_GREY):
        return ''
    return (
        f'the publisher of the compressed images turns {kind.source} into grey: depth is less '
        'exact; use the raw topic, or let the camera publish rgb8'
    )


def _in_8_bits(encoding: str) -> str:
    """Return the encoding of the same pixels with 8 bits per value."""
    if encoding.endswith('16'):
        return f'{encoding[:-2]}8'
    return _IN_8_BITS.get(encoding, encoding)


def _packed(values: NDArray[np.uint8], encoding: str, width: int, height: int) -> SimpleNamespace:
    """Return a message with these values and no padding."""
    values = np.ascontiguousarray(values)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=values.nbytes // len(values),
        data=values.data.cast('B'),
    )


def check_layout(message: Image) -> Encoding:
    """Check that size, step and data of a message are consistent, and return its encoding.

    Raises:
        FrameError: the message names the inconsistent value.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise FrameError(_unknown(message.encoding))
    if message.width == 0 or message.height == 0:
        raise FrameError(f'image of size {message.width}x{message.height}')
    odd = [name for name in encoding.even if getattr(message, name) % 2]
    if odd:
        raise FrameError(
            f'{message.width}x{message.height} {message.encoding}: {" and ".join(odd)} must be even'
        )
    row = message.width * encoding.channels * encoding.bits // 8
    if message.step < row:
        raise FrameError(
            f'step {message.step} is shorter than a row of {message.width} '
            f'{message.encoding} pixels ({row} bytes)'
        )
    needed = message.step * (_stored_rows(message, encoding) - 1) + row
    if len(message.data) < needed:
        raise FrameError(
            f'{len(message.data)} bytes of data, but {needed} are needed for '
            f'{message.width}x{message.height} {message.encoding}, '
            f'step {message.step}'
        )
    return encoding


def _unknown(encoding: str) -> str:
    """Return the error for an encoding that cannot be used, with the likely correction."""
    if encoding in _DEPTH:
        return (
            f'encoding {encoding!r} is that of a depth image: name the topic of a colour '
            'image, such as -r image:=/camera/image_raw'
        )
    # Drivers write pixel formats in many ways: RGB8, rgb, YUYV.
    near = (
        [name for name in ENCODINGS if name.lower() == encoding.lower()]
        or [name for name in ENCODINGS if name.lower() == f'{encoding.lower()}8']
        or difflib.get_close_matches(encoding.lower(), ENCODINGS, 1, 0.75)
    )
    meant = f' is it {near[0]}?' if near else ''
    return f'unknown encoding {encoding!r}:{meant} use one of {", ".join(ENCODINGS)}'


def stored_values(message: Image) -> NDArray[Any]:
    """Return the values (rows, W) or (rows, W, channels) without padding, in native byte order.

    Raises:
        FrameError: see `check_layout`.
    """
    encoding = check_layout(message)
    rows, width = _stored_rows(message, encoding), message.width * encoding.channels
    itemsize = encoding.bits // 8
    data = np.frombuffer(message.data, np.uint8)
    if encoding.chroma_width:
        return _planes(message, data, encoding.chroma_width)
    # The last row's padding may be missing; a strided view does not access it.
    data = np.lib.stride_tricks.as_strided(data, (rows, width * itemsize), (message.step, 1))
    if encoding.bits > 8:
        kind = 'u2' if encoding.bits == 16 else 'f4'
        data = np.ascontiguousarray(data).view(f'{">" if message.is_bigendian else "<"}{kind}')
        data = data.astype(kind, copy=False)
    if encoding.channels == 1:
        return data
    return data.reshape(rows, message.width, encoding.channels)


def _planes(message: Image, data: NDArray[np.uint8], chroma_width: float) -> NDArray[np.uint8]:
    """Return luma and chroma without padding, (rows, W), if their rows have different widths."""
    height, width, step = message.height, message.width, message.step
    stride, used = int(step * chroma_width), int(width * chroma_width)
    luma = data[: height * step].reshape(height, step)[:, :width]
    chroma = data[height * step : height * (step + stride)]
    # The last row's padding may be missing.
    chroma = np.pad(chroma, (0, height * stride - chroma.size)).reshape(height, stride)[:, :used]
    return np.concatenate([luma.reshape(-1), chroma.reshape(-1)]).reshape(-1, width)


def _nv24_to_rgb(values: NDArray[np.uint8], height: int) -> Rgb:
    """Convert full-size planes of luma and chroma to RGB (ITU-R BT.601, limited range)."""
    steps = np.arange(256)
    luma = np.clip(np.rint((steps - 16) * 255 / 219), 0, 255).astype(np.uint8)
    chroma = np.clip(np.rint((steps - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)
    blue_red = chroma[values[height:].reshape(height, -1, 2)]
    whole = np.dstack([luma[values[:height]], blue_red[..., 1], blue_red[..., 0]])
    rgb: Rgb = cv2.cvtColor(whole, cv2.COLOR_YCrCb2RGB)
    return rgb


def opencv_converter(message: Image) -> Rgb:
    """Convert a message to RGB without cv_bridge."""
    values = stored_values(message)
    if message.encoding == 'nv24':
        return _nv24_to_rgb(values, message.height)
    to_rgb = ENCODINGS[message.encoding].to_rgb
    if to_rgb is None:
        return np.ascontiguousarray(values)
    try:
        rgb: Rgb = cv2.cvtColor(np.ascontiguousarray(values), to_rgb)
        return rgb
    except cv2.error as error:
        raise FrameError(
            f'{message.width}x{message.height} {message.encoding} cannot be converted: {error.err}'
        ) from error


def cv_bridge_converter() -> Converter:
    """Return a converter by cv_bridge, or by OpenCV for encodings that cv_bridge does not know.

    cv_bridge gets rows without padding and values in native byte order, because its releases treat
    others differently.

    Raises:
        ImportError: cv_bridge is not installed, or was built against another NumPy.
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
    """Try a conversion in a separate process, because a broken cv_bridge may crash."""
    if importlib.util.find_spec('cv_bridge') is None:
        return False
    trial = (
        'from types import SimpleNamespace as S; from cv_bridge import CvBridge; '
        'm = S(height=2, width=2, encoding="bayer_rggb8", is_bigendian=0, step=2, '
        'data=bytes(4)); '
        'raise SystemExit(CvBridge().imgmsg_to_cv2(m, "rgb8").shape != (2, 2, 3))'
    )
    result = subprocess.run([sys.executable, '-c', trial], capture_output=True, check=False)
    return result.returncode == 0


def _plain(message: Image) -> SimpleNamespace:
    """Return the message with packed rows and values in native byte order."""
    values = np.ascontiguousarray(stored_values(message))
    return SimpleNamespace(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        is_bigendian=int(sys.byteorder == 'big'),
        step=values.nbytes // len(values),
        data=values.tobytes(),
    )


@functools.cache
def default_converter() -> Converter:
    """Return the converter by cv_bridge if it works, otherwise by OpenCV."""
    try:
        return cv_bridge_converter()
    except ImportError:
        return opencv_converter


def _stored_rows(message: Image, encoding: Encoding) -> int:
    return int(message.height * encoding.rows)
