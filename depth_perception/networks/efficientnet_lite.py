# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite 0 to 4, features at strides 2 to 32 (Tan and Le 2019; Google's lite release).

Identical to timm's `tf_efficientnet_lite*`: the same tensor names and initialisation, and bitwise
equal outputs. It is included because the bundled network uses it, and because importing timm takes
longer than importing PyTorch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Factors on the number of channels and on the number of blocks.
VARIANTS = {
    'tf_efficientnet_lite0': (1.0, 1.0),
    'tf_efficientnet_lite1': (1.0, 1.1),
    'tf_efficientnet_lite2': (1.1, 1.2),
    'tf_efficientnet_lite3': (1.2, 1.4),
    'tf_efficientnet_lite4': (1.4, 1.8),
}
#: For each stage: blocks, kernel, stride of the first block, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
#: Stages whose next stage halves the size, and the last stage.
_TAPS = (0, 1, 2, 4, 6)
_STEM = 32
#: TensorFlow's value.
_EPSILON = 1e-3


class EfficientNetLite(nn.Module):
    """Compute features of an image at strides 2, 4, 8, 16 and 32.

    Args:
        name: one of VARIANTS.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        wider, deeper = VARIANTS[name]
        self.conv_stem = SamePadConv2d(3, _STEM, 3, 2)
        self.bn1 = _NormAct(_STEM)
        stages, before = [], _STEM
        for index, (count, kernel, stride, expansion, channels) in enumerate(_STAGES):
            is_scaled = 0 < index < len(_STAGES) - 1
            width = _divisible(channels * wider)
            blocks = []
            for number in range(math.ceil(count * deeper) if is_scaled else count):
                blocks.append(_block(before, width, kernel, 1 if number else stride, expansion))
                before = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.channels = tuple(_divisible(_STAGES[index][-1] * wider) for index in _TAPS)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return five tensors (B, channels[i], ceil(H / stride), ceil(W / stride))."""
        features = self.bn1(self.conv_stem(image))
        found = []
        for index, stage in enumerate(self.blocks):
            features = stage(features)
            if index in _TAPS:
                found.append(features)
        return found


class SamePadConv2d(nn.Conv2d):
    """A convolution without bias and with TensorFlow's SAME padding; kernel >= stride.

    The output has ceil(size / stride) pixels; an odd padding pixel is at the right and bottom.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(before, after, kernel, stride, groups=groups, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, after, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (kernel - stride + -size % stride for size in image.shape[-2:])
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(image, sides))


class _NormAct(nn.BatchNorm2d):
    """BatchNorm followed by ReLU6."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPSILON)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.act(super().forward(features))


class _DepthwiseSeparable(nn.Module):
    """A depthwise convolution, then a 1x1 convolution."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _conv(before, before, kernel, stride, groups=before)
        self.bn1 = _NormAct(before)
        self.conv_pw = _conv(before, after, 1)
        self.bn2 = nn.BatchNorm2d(after, eps=_EPSILON)
        self.has_skip = stride == 1 and before == after

    def forward(self, features: Tensor) -> Tensor:
        result = self.bn1(self.conv_dw(features))
        result = self.bn2(self.conv_pw(result))
        return result + features if self.has_skip else result


class _InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project (MobileNetV2, Sandler et al. 2018)."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        self.conv_pw = _conv(before, inner, 1)
        self.bn1 = _NormAct(inner)
        self.conv_dw = _conv(inner, inner, kernel, stride, groups=inner)
        self.bn2 = _NormAct(inner)
        self.conv_pwl = _conv(inner, after, 1)
        self.bn3 = nn.BatchNorm2d(after, eps=_EPSILON)
        self.has_skip = stride == 1 and before == after

    def forward(self, features: Tensor) -> Tensor:
        result = self.bn1(self.conv_pw(features))
        result = self.bn2(self.conv_dw(result))
        result = self.bn3(self.conv_pwl(result))
        return result + features if self.has_skip else result


def _block(before: int, after: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    if expansion == 1:
        return _DepthwiseSeparable(before, after, kernel, stride)
    return _InvertedResidual(before, after, kernel, stride, expansion)


def _conv(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SamePadConv2d(before, after, kernel, stride, groups)


def _divisible(channels: float, by: int = 8) -> int:
    """Round to a multiple of `by`, but never down by more than 10 %."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """Draw the weights from a normal distribution by fan-out, as TensorFlow's implementation."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        module.weight.normal_(
            0, math.sqrt(2.0 / (height * width * module.out_channels // module.groups))
        )
