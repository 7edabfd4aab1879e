# SPDX-License-Identifier: Apache-2.0
"""The perceptual loss of paper 001 (eq. 6, Table 1): features of a frozen ResNet-50."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.reading import refuse_device
from depth_training.losses.losses import mse
from depth_training.losses.masked import in_full_precision

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Indices of layer1 and layer2 ("Resblock 1 and 2") in timm's list of resnet50 features.
_FEATURES = (1, 2)


class PerceptualLoss(nn.Module):
    """Mean squared difference of ResNet-50 features after layer1 and after layer2, averaged.

    (1/2) sum over layers j of mean (phi_j(pred) - phi_j(target))^2, in float32, since differences
    of nearly equal features vanish in half precision.

    Depth / max_depth is repeated to three channels and normalised like ImageNet images. Invalid
    pixels of the target are replaced by the detached prediction, so holes give no gradient. The
    loss network (1,444,928 parameters) is frozen and in eval mode; gradients pass through it. It
    is excluded from `parameters()` and `state_dict()`, so it is neither trained nor saved.

    Args:
        weights: local ImageNet weights of ResNet-50 in torchvision's or timm's naming (.pth or
            .safetensors); None leaves the network random, which only tests want.
        max_depth: depth in metres that becomes 1.

    Raises:
        ValueError: the file does not contain these weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None, max_depth: float = 10.0) -> None:
        super().__init__()
        self.max_depth = max_depth
        network = _resnet50(weights).requires_grad_(False).eval()
        # In a tuple, so that nn.Module does not register it; _apply moves it between devices.
        self._hidden = (network,)
        self.register_buffer('mean', torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of depths (B, 1, H, W) in metres."""
        return self._compare(pred, target, valid)

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self._hidden[0]._apply(function)
        return super()._apply(function, recurse)

    def _compare(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return _feature_distance(pred, target, valid, features=self._features)

    def _features(self, depth: Tensor) -> list[Tensor]:
        image = (depth / self.max_depth).expand(-1, 3, -1, -1)
        return self._hidden[0]((image - self.mean) / self.std)


@in_full_precision
def _feature_distance(
    pred: Tensor, target: Tensor, valid: Tensor, features: Callable[[Tensor], list[Tensor]]
) -> Tensor:
    filled = torch.where(valid, target, pred.detach())
    with torch.no_grad():
        wanted = features(filled)
    distances = [
        mse(mine, theirs, torch.ones_like(mine, dtype=torch.bool))
        for mine, theirs in zip(features(pred), wanted)
    ]
    return sum(distances) / len(distances)  # type: ignore[return-value]  # some features


def _resnet50(weights: Path | None) -> nn.Module:
    from depth_perception.networks.encoder import import_timm

    timm = import_timm()
    network = timm.create_model(
        'resnet50', pretrained=False, features_only=True, out_indices=_FEATURES
    )
    if weights is not None:
        result = network.load_state_dict(_read_state(weights), strict=False)
        if result.missing_keys:
            raise ValueError(f'{weights} is not a ResNet-50: it lacks {result.missing_keys[0]}')
    return network


def _read_state(file: Path) -> dict[str, Tensor]:
    refuse_device(file)
    if file.suffix == '.safetensors':
        from safetensors.torch import load_file

        return load_file(file)
    try:
        return torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'{file} is a pickle of more than tensors, which could run code; '
            'give a state dict instead'
        ) from error
