# SPDX-License-Identifier: Apache-2.0
"""Residual parts that change nothing until they are trained: more depth for a learnt decoder."""
from __future__ import annotations

from torch import Tensor, nn


class Refinement(nn.Module):
    """A residual branch whose last layer starts as zero, so that the whole starts as identity.

    A network that has learnt without it goes on from where it was.
    """

    def __init__(self, branch: nn.Sequential) -> None:
        super().__init__()
        self.branch = branch
        for parameter in branch[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return features + self.branch(features)


def residual_unit(channels: int) -> Refinement:
    """ReLU and 3x3 convolution, twice: RefineNet's unit (Lin et al. 2017, Fig. 3b)."""
    return Refinement(nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)))


def global_context(channels: int, narrow: int = 64) -> Refinement:
    """What the whole image holds, added everywhere: ParseNet (Liu et al. 2015), made residual."""
    return Refinement(nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, narrow, 1),
        nn.ReLU(), nn.Conv2d(narrow, channels, 1)))
