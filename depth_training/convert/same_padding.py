# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's SAME padding, which depends on the image, as the fixed one of whole strides.

EfficientNet-Lite pads so that an output has ceil(size / stride) places. Where both sides of an
image are multiples of 32 every layer gets an even size, and the padding is always the same.
"""
from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from depth_perception.networks.efficientnet_lite import SamePadConv2d

#: Sides for which the fixed padding is right.
MULTIPLE = 32


class WholeStrides(nn.Module):
    """A network of fixed padding that takes no other sizes than those for which it is right."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """What the network gives."""
        torch._check(image.shape[2] % MULTIPLE == 0)
        torch._check(image.shape[3] % MULTIPLE == 0)
        return self.network(image)


def with_fixed_padding(network: nn.Module) -> tuple[nn.Module, bool]:
    """A copy with fixed padding, and whether any had to be fixed; the weights are shared."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    made = copy.deepcopy(network, shared)
    return made, _fix(made)


def _fix(module: nn.Module) -> bool:
    from timm.layers.conv2d_same import Conv2dSame

    found = False
    for name, child in list(module.named_children()):
        if isinstance(child, (SamePadConv2d, Conv2dSame)):
            setattr(module, name, _fixed(child))
            found = True
        else:
            found |= _fix(child)
    return found


def _fixed(layer: nn.Conv2d) -> nn.Module:
    """The same convolution behind a padding; more of it goes to the right and the bottom."""
    sides: list[int] = []
    kernel, stride, dilation = (
        (values[0], values[1]) for values in (layer.kernel_size, layer.stride, layer.dilation))
    for axis in (1, 0):
        total = max(dilation[axis] * (kernel[axis] - 1) + 1 - stride[axis], 0)
        sides += [total // 2, total - total // 2]
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, kernel, stride, 0,
                      dilation, layer.groups, layer.bias is not None, device='meta')
    plain.weight, plain.bias = layer.weight, layer.bias
    return nn.Sequential(nn.ZeroPad2d((sides[0], sides[1], sides[2], sides[3])), plain)
