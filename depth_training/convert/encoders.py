# SPDX-License-Identifier: Apache-2.0
"""ImageNet encoders as timm and torchvision save them."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from depth_training.convert.reading import ForeignError, State, fill

#: torchvision's places in an inverted residual block, and timm's names; SE = squeeze-excitation.
_SE = {'fc1': 'se.conv_reduce', 'fc2': 'se.conv_expand'}
_EXPANDED = {'0.0': 'conv_pw', '0.1': 'bn1', '1.0': 'conv_dw', '1.1': 'bn2', '3.0': 'conv_pwl',
             '3.1': 'bn3', **{f'2.{place}': name for place, name in _SE.items()}}
#: The first stage does not expand.
_PLAIN = {'0.0': 'conv_dw', '0.1': 'bn1', '2.0': 'conv_pw', '2.1': 'bn2',
          **{f'1.{place}': name for place, name in _SE.items()}}
#: What an encoder has behind its last feature: not used here.
_CLASSIFIER = ('fc.', 'classifier.', 'conv_head.', 'head.')


def fill_encoder(encoder: Any, state: Mapping[str, Tensor]) -> None:
    """Fill an encoder of `depth_perception.networks` from timm's or torchvision's state dict.

    Args:
        encoder: with `.body`, as every network with an ImageNet encoder has it.
        state: of the same network with classifier, or without.

    Raises:
        ForeignError: the state dict is of another network.
    """
    known = _timm_names(state)
    target = encoder.body.state_dict()
    # EfficientNet's bn2 belongs to the unused last convolution; ResNet's blocks have their own.
    used = {name: value for name, value in known.items()
            if name in target or not name.startswith((*_CLASSIFIER, 'bn2.'))}
    if not used.keys() & target.keys():
        raise ForeignError(f'the checkpoint is no {encoder.name} as timm or torchvision saves it')
    fill(encoder.body, used, f'the checkpoint of {encoder.name}')


def _timm_names(state: Mapping[str, Tensor]) -> State:
    if 'features.0.0.weight' in state:
        return _efficientnet(state)
    # DenseNet: the first feature file of torchvision wrote "norm.1" for "norm1".
    return {re.sub(r'(denselayer\d+\.(?:norm|conv))\.(\d)', r'\1\2',
                   name.removeprefix('features.')): value for name, value in state.items()}


def _efficientnet(state: Mapping[str, Tensor]) -> State:
    """Torchvision's EfficientNet in timm's names; its last convolution is left out."""
    stages = [int(name.split('.')[1]) for name in state if name.startswith('features.')]
    renamed = {}
    for name, value in state.items():
        ours = _efficientnet_name(name, head=max(stages))
        if ours is not None:
            renamed[ours] = value
    return renamed


def _efficientnet_name(name: str, head: int) -> str | None:
    if match := re.fullmatch(r'features\.0\.([01])\.(\w+)', name):
        return f'{("conv_stem", "bn1")[int(match[1])]}.{match[2]}'
    match = re.fullmatch(r'features\.(\d+)\.(\d+)\.block\.(\d\.\w+)\.(\w+)', name)
    if match is None or int(match[1]) == head:
        return None
    places = _PLAIN if match[1] == '1' else _EXPANDED
    place = places.get(match[3])
    return place and f'blocks.{int(match[1]) - 1}.{match[2]}.{place}.{match[4]}'
