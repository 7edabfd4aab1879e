# SPDX-License-Identifier: Apache-2.0
"""Comparisons of truth and prediction: four parts and their colours."""

from __future__ import annotations

import numpy as np

from depth_training.evaluate.pictures import comparison


def test_a_comparison_has_four_parts_and_a_legend_below():
    rgb = np.full((48, 64, 3), 90, np.uint8)
    truth = np.tile(np.linspace(1, 4, 64, dtype=np.float32), (48, 1))
    truth[:8] = 0
    picture = comparison(rgb, truth, truth * np.float32(1.25))
    assert picture.shape[1] == 4 * 64 and picture.shape[0] > 48 + 10
    assert (picture[:48, :64] == rgb).all()
    assert not picture[:8, 64:128].any() and (picture[:8, 192:] == 128).all()
    error = picture[8:48, 192:].reshape(-1, 3)
    assert (error == error[0]).all() and error[0].any()  # 25 % everywhere
    assert (picture[48:, 64:192].max(axis=2) > picture[48:, 64:192].min(axis=2)).any()
