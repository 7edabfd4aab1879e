# SPDX-License-Identifier: Apache-2.0
"""A plain training loop for comparison, as in a tutorial.

One network in float32, one Adam for all parameters at a fixed rate, and the loss is read after each
step to be printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from depth_training.losses.losses import Loss
from depth_training.recipes.schedule import Place
from depth_training.train.step import Learner
from depth_training.train.training_data import Batch


class PlainLoop:
    """Forward, loss, backward, optimizer.

    Args:
        network: network on its device.
        loss: loss of prediction, target and mask.
    """

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        self._network, self._loss = network.train(), loss
        self._optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step(self, image: Tensor, depth: Tensor) -> float:
        """Train one step; return the loss."""
        self._optimizer.zero_grad()
        loss = self._loss(self._network(image), depth, depth > 0)
        loss.backward()
        self._optimizer.step()
        return loss.item()


def ratio(learner: Learner, plain: PlainLoop, batch: Batch, steps: int) -> float:
    """Return the speed-up of our step over the plain one; medians of alternating steps."""
    ours = _timed(lambda step: learner.learn(batch, Place(step, steps + 1)).loss.item())
    plainly = _timed(lambda step: plain.step(*batch))
    seconds = np.array([(ours(step), plainly(step)) for step in range(steps + 1)])
    ours_median, plain_median = np.median(seconds[1:], axis=0)  # the first steps allocate memory
    return float(plain_median / ours_median)


def _timed(run: Callable[[int], object]) -> Callable[[int], float]:
    """Return a function that times a call; its result is on the host, so a GPU has finished."""

    def call(step: int) -> float:
        start = time.perf_counter()
        run(step)
        return time.perf_counter() - start

    return call
