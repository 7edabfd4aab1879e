# SPDX-License-Identifier: Apache-2.0
"""The stamp of a serialized message that starts with a header.

CDR: four bytes of encapsulation, the second odd for little endian, then stamp.sec (int32) and
stamp.nanosec (uint32).
"""
from __future__ import annotations

import struct


def serialized_stamp(data: bytes) -> int:
    """Its stamp in nanoseconds."""
    seconds, nanoseconds = struct.unpack_from(_layout(data), data, 4)
    return seconds * 10**9 + nanoseconds


def restamped(data: bytes, now: int) -> bytes:
    """The message with another stamp, nanoseconds."""
    return data[:4] + struct.pack(_layout(data), *divmod(now, 10**9)) + data[12:]


def _layout(data: bytes) -> str:
    return '<iI' if data[1] & 1 else '>iI'
