# SPDX-License-Identifier: Apache-2.0
"""The error for messages that are not usable images."""

from __future__ import annotations


class FrameError(ValueError):
    """A message is not a usable image; the text names the wrong value."""
