# SPDX-License-Identifier: Apache-2.0
"""docs/interface.md lists everything that the node receives and sends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depth_perception.io.image_messages import ENCODINGS
from depth_perception.ros.node.diagnostics import Context, diagnostic_array
from depth_perception.ros.node.health import STAGES, Health
from depth_perception.ros.node.publishers import TYPES

PAGE = (Path(__file__).parents[2] / 'docs' / 'interface.md').read_text()


def missing(names) -> list[str]:
    return [name for name in names if f'`{name}`' not in PAGE]


def test_every_output_is_there():
    assert not missing(TYPES)


def test_every_encoding_is_there():
    bits = {name for name in ENCODINGS if name.startswith('bayer_')}
    assert not missing({name.rstrip('0123456789') for name in bits} | (set(ENCODINGS) - bits))


def test_every_value_of_diagnostics_is_there():
    health = Health()
    health.latencies(dict.fromkeys(STAGES, 0.1))
    health.image_received(0.0, 0.0, {'frame_id': '', 'encoding': '', 'size': ''})
    health.depth_seen(np.ones((2, 2), np.float32), {'contrast': 9.0, 'focal_factor': 1.0})
    array = diagnostic_array('depth_node', '', health.snapshot(), Context(True, 'active'))
    assert not missing({value.key for status in array.status for value in status.values})
