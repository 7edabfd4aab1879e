# SPDX-License-Identifier: Apache-2.0
"""The floor's correction of depths and poses that hypothesis makes up."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_perception.camera.model import CameraModel
from depth_perception.depth.floor import floor_layout, level_floor
from depth_perception.depth.scan import CameraPose

INF, NAN = float('inf'), float('nan')


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_depth_at_any_pose_gives_finite_depth_of_the_same_sign(seed):
    rng = np.random.default_rng(seed)
    camera = CameraModel(64, 48, rng.uniform(20, 90), rng.uniform(20, 90), 31.5, rng.uniform(5, 40))
    pose = CameraPose(rng.uniform(-0.4, 1.2), rng.uniform(-0.6, 0.6), rng.uniform(0.03, 3))
    layout = floor_layout(camera, pose, rng.uniform(0, 0.3))
    if layout is None:
        return
    depth = np.exp(rng.normal(0.5, 1, (48, 64))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = rng.choice([0, NAN, INF, 1e-30, 1e30])
    found = level_floor(depth, layout, bool(seed % 2))
    assert (np.isfinite(found) == np.isfinite(depth)).all()
    assert ((found > 0) == (depth > 0)).all()
