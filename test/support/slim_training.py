# SPDX-License-Identifier: Apache-2.0
"""Run `python -m depth_training` with narrow decoders; all other parts are the papers'."""

from __future__ import annotations

import sys

import pytest

from depth_perception.networks import cnn_fc, up_projection_decoder
from depth_training import cli


def slim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new networks narrow, with a sixtieth of the decoder's weights."""
    monkeypatch.setattr(up_projection_decoder, 'WIDTHS', (64, 32, 32, 16, 16))
    monkeypatch.setattr(cnn_fc, 'HIDDEN', 64)


if __name__ == '__main__':
    slim(pytest.MonkeyPatch())
    sys.exit(cli.main())
