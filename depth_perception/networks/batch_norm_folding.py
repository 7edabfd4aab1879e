# SPDX-License-Identifier: Apache-2.0
"""BatchNorm as a part of the convolution before it: fewer passes over memory, the same result."""
from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from depth_perception.networks.up_projection import FastUnpoolConv

#: (height, width) of the image that shows which BatchNorm follows which convolution.
_SIZE = (64, 96)
#: Largest difference of the two outputs over the largest output: rounding gives 1e-5.
_TOLERANCE = 1e-3

_Pairs = list[tuple[nn.Module, nn.BatchNorm2d]]


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy whose convolutions do the work of the BatchNorms that directly follow them.

    Args:
        network: on the CPU, float32, ready for inference.

    Returns:
        The copy; the network itself where folding would change its output, as where a
        convolution's output goes past its BatchNorm too.
    """
    folded = copy.deepcopy(network)
    image = torch.rand(1, 3, *_SIZE, generator=torch.Generator().manual_seed(0))
    expected, pairs = _followed(folded, image)
    for maker, norm in pairs:
        _fold(maker, norm)
    _remove(folded, {norm for _, norm in pairs})
    difference = (folded(image) - expected).abs().max()
    return folded if difference <= _TOLERANCE * expected.abs().max() else network


def _followed(network: nn.Module, image: Tensor) -> tuple[Tensor, _Pairs]:
    """The output for an image, and each convolution whose output a BatchNorm takes."""
    # The tensors are kept, so that no other gets the identity of one that is gone.
    makers: dict[int, tuple[Tensor, nn.Module]] = {}
    pairs: _Pairs = []

    def made(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        makers[id(output)] = (output, module)

    def taken(module: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in makers and module.running_mean is not None:
            pairs.append((makers[id(inputs[0])][1], module))

    hooks = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, FastUnpoolConv)):
            hooks.append(module.register_forward_hook(made))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(taken))
    output = network(image)
    for hook in hooks:
        hook.remove()
    return output, pairs


def _fold(maker: nn.Module, norm: nn.BatchNorm2d) -> None:
    # The four convolutions of an unpooling make every fourth pixel of each of its channels.
    for layer in maker.children() if isinstance(maker, FastUnpoolConv) else (maker,):
        assert isinstance(layer, nn.Conv2d)
        assert norm.running_mean is not None and norm.running_var is not None  # see `_followed`
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight,
            norm.bias)


def _remove(network: nn.Module, norms: set[nn.BatchNorm2d]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in norms:
                # timm's BatchNorms bring the activation along.
                setattr(parent, name, getattr(child, 'act', nn.Identity()))
