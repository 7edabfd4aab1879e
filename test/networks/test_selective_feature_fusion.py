# SPDX-License-Identifier: Apache-2.0
"""Selective feature fusion: a weighted sum whose weights lie between 0 and 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from depth_perception.networks.selective_feature_fusion import SelectiveFeatureFusion


def with_attention(local_logit, global_logit):
    """A fusion that gives the same two weights everywhere."""
    fusion = SelectiveFeatureFusion(4).eval()
    nn.init.zeros_(fusion.attention[-2].weight)
    fusion.attention[-2].bias.data = torch.tensor([local_logit, global_logit])
    return fusion


@pytest.mark.parametrize(
    ('logits', 'local_weight', 'global_weight'),
    [((100.0, -100.0), 1, 0), ((-100.0, 100.0), 0, 1), ((0.0, 0.0), 0.5, 0.5)],
)
def test_fusion_weighs_local_and_global_features(logits, local_weight, global_weight):
    local, global_ = torch.randn(2, 4, 5, 7), torch.randn(2, 4, 5, 7)
    with torch.inference_mode():
        fused = with_attention(*logits)(local, global_)
    torch.testing.assert_close(fused, local_weight * local + global_weight * global_)


@pytest.mark.parametrize(
    ('channels', 'expected'), [(120, 325_622), (48, 52_490), (24, 13_286), (16, 5_978)]
)
def test_fusion_has_the_published_parameters(channels, expected):
    fusion = SelectiveFeatureFusion(channels)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected
