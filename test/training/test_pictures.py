# SPDX-License-Identifier: Apache-2.0
"""Comparisons of truth and prediction: four parts and their colours."""

from __future__ import annotations

import numpy as np
import torch

from depth_perception.inference.protocol import Estimate
from depth_training.data import open_dataset
from depth_training.evaluate.evaluation import Predictor
from depth_training.evaluate.pictures import comparison, of_predictor
from depth_training.evaluate.protocols import get_protocol
from test.support import layouts
from test.support.weights import tiny_info


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


class Disparities(Predictor):
    """Predict the disparity of the truth with an unknown scale and shift."""

    def published(self, rgb, camera):
        depth = np.maximum(layouts.scene()[1], 1)
        return Estimate(torch.from_numpy(30 / depth - 2))


def test_relative_depth_is_drawn_fitted_to_the_truth(tmp_path):
    pairs = open_dataset(layouts.rooms(tmp_path / 'rooms', ('scene_0',), 1), 'all')
    info = tiny_info(output='relative_disparity', test_geometry='keep_aspect')
    predictor = Disparities(torch.nn.Identity(), info, torch.device('cpu'))
    picture = of_predictor(predictor, pairs, get_protocol('plain'))
    shown = picture[:240]  # 1280 columns: four parts
    truth, prediction = shown[60:, 320:640].astype(int), shown[60:, 640:960].astype(int)
    assert abs(truth - prediction).mean() < 2 and np.ptp(truth) > 100
