# SPDX-License-Identifier: Apache-2.0
"""MixStyle: exchange the style of features between the pictures of a batch.

Zhou et al. 2021, "Domain Generalization with MixStyle" (ICLR), section 3.2. The style of a picture
is the mean and the deviation of each channel of an early stage's features, which vary with light,
colours and camera; mixing them between pictures imitates cameras and rooms that were never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

#: Both parameters of the Beta distribution of the weights: most are near 0 or 1 (section 3.2).
ALPHA = 0.2
#: The encoder's stages after which styles are mixed: in late ones channels mean content, not style.
STAGES = ('blocks.0', 'blocks.1', 'blocks.2')
#: Added to a variance.
_EPSILON = 1e-6


@dataclass(frozen=True)
class MixStyle:
    """A forward hook that mixes styles in training mode, in a share of the batches.

    All random numbers come from torch's default generator of the CPU.

    Args:
        share: probability that a batch is mixed.
    """

    share: float

    def __call__(self, module: nn.Module, arguments: Any, features: Tensor) -> Tensor | None:
        """Return features (B, C, H, W) to use instead of the module's; None = the module's."""
        if not module.training or torch.rand(()).item() > self.share:
            return None
        count = len(features)
        weights = torch.distributions.Beta(ALPHA, ALPHA).sample((count, 1, 1, 1))
        return mix(features, weights, torch.randperm(count))


def mix(features: Tensor, weights: Tensor, partners: Tensor) -> Tensor:
    """Give each picture a style between its own and that of its partner.

    Content is kept: the result is an affine function of the features for each picture and channel.
    No gradient flows to the partner. Unlike in the paper, it flows through a picture's own mean and
    deviation, so for a weight of 1 it is that of a network without MixStyle.

    Args:
        features: (B, C, H, W), with more than one pixel.
        weights: of the own style, 0 to 1, (B, 1, 1, 1).
        partners: index of each picture's partner in the batch, (B,).

    Returns:
        Features (B, C, H, W) of the same type.

    >>> import torch
    >>> from depth_training.augment.mix_style import mix
    >>> features = torch.tensor([[0.0, 2.0], [4.0, 8.0]]).view(2, 1, 1, 2)
    >>> mix(features, torch.full((2, 1, 1, 1), 0.5), torch.tensor([1, 0])).flatten().round()
    tensor([2., 5., 2., 5.])
    """
    exact = features.float()
    mean = exact.mean((2, 3), keepdim=True)
    deviation = (exact.var((2, 3), keepdim=True) + _EPSILON).sqrt()
    new_mean, new_deviation = (
        weights.to(exact) * own + (1 - weights.to(exact)) * own[partners].detach()
        for own in (mean, deviation)
    )
    return ((exact - mean) / deviation * new_deviation + new_mean).to(features.dtype)


def attach(network: nn.Module, share: float) -> None:
    """Mix styles in the early stages of a network's encoder; its tensors and names stay the same.

    A copy made before does not mix, and neither does a network in evaluation mode.

    Args:
        network: one with an encoder of EfficientNet's stages.
        share: probability that a batch is mixed, for each stage.

    Raises:
        ValueError: the network has no such stages.
    """
    body = getattr(getattr(network, 'encoder', None), 'body', None)
    parts = {} if body is None else dict(body.named_modules())
    if missing := [name for name in STAGES if name not in parts]:
        raise ValueError(
            f'the encoder has no stage {missing[0]} for MixStyle: choose a recipe whose encoder is '
            'an EfficientNet, or omit --mix-style'
        )
    for name in STAGES:
        parts[name].register_forward_hook(MixStyle(share))
