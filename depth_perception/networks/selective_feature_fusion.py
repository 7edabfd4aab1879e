# SPDX-License-Identifier: Apache-2.0
"""Selective feature fusion: paper 001 (Zhou et al. 2023), eq. 2 and 3, after GLPDepth."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelectiveFeatureFusion(nn.Module):
    """Weigh local encoder features and global decoder features by two learnt attention maps.

    Args:
        channels: channels of both inputs and of the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 2, 2, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, local: Tensor, global_: Tensor) -> Tensor:
        """Fuse two tensors (B, channels, H, W) into one of the same shape."""
        attention = self.attention(torch.cat([local, global_], dim=1))
        return local * attention[:, 0:1] + global_ * attention[:, 1:2]
