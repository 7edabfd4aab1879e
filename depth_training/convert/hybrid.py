# SPDX-License-Identifier: Apache-2.0
"""Import `hyb_net_weights.model` of paper 003 (Harsanyi et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from depth_training.convert.reading import ForeignError, State, fill
from depth_training.convert.renaming import rename

#: The four convolutions of an unpooling, by the position in the 2x2 cell that each fills.
_PLACES = {'conv_A': 'even_even', 'conv_B': 'odd_even', 'conv_C': 'even_odd', 'conv_D': 'odd_odd'}
#: The published class registers each unpooling twice, so the file has its tensors twice.
_TWINS = {'.unpool_main.': '.main_branch.0.', '.unpool_res.': '.residual_branch.0.'}
_MODULES = {
    'conv2': 'decoder.bridge.0',
    'bn2': 'decoder.bridge.1',
    'conv3': 'decoder.head',
    **{
        name: f'encoder.body.{name}'
        for name in ('conv1', 'bn1', 'layer1', 'layer2', 'layer3', 'layer4')
    },
    **{f'con_conv{i + 1}.conv': f'decoder.merges.{i}' for i in range(4)},
    **{
        f'up_proj{i + 1}.{branch}': f'decoder.ups.{i}.{ours}'
        for i in range(4)
        for branch, ours in (('main_branch', 'main'), ('residual_branch', 'side'))
    },
    **{
        f'up_proj{i + 1}.{branch}.0.{letter}': f'decoder.ups.{i}.{ours}.0.{place}'
        for i in range(4)
        for letter, place in _PLACES.items()
        for branch, ours in (('main_branch', 'main'), ('residual_branch', 'side'))
    },
}


def fill_hybrid(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill `resnet_unet_hybrid` from the published file's tensors.

    Raises:
        ForeignError: they belong to another network, or the two copies of an unpooling differ.
    """
    fill(network, rename(_without_twins(state), _MODULES), 'the published hybrid')


def _without_twins(state: Mapping[str, Tensor]) -> State:
    return {name: value for name, value in state.items() if not _is_twin(name, value, state)}


def _is_twin(name: str, value: Tensor, state: Mapping[str, Tensor]) -> bool:
    for twin, kept in _TWINS.items():
        if twin in name:
            other = state.get(name.replace(twin, kept))
            if other is None or not torch.equal(other, value):
                raise ForeignError(f'the checkpoint keeps {name} twice, and its copies differ')
            return True
    return False
