# SPDX-License-Identifier: Apache-2.0
"""The error of a message that is no usable image."""
from __future__ import annotations


class FrameError(ValueError):
    """A message that is no usable image; the text names the value that is wrong."""
