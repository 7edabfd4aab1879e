# SPDX-License-Identifier: Apache-2.0
"""Imitate torchvision's files of ImageNet encoders, with their real names and shapes."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torchvision

#: File names as published, and parameters with the classifier.
FILES = {
    'resnet50-0676ba61.pth': ('resnet50', 25_557_032),
    'efficientnet_b2_rwightman-c35c1473.pth': ('efficientnet_b2', 9_109_994),
    'densenet169-b2777c0a.pth': ('densenet169', 14_149_480),
}


def write(folder: Path, file: str) -> Path:
    """Write a state dict of random values that a network can start from."""
    name, parameters = FILES[file]
    with torch.device('meta'):
        model = torchvision.models.get_model(name, weights=None)
    assert sum(weight.numel() for weight in model.parameters()) == parameters
    state = {_published(key, name): _value(key, value) for key, value in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / file)
    return folder / file


def _value(key: str, like: torch.Tensor) -> torch.Tensor:
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    if like.dim() > 1:
        return torch.empty(like.shape).normal_(0, (2 / like[0].numel()) ** 0.5)
    return torch.full(like.shape, float(key.endswith(('weight', 'running_var'))))


def _published(key: str, name: str) -> str:
    """Rename like torchvision's old file of DenseNet: `norm.1` for `norm1`."""
    if name != 'densenet169':
        return key
    return re.sub(r'(denselayer\d+\.(?:norm|conv))(\d)', r'\1.\2', key)
