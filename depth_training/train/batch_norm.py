# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation over the batch of all processes, or by frozen running statistics.

torch's SyncBatchNorm only runs on GPUs and does not know timm's norm-and-activation layers. This
one runs everywhere, so that tests can show that two processes train like one.

The statistics of a small batch vary, and with them the scale of depth. Normalising by them trains
the network with an error that it does not have at inference, so it cannot learn scale well
(measured in docs/notes/bundled_network.md). `freeze` avoids that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from depth_training.losses.masked import total


def normalise_across_processes(network: nn.Module) -> nn.Module:
    """Make every BatchNorm2d of a network use the statistics of all processes in training.

    Names and tensors are unchanged; only the layers' `forward` is replaced. Statistics are global
    inside `across_processes`, where every process must take part.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            setattr(layer, 'forward', partial(_forward, layer, layer.forward))  # noqa: B010
    return network


def freeze(network: nn.Module) -> None:
    """Make a network in training mode normalise by its running statistics and keep them.

    Weight and bias of the layers are still trained. `network.train()` undoes it.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.training = False


def _forward(
    layer: nn.BatchNorm2d, in_evaluation: Callable[[Tensor], Tensor], features: Tensor
) -> Tensor:
    if not layer.training:
        return in_evaluation(features)
    with torch.autocast(features.device.type, enabled=False):
        result = _normalise(layer, features.float()).to(features.dtype)
    # timm's BatchNormAct2d applies these two afterwards.
    for name in ('drop', 'act'):
        result = getattr(layer, name, nn.Identity())(result)
    return result


def _normalise(layer: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias; update the running statistics."""
    axes, shape = (0, 2, 3), (1, -1, 1, 1)
    count = total(features.new_tensor(features.numel() / features.shape[1]))
    mean = total(features.sum(axes)) / count
    centred = features - mean.view(shape)
    variance = total(centred.square().sum(axes)) / count
    _remember(layer, mean.detach(), variance.detach() * count / (count - 1).clamp_min(1))
    scale = layer.weight * (variance + layer.eps).rsqrt()
    return centred * scale.view(shape) + layer.bias.view(shape)


def _remember(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert layer.running_mean is not None and layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked += 1
    share = layer.momentum or 1 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean, share)
    layer.running_var.lerp_(variance, share)
