# SPDX-License-Identifier: Apache-2.0
"""Encoders: the feature pyramid of a timm network, strides 2 to 32.

timm has every encoder that the papers use, behind one interface that reports channels and strides;
the encoder of the bundled network is in `efficientnet_lite`, which does not need timm.
Nothing is downloaded: the weights come from a weights file or from a local state dict.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor, nn

from depth_perception.networks.efficientnet_lite import VARIANTS, EfficientNetLite

STRIDES = (2, 4, 8, 16, 32)


def import_timm() -> ModuleType:
    """Import timm.

    Raises:
        ImportError: timm or one of its requirements is missing, or torch and torchvision are
            incompatible.
    """
    try:
        import timm
    except RuntimeError as error:  # torchvision's operators, compiled for another torch
        raise ImportError(str(error), name='torchvision') from error
    return timm


class Encoder(nn.Module):
    """Features of an image at strides 2, 4, 8, 16 and 32.

    Args:
        name: a timm name, such as `resnet50`, `efficientnet_b2` or `tf_efficientnet_lite2`.

    Raises:
        ValueError: timm does not know the name, or the network lacks one of the five strides.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.channels: tuple[int, ...]
        if isinstance(name, str) and name in VARIANTS:
            self.body: Any = EfficientNetLite(name)
            self.channels = self.body.channels
            return
        timm = import_timm()
        if not isinstance(name, str) or not timm.is_model(name):
            raise ValueError(f'unknown encoder {name!r}: give a timm name such as "resnet50"')
        self.body = timm.create_model(name, pretrained=False, features_only=True)
        strides = tuple(self.body.feature_info.reduction())
        if strides != STRIDES:
            raise ValueError(f'encoder {name!r} has strides {strides}, but {STRIDES} are needed')
        self.channels = tuple(self.body.feature_info.channels())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return five tensors (B, channels[i], ceil(H / stride), ceil(W / stride))."""
        return self.body(image)
