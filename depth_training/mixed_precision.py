# SPDX-License-Identifier: Apache-2.0
"""Which arithmetic a training step uses, and what a CPU needs to be quick at it.

Measured on a 2-core x86-64 CPU with bfloat16 instructions, one step of the recipe `bundled`
(batch 8): plain bf16 autocast 2.4 CPU seconds, in channels_last 1.9, in channels_last with the
depthwise convolutions in float32 1.3; fp32 in channels_last 1.9.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal['auto', 'fp32', 'bf16']


def resolve(wish: Precision, device: torch.device) -> Literal['fp32', 'bf16']:
    """`auto` is bf16 on CUDA and fp32 on a CPU."""
    if wish == 'auto':
        return 'bf16' if device.type == 'cuda' else 'fp32'
    return wish


def prepare(network: nn.Module, precision: str, device: torch.device) -> None:
    """Make a network quick in bf16 on a CPU; names and tensors stay as they are.

    The gradient of a depthwise convolution is several times slower in bf16 there than in float32.
    """
    if precision == 'bf16' and device.type == 'cpu':
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                layer.forward = partial(_in_float32, layer.forward)


def arranged(image: Tensor, precision: str) -> Tensor:
    """An image batch (B, 3, H, W) in the memory order in which bf16 is fastest."""
    if precision == 'bf16':
        return image.contiguous(memory_format=torch.channels_last)
    return image


def _in_float32(convolution: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        result = convolution(features.float())
    # What follows works on half of the bytes.
    return result.to(torch.bfloat16) if torch.is_autocast_enabled(features.device.type) else result
