# SPDX-License-Identifier: Apache-2.0
"""Fold BatchNorm into the preceding convolution: fewer passes over memory, the same result."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from depth_perception.networks.up_projection import FastUnpoolConv

#: (height, width) of the random image used to trace which BatchNorm follows which convolution.
_SIZE = (64, 96)
#: Largest allowed difference of the outputs, relative to the largest output; rounding gives 1e-5.
_TOLERANCE = 1e-3

_Pairs = list[tuple[nn.Module, nn.BatchNorm2d]]


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in which each BatchNorm is merged into the convolution directly before it.

    Args:
        network: on the CPU, float32, in evaluation mode.

    Returns:
        The copy, or `network` itself if folding would change the output, for example because
        another layer also uses the convolution's output before its BatchNorm.
    """
    folded = copy.deepcopy(network)
    image = torch.rand(1, 3, *_SIZE, generator=torch.Generator().manual_seed(0))
    expected, pairs = _trace(folded, image)
    for convolution, norm in pairs:
        _fold(convolution, norm)
    _remove(folded, {norm for _, norm in pairs})
    difference = (folded(image) - expected).abs().max()
    return folded if difference <= _TOLERANCE * expected.abs().max() else network


def _trace(network: nn.Module, image: Tensor) -> tuple[Tensor, _Pairs]:
    """Return the output for an image, and each convolution with the BatchNorm that follows it."""
    # Keep the tensors alive: otherwise Python may reuse the id of a freed one.
    producers: dict[int, tuple[Tensor, nn.Module]] = {}
    pairs: _Pairs = []

    def record_output(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        producers[id(output)] = (output, module)

    def record_pair(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in producers and module.running_mean is not None:
            pairs.append((producers[id(inputs[0])][1], module))

    hooks = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, FastUnpoolConv)):
            hooks.append(module.register_forward_hook(record_output))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(record_pair))
    output = network(image)
    for hook in hooks:
        hook.remove()
    return output, pairs


def _fold(convolution: nn.Module, norm: nn.BatchNorm2d) -> None:
    # Each of the four convolutions of FastUnpoolConv writes every channel, a quarter of the pixels.
    layers = convolution.children() if isinstance(convolution, FastUnpoolConv) else (convolution,)
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        assert norm.running_mean is not None and norm.running_var is not None  # see `_trace`
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.weight,
            layer.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )


def _remove(network: nn.Module, norms: set[nn.BatchNorm2d]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in norms:
                # timm's BatchNorms include the activation.
                setattr(parent, name, getattr(child, 'act', nn.Identity()))
