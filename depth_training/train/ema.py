# SPDX-License-Identifier: Apache-2.0
"""The moving average of a network, which is evaluated, saved and shipped."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of weights and batch-norm statistics (Polyak averaging).

    After step n, counted from 1: average <- d average + (1 - d) network with
    d = min(decay, (1 + n) / (10 + n)), so that the start is soon forgotten (as in TensorFlow's
    ExponentialMovingAverage). The decay depends on the step alone, so only the tensors of `network`
    need to be saved.

    Attributes:
        network: the average, in evaluation mode; part of the checkpoint.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the network after step `step`, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        if self._pairs is None:
            self._pairs = _floats(self.network), _floats(network)
        torch._foreach_lerp_(*self._pairs, 1 - decay)  # one kernel launch, not hundreds
        for average, counter in zip(_counters(self.network), _counters(network)):
            average.copy_(counter)


def _floats(network: nn.Module) -> list[Tensor]:
    """Return the averaged tensors; loading a state dict changes them in place."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def _counters(network: nn.Module) -> list[Tensor]:
    """Return the batch counters."""
    return [buffer for buffer in network.buffers() if not buffer.is_floating_point()]
