# SPDX-License-Identifier: Apache-2.0
"""Decode JPEG, PNG and TIFF of sensor_msgs/CompressedImage by image_transport's conventions.

The field `format` says what was compressed and how: `bayer_rggb8; jpeg compressed ` is a Bayer
mosaic stored as a grey JPEG, `rgb8; jpeg compressed bgr8` is a colour image, and
`rgb8; jpeg compressed rgb8` one with red and blue exchanged in the file. Other publishers write
only `jpeg` or `png`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.io.encoded_size import encoded_size, is_truncated
from depth_perception.io.frame_error import FrameError

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage

#: Largest number of pixels of a compressed image; bounds the memory for decoding.
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Format:
    """The parsed field `format`.

    Attributes:
        source: encoding of the image that was compressed, or ''.
        target: encoding that it was converted to before compression, or ''.
    """

    source: str = ''
    target: str = ''

    @classmethod
    def of(cls, text: str) -> Format:
        """Parse `<source>; <codec> compressed <target>`, or the codec alone."""
        source, separator, rest = text.partition(';')
        if not separator:
            return cls()
        return cls(source.strip(), rest.partition('compressed')[2].strip())

    @property
    def is_mosaic(self) -> bool:
        """Whether a grey file is a Bayer mosaic."""
        return self.source.startswith('bayer_') and not self.target.startswith('mono')

    @property
    def is_rgb(self) -> bool:
        """Whether red and blue are exchanged: the publisher gave OpenCV RGB instead of BGR."""
        return self.target.startswith('rgb')


def unpacked(message: CompressedImage) -> NDArray[Any]:
    """Return the decoded values, (H, W) or (H, W, channels) in OpenCV's order, of any type.

    Raises:
        FrameError: the format is not supported, the bytes are truncated or not an image, or the
            header declares more than MAX_PIXELS.
    """
    data = np.frombuffer(message.data, np.uint8)
    named = f'compressed image (format {message.format!r}, {data.size} bytes)'
    if 'compressedDepth' in message.format:
        raise FrameError(
            f'compressedDepth (format {message.format!r}) is a depth image, not a '
            "camera's: name the topic of a colour image"
        )
    content = data.tobytes()
    if not content:
        raise FrameError(f'{named} has no data')
    if is_truncated(content):
        raise FrameError(f'{named} is truncated')
    size = encoded_size(content)
    if size is None:
        raise FrameError(
            f'{named} cannot be decoded: it is neither a JPEG nor a PNG nor a TIFF; '
            'let the camera send JPEG, or name its raw topic'
        )
    width, height = size
    if width * height > MAX_PIXELS:
        raise FrameError(
            f'compressed image of {width}x{height} pixels is not decoded: the limit '
            f'is {MAX_PIXELS / 1e6:.0f} megapixels'
        )
    values = _decoded(data)
    if values is None or (values.ndim > 2 and values.shape[2] not in (1, 3, 4)):
        raise FrameError(f'{named} cannot be decoded')
    if values.dtype not in (np.uint8, np.uint16, np.float32):
        raise FrameError(f'{named} has values of type {values.dtype}: use 8 or 16 bits')
    return values


def _decoded(data: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Return the values as stored, or None if OpenCV cannot decode them."""
    try:
        # Also ignores an EXIF rotation, which would not apply to camera_info.
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
