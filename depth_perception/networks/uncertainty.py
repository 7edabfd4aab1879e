# SPDX-License-Identifier: Apache-2.0
"""A head that tells how far off a depth network is, learnt after the network (frozen)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Pixels of the image along a side of a pixel of the result.
STRIDE = 4
#: Channels that the features of each decoder stage are reduced to, and of the hidden layers.
_REDUCED, _HIDDEN = 4, 8
#: Metres added to depth before its logarithm.
_NEAREST = 1e-3


class UncertaintyHead(nn.Module):
    """Estimate the scale of a Laplace distribution of the error of log depth, of each pixel.

    The features of all decoder stages are used: the coarse ones tell whether the scale of the whole
    picture is doubtful, the fine ones where a pixel is (Kendall and Gal 2017, section 3.1, for the
    loss; Ilg et al. 2018 for how it is judged).

    Args:
        channels: channels of each decoder stage.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(nn.Conv2d(count, _REDUCED, 1) for count in channels)
        self.mix = nn.Sequential(
            nn.Conv2d(_REDUCED * len(channels) + 1, _HIDDEN, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(_HIDDEN, 1, 1),
        )

    def forward(self, features: Sequence[Tensor], depth: Tensor) -> Tensor:
        """Return the logarithm of the scale (B, 1, H / 4, W / 4).

        Args:
            features: of each decoder stage, (B, channels[i], any height, any width).
            depth: the network's output (B, 1, H, W), metres.
        """
        size = [max(1, side // STRIDE) for side in depth.shape[-2:]]
        parts = [
            F.interpolate(reduce(part), size, mode='bilinear', align_corners=False)
            for reduce, part in zip(self.reduce, features)
        ]
        near = F.interpolate(depth, size, mode='bilinear', align_corners=False)
        result: Tensor = self.mix(torch.cat([*parts, (near + _NEAREST).log()], dim=1))
        return result


class DepthAndUncertainty(nn.Module):
    """A network whose output is the depth and the uncertainty, to be compiled as one graph.

    Args:
        network: with `with_uncertainty`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return depth (B, 1, H, W) and the logarithm of its scale (B, 1, H / 4, W / 4)."""
        found: tuple[Tensor, Tensor] = self.network.with_uncertainty(image)  # type: ignore[operator]
        return found
