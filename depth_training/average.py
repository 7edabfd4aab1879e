# SPDX-License-Identifier: Apache-2.0
"""The moving average of a network: what is judged, saved and shipped in place of the last step."""
from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """Exponential moving average of weights and batch-norm statistics (Polyak averaging).

    After step n, counted from 1: average <- d average + (1 - d) network with
    d = min(decay, (1 + n) / (10 + n)), so that the start is soon forgotten (as TensorFlow's
    ExponentialMovingAverage does). The decay depends on the step alone: the tensors of `network`
    are all there is to save.

    Attributes:
        network: the average, in evaluation mode; belongs into the checkpoint.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network as it is after step `step`, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averages, tensors = [], []
        theirs = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                tensors.append(theirs[name])
            else:  # a counter of batches
                average.copy_(theirs[name])
        torch._foreach_lerp_(averages, tensors, 1 - decay)  # one launch on a GPU, not hundreds
