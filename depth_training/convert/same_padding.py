# SPDX-License-Identifier: Apache-2.0
"""Replace TensorFlow's SAME padding, which depends on the image size, by fixed padding.

EfficientNet-Lite pads so that an output has ceil(size / stride) positions. If both sides of an
image are multiples of 32, every layer has an even input size, and the padding is constant.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from depth_perception.networks.efficientnet_lite import SamePadConv2d

#: Sides must be multiples of this for fixed padding to be correct.
MULTIPLE = 32


class WholeStrides(nn.Module):
    """A network with fixed padding that refuses sizes for which the padding is wrong."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Run the network."""
        torch._check(image.shape[2] % MULTIPLE == 0)
        torch._check(image.shape[3] % MULTIPLE == 0)
        return self.network(image)


def with_fixed_padding(network: nn.Module) -> tuple[nn.Module, bool]:
    """Return a copy with fixed padding and shared weights, and whether any padding was fixed."""
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
    """Return the convolution behind a padding layer; the larger part goes right and bottom."""
    sides: list[int] = []
    kernel, stride, dilation = (
        (values[0], values[1]) for values in (layer.kernel_size, layer.stride, layer.dilation)
    )
    for axis in (1, 0):
        total = max(dilation[axis] * (kernel[axis] - 1) + 1 - stride[axis], 0)
        sides += [total // 2, total - total // 2]
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        kernel,
        stride,
        0,
        dilation,
        layer.groups,
        layer.bias is not None,
        device='meta',
    )
    plain.weight, plain.bias = layer.weight, layer.bias
    return nn.Sequential(nn.ZeroPad2d((sides[0], sides[1], sides[2], sides[3])), plain)
