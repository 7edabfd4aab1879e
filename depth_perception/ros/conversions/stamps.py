# SPDX-License-Identifier: Apache-2.0
"""Stamps as numbers, and the stamp of a serialized message that starts with a header.

CDR: four bytes of encapsulation, the second odd for little endian, then stamp.sec (int32) and
stamp.nanosec (uint32).
"""
from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from rclpy.clock import Clock


def nanoseconds(stamp: Time) -> int:
    """A stamp in nanoseconds; negative, as rclpy's Time cannot be, where a message says so."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return nanoseconds(stamp) / 10**9


def age(clock: Clock, stamp: Time) -> float:
    """Seconds from a stamp to the present of a clock."""
    return (clock.now().nanoseconds - nanoseconds(stamp)) / 10**9


def serialized_stamp(data: bytes) -> int:
    """Its stamp in nanoseconds."""
    whole, fraction = struct.unpack_from(_layout(data), data, 4)
    return int(whole) * 10**9 + int(fraction)


def restamped(data: bytes, now: int) -> bytes:
    """The message with another stamp, nanoseconds."""
    return data[:4] + struct.pack(_layout(data), *divmod(now, 10**9)) + data[12:]


def _layout(data: bytes) -> str:
    return '<iI' if data[1] & 1 else '>iI'
