# SPDX-License-Identifier: Apache-2.0
"""Residual blocks that start as the identity, to deepen a decoder that is already trained."""

from __future__ import annotations

from torch import Tensor, nn


class Refinement(nn.Module):
    """A residual branch whose last layer starts at zero, so that the block starts as identity.

    It can therefore be added to a trained network without changing its output.
    """

    def __init__(self, branch: nn.Sequential) -> None:
        super().__init__()
        self.branch = branch
        for parameter in branch[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Refine features (B, C, H, W); the shape is kept."""
        return features + self.branch(features)


def residual_unit(channels: int) -> Refinement:
    """Build RefineNet's unit, ReLU and 3x3 convolution twice (Lin et al. 2017, Fig. 3b)."""
    return Refinement(
        nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
    )


def global_context(channels: int, narrow: int = 64) -> Refinement:
    """Build a block that adds pooled image features to every pixel (ParseNet, Liu et al. 2015)."""
    return Refinement(
        nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(),
            nn.Conv2d(narrow, channels, 1),
        )
    )
