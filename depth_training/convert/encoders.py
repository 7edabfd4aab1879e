# SPDX-License-Identifier: Apache-2.0
"""Import ImageNet encoders as saved by timm and torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from depth_training.convert.reading import ForeignError, State, fill

#: torchvision's indices in an inverted residual block to timm's names; SE = squeeze-excitation.
_SE = {'fc1': 'se.conv_reduce', 'fc2': 'se.conv_expand'}
_EXPANDED = {
    '0.0': 'conv_pw',
    '0.1': 'bn1',
    '1.0': 'conv_dw',
    '1.1': 'bn2',
    '3.0': 'conv_pwl',
    '3.1': 'bn3',
    **{f'2.{place}': name for place, name in _SE.items()},
}
#: The first stage has no expansion.
_PLAIN = {
    '0.0': 'conv_dw',
    '0.1': 'bn1',
    '2.0': 'conv_pw',
    '2.1': 'bn2',
    **{f'1.{place}': name for place, name in _SE.items()},
}
#: Layers behind the last feature, which are not used here.
_CLASSIFIER = ('fc.', 'classifier.', 'conv_head.', 'head.')


def fill_encoder(encoder: Any, state: Mapping[str, Tensor]) -> None:
    """Fill an encoder of `depth_perception.networks` from timm's or torchvision's state dict.

    Args:
        encoder: encoder with `.body`, as in every network with an ImageNet encoder.
        state: state dict of the same network, with or without classifier.

    Raises:
        ForeignError: the state dict belongs to another network.
    """
    known = _timm_names(state)
    target = encoder.body.state_dict()
    # EfficientNet's bn2 belongs to the unused last convolution; ResNet's blocks have their own.
    used = {
        name: value
        for name, value in known.items()
        if name in target or not name.startswith((*_CLASSIFIER, 'bn2.'))
    }
    if not used.keys() & target.keys():
        raise ForeignError(f'the checkpoint is not {encoder.name} as saved by timm or torchvision')
    fill(encoder.body, used, f'the checkpoint of {encoder.name}')


def _timm_names(state: Mapping[str, Tensor]) -> State:
    if 'features.0.0.weight' in state:
        return _efficientnet(state)
    # DenseNet: torchvision's first file of features has "norm.1" instead of "norm1".
    return {
        re.sub(
            r'(denselayer\d+\.(?:norm|conv))\.(\d)', r'\1\2', name.removeprefix('features.')
        ): value
        for name, value in state.items()
    }


def _efficientnet(state: Mapping[str, Tensor]) -> State:
    """Rename torchvision's EfficientNet to timm's names, without its last convolution."""
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
