# SPDX-License-Identifier: Apache-2.0
"""A small real network (82 thousand parameters of encoder) and its weights file."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from depth_perception.io.weights import WeightsInfo
from depth_perception.networks import create_network

TINY_ARGUMENTS = {'encoder': 'test_efficientnet', 'max_depth': 10.0}


#: The same with an estimate of its error.
UNSURE_ARGUMENTS = {**TINY_ARGUMENTS, 'uncertainty': True}


def tiny_network(seed: int = 0) -> nn.Module:
    """Create EfficientNet-SFF with timm's smallest encoder and random weights, for inference."""
    torch.manual_seed(seed)
    return create_network('efficientnet_sff', **TINY_ARGUMENTS).eval()


def unsure_network(seed: int = 0) -> nn.Module:
    """Create the tiny network with an uncertainty head, whose confidence varies."""
    torch.manual_seed(seed)
    network = create_network('efficientnet_sff', **UNSURE_ARGUMENTS).eval()
    network.load_state_dict(tiny_network(seed).state_dict(), strict=False)
    with torch.no_grad():
        network.uncertainty.mix[-1].weight *= 5
        network.uncertainty.mix[-1].bias -= 2
    return network


def unsure_info(**changes: Any) -> WeightsInfo:
    """Return metadata of that network; any field may be changed."""
    return tiny_info(network_arguments=dict(UNSURE_ARGUMENTS), **changes)


def tiny_info(**changes: Any) -> WeightsInfo:
    """Return metadata of the tiny network; any field may be changed."""
    info = WeightsInfo(
        network='efficientnet_sff',
        network_arguments=dict(TINY_ARGUMENTS),
        input_height=48,
        input_width=64,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        output='metres',
        min_depth=0.1,
        max_depth=10.0,
        training_focal_length=100.0,
        training_image_width=128,
        training_data='none: random weights',
        licence='Apache-2.0',
        name='tiny',
        scores=({'data': 'none', 'protocol': 'none', 'AbsRel': 0.5},),
        recipe='none',
    )
    return dataclasses.replace(info, **changes)
