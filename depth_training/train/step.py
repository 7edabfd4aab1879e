# SPDX-License-Identifier: Apache-2.0
"""Network, loss and optimizer of a recipe, and one training step with them."""

from __future__ import annotations

import inspect
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from depth_training.losses.losses import Loss
from depth_training.recipes import Recipe
from depth_training.recipes.schedule import Place
from depth_training.train import build, mixed_precision
from depth_training.train.batch_norm import freeze, normalise_across_processes
from depth_training.train.distributed import Processes
from depth_training.train.ema import MovingAverage
from depth_training.train.mixed_precision import Precision
from depth_training.train.training_data import Batch

#: Buffers are equal already, or intended to differ; newer PyTorch has another name for this option.
_BUFFERS = next(
    name
    for name in ('forward_sync_buffers', 'broadcast_buffers')
    if name in inspect.signature(DistributedDataParallel).parameters
)


#: Causes: the final ReLU gives 0 everywhere at the start, or the batch has no depth.
_DEAD = (
    'the first step has no gradient, so nothing can be learnt: the network gives 0 '
    'everywhere, or no picture of the batch has a depth within the range; try another --seed, '
    'or start the head of a network that ends in ReLU at the mean depth: '
    '--set network_arguments.head_bias=2.7'
)


class StepResult(NamedTuple):
    """Result of a step: scalars on the device, so reading them can be deferred."""

    loss: Tensor
    gradient_norm: Tensor
    learning_rate: float


class Learner:
    """Train a network on batches.

    Args:
        recipe: settings of the training.
        network: network of the recipe; it is moved to the device.
        loss: loss of prediction, target and mask.
        device: device to train on.
        group: processes that train together.
        precision: `auto` is bf16 on CUDA and fp32 on a CPU.
        seed: seed of dropout.
        local_batch_norm: normalise over each process's own images.

    Attributes:
        problem: what makes training slower than necessary, or ''.
        frozen: whether batch normalisation uses its running statistics in this step.
    """

    problem = ''
    frozen = False

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        loss: Loss,
        device: torch.device,
        group: Processes,
        precision: Precision = 'auto',
        seed: int = 0,
        local_batch_norm: bool = False,
    ) -> None:
        self.recipe, self.network, self.loss = recipe, network.to(device), loss
        self.device, self.group, self.seed = device, group, seed
        self.precision = mixed_precision.resolve(precision, device)
        if isinstance(loss, nn.Module):
            loss.to(device)
        self.optimizer = build.optimizer(recipe, network)
        # Copied before the network is changed for half precision and several processes.
        self.average = None if recipe.average is None else MovingAverage(network, recipe.average)
        mixed_precision.prepare(network, self.precision, device)
        self.model: nn.Module = network
        if group.count > 1:
            if not local_batch_norm:
                normalise_across_processes(network)
            buffers: dict[str, Any] = {_BUFFERS: False}
            self.model = DistributedDataParallel(network, **buffers)

    @property
    def result(self) -> nn.Module:
        """Return the network to evaluate and save."""
        return self.network if self.average is None else self.average.network

    @property
    def averaged(self) -> nn.Module | None:
        """The average of the network, or None if the recipe has none."""
        return None if self.average is None else self.average.network

    def learn(self, batch: Batch, place: Place) -> StepResult:
        """Train one step at a position in the run.

        Raises:
            ValueError: the first step has no gradient.
        """
        # Dropout depends on step and process only, so no generator needs to be saved.
        torch.manual_seed(hash((self.seed, place.step, self.group.rank)))
        rate = self._set_learning_rate(place)
        self.set_mode(place)
        self.optimizer.zero_grad()
        image, depth = (part.to(self.device, non_blocking=True) for part in batch)
        loss = self.gradients(image, depth)
        norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self.recipe.clip_gradient or math.inf
        )
        if place.step == 0 and norm.item() == 0:
            raise ValueError(_DEAD)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, place.step + 1)
        return StepResult(loss.detach(), norm, rate)

    def set_mode(self, place: Place) -> None:
        """Put the network into training mode, with the batch normalisation of this position."""
        self.model.train()
        self.frozen = place.step >= self.recipe.freeze_batch_norm * place.steps
        if self.frozen:
            freeze(self.network)

    def gradients(self, image: Tensor, depth: Tensor) -> Tensor:
        """Compute the parameters' gradients, which are None before; return the loss."""
        half = self.precision == 'bf16'
        with self.group.global_sums():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                prediction = self.model(mixed_precision.arranged(image, self.precision))
            loss = self.loss(prediction, depth, build.to_learn(self.recipe, depth))
            loss.backward()
        return loss

    def _set_learning_rate(self, place: Place) -> float:
        rate = self.recipe.learning_rate * self.recipe.schedule.factor(place)
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['factor']
        return rate
