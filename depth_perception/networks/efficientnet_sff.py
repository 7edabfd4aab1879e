# SPDX-License-Identifier: Apache-2.0
"""EfficientNet with selective feature fusion ("SU-Net"): paper 001 (Zhou et al. 2023), Fig. 1."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks.encoder import Encoder
from depth_perception.networks.refinement import global_context, residual_unit
from depth_perception.networks.registry import register_network
from depth_perception.networks.selective_feature_fusion import SelectiveFeatureFusion
from depth_perception.networks.uncertainty import UncertaintyHead


class FusionStage(nn.Module):
    """Reduce to the skip's channels by a 1x1 convolution, resize to its size, and fuse.

    The 1x1 convolution runs before the bilinear resize: same result up to rounding, but cheaper.
    """

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, skip_channels, 1)
        self.fuse = SelectiveFeatureFusion(skip_channels)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Merge (B, in, h, w) and (B, skip, H, W) to (B, skip, H, W)."""
        features = self.reduce(features)
        features = F.interpolate(features, skip.shape[-2:], mode='bilinear', align_corners=False)
        return self.fuse(skip, features)


class EfficientNetSFF(nn.Module):
    """Metric depth from an EfficientNet encoder and a selective-feature-fusion decoder.

    Args:
        encoder: timm name of the encoder (paper: `efficientnet_b2`, 7,652,147 parameters).
        max_depth: metres at which the sigmoid saturates (paper: 10).
        refined: add global context before the first fusion and a residual unit after each stage
            (not in the paper).
        uncertainty: add the head of `with_uncertainty` (not in the paper).

    Raises:
        ValueError: the encoder is unknown, or max_depth is not a positive number.
    """

    #: Decoder stage: constructed with (in_channels, skip_channels), called with (features, skip).
    stage: type[nn.Module] = FusionStage

    def __init__(
        self,
        encoder: str = 'efficientnet_b2',
        max_depth: float = 10.0,
        refined: bool = False,
        uncertainty: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(max_depth, (int, float)) or not 0 < max_depth < float('inf'):
            raise ValueError(f'max_depth {max_depth!r} is not a positive number of metres')
        self.encoder = Encoder(encoder)
        self.max_depth = max_depth
        deepest_first = self.encoder.channels[::-1]
        self.stages = nn.ModuleList(self.stage(i, o) for i, o in pairwise(deepest_first))
        # One refinement before the first stage and one after each stage.
        self.refinements = nn.ModuleList(
            (global_context(deepest_first[0]), *map(residual_unit, deepest_first[1:]))
            if refined
            else (nn.Identity() for _ in deepest_first)
        )
        width = deepest_first[-1]
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        self.uncertainty = UncertaintyHead(deepest_first) if uncertainty else None

    def forward(self, image: Tensor) -> Tensor:
        """Map a normalised image (B, 3, H, W) to depth in metres (B, 1, H, W)."""
        return self.features(image)[0]

    def with_uncertainty(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the depth, and the logarithm of the scale of its error, see `UncertaintyHead`."""
        assert self.uncertainty is not None  # see WeightsInfo.gives_confidence
        depth, features = self.features(image)
        return depth, self.uncertainty(features, depth)

    def features(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the depth and the features of each decoder stage, the coarsest first."""
        *skips, features = self.encoder(image)
        first, *others = self.refinements
        features = first(features)
        of_stages = [features]
        for stage, refine, skip in zip(self.stages, others, reversed(skips)):
            features = refine(stage(features, skip))
            of_stages.append(features)
        features = F.interpolate(features, image.shape[-2:], mode='bilinear', align_corners=False)
        return self.max_depth * torch.sigmoid(self.head(features)), of_stages


@register_network('efficientnet_sff')
def efficientnet_sff(
    encoder: str = 'efficientnet_b2',
    max_depth: float = 10.0,
    refined: bool = False,
    uncertainty: bool = False,
) -> EfficientNetSFF:
    """Build paper 001's network; the bundled weights use the encoder `tf_efficientnet_lite2`."""
    return EfficientNetSFF(encoder, max_depth, refined, uncertainty)
