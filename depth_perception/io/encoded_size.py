# SPDX-License-Identifier: Apache-2.0
"""Read an encoded image's declared size without decoding it, and check that it is complete.

A header of a few hundred bytes may declare 30000x30000 pixels, for which a decoder would allocate
memory.
"""

from __future__ import annotations

import struct

_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
#: The two byte orders of TIFF 6.0.
_TIFF = {b'II*\x00': '<', b'MM\x00*': '>'}
_END_OF_JPEG = b'\xff\xd9'
#: Start of frame: C0 to CF except DHT, JPG and DAC (ITU-T T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Fill bytes, and markers without a segment: TEM, RST0 to RST7, SOI.
_ALONE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD9)})
#: TIFF tags of the size, and the struct formats of their possible types.
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_TYPES = {3: 'H', 4: 'I'}


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) of a JPEG, PNG or TIFF; None for other formats or broken headers."""
    if data.startswith(_PNG):
        return struct.unpack_from('>II', data, 16) if len(data) >= 24 else None
    if data[:4] in _TIFF:
        return _tiff_size(data, _TIFF[data[:4]])
    at = _jpeg_frame(data) if data.startswith(_JPEG) else None
    if at is None:
        return None
    height, width = struct.unpack_from('>HH', data, at + 5)
    return width, height


def is_truncated(data: bytes) -> bool:
    """Return whether a JPEG or PNG lacks its end; OpenCV would silently fill the rest with grey.

    Bytes after the end are allowed: some cameras send buffers of a fixed size.
    """
    if data.startswith(_JPEG):
        # The end of an embedded thumbnail comes before the frame header of the image.
        at = _jpeg_frame(data)
        return data.rfind(_END_OF_JPEG) < (len(data) if at is None else at)
    return data.startswith(_PNG) and b'IEND' not in data


def _jpeg_frame(data: bytes) -> int | None:
    """Return the offset of the frame header; bytes between segments are skipped."""
    at = data.find(b'\xff', len(_JPEG))
    while 0 <= at < len(data) - 9:
        marker = data[at + 1]
        if marker in _FRAMES:
            return at
        # A length includes its own two bytes. After a fill byte the marker is the next byte.
        skipped = 1 if marker in _ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
        at = data.find(b'\xff', at + skipped)
    return None


def _tiff_size(data: bytes, order: str) -> tuple[int, int] | None:
    """Parse the first directory: a count, then 12 bytes per entry (tag, type, count, value)."""
    found: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(f'{order}I', data, 4)
        (count,) = struct.unpack_from(f'{order}H', data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f'{order}HH', data, entry)
            if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
                (found[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], data, entry + 8)
        return found[_TIFF_WIDTH], found[_TIFF_HEIGHT]
    except (struct.error, KeyError):
        return None
