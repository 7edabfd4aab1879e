# SPDX-License-Identifier: Apache-2.0
"""Convert stamps to numbers; read and replace the stamp of a serialized message with a header.

Layout in CDR: four bytes of encapsulation (the second is odd for little endian), then stamp.sec
(int32) and stamp.nanosec (uint32).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from rclpy.clock import Clock


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in nanoseconds; it may be negative, unlike rclpy's Time."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def seconds(stamp: Time) -> float:
    """Return a stamp in seconds."""
    return nanoseconds(stamp) / 10**9


def age(clock: Clock, stamp: Time) -> float:
    """Return the seconds from a stamp to the present time of a clock."""
    return (clock.now().nanoseconds - nanoseconds(stamp)) / 10**9


def serialized_stamp(data: bytes) -> int:
    """Return the stamp of a serialized message in nanoseconds."""
    whole, fraction = struct.unpack_from(_layout(data), data, 4)
    return int(whole) * 10**9 + int(fraction)


def restamped(data: bytes, now: int) -> bytes:
    """Return the serialized message with another stamp, nanoseconds."""
    return data[:4] + struct.pack(_layout(data), *divmod(now, 10**9)) + data[12:]


def _layout(data: bytes) -> str:
    return '<iI' if data[1] & 1 else '>iI'
