# SPDX-License-Identifier: Apache-2.0
"""The size that an encoded image claims to have, read before anything is decoded.

A few hundred bytes may claim 30000x30000 pixels, and a decoder takes the memory for them.
"""
from __future__ import annotations

import struct

_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
#: Start of frame: C0 to CF but for DHT, JPG and DAC (ITU-T T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Markers without a segment, beside fill bytes: TEM, RST0 to RST7, SOI.
_ALONE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD9)})


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG or PNG; None for other formats, or where the header is broken."""
    if data.startswith(_PNG):
        return struct.unpack_from('>II', data, 16) if len(data) >= 24 else None
    return _jpeg_size(data) if data.startswith(_JPEG) else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the frame header; what stands between two segments is skipped, as decoders do."""
    at = data.find(b'\xff', len(_JPEG))
    while 0 <= at < len(data) - 9:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from('>HH', data, at + 5)
            return width, height
        # A length counts itself. After a fill byte the marker is the next byte.
        skipped = 1 if marker in _ALONE else 2 + int.from_bytes(data[at + 2:at + 4], 'big')
        at = data.find(b'\xff', at + skipped)
    return None
