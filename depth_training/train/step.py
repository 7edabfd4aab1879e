# SPDX-License-Identifier: Apache-2.0
"""Network, loss and optimizer of a recipe, and what one training step does with them."""
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

#: Statistics are equal already, or each process's own; newer PyTorch has another name.
_BUFFERS = next(name for name in ('forward_sync_buffers', 'broadcast_buffers')
                if name in inspect.signature(DistributedDataParallel).parameters)


#: A last ReLU that gives 0 everywhere at the start, or a batch without any depth.
_DEAD = ('the first step has no gradient, so nothing can be learnt: the network gives 0 '
         'everywhere, or no picture of the batch has a depth within the range; try another --seed, '
         'or start the head of a network that ends in ReLU at the mean depth: '
         '--set network_arguments.head_bias=2.7')


class StepResult(NamedTuple):
    """What a step can tell: scalars on the device, so that nobody has to wait for them."""

    loss: Tensor
    gradient_norm: Tensor
    learning_rate: float


class Learner:
    """Learns from batches.

    Args:
        recipe: says how.
        network: of the recipe; is moved to the device.
        device: where.
        group: processes that learn together.
        precision: `auto` is bf16 on CUDA and fp32 on a CPU.
        loss: of prediction, target and mask.
        seed: of dropout.
        local_batch_norm: each process normalises over its own images.

    Attributes:
        problem: what makes training slower than it could be, or ''.
    """

    problem = ''

    def __init__(self, recipe: Recipe, network: nn.Module, loss: Loss, device: torch.device,
                 group: Processes, precision: Precision = 'auto', seed: int = 0,
                 local_batch_norm: bool = False) -> None:
        self.recipe, self.network, self.loss = recipe, network.to(device), loss
        self.device, self.group, self.seed = device, group, seed
        self.precision = mixed_precision.resolve(precision, device)
        if isinstance(loss, nn.Module):
            loss.to(device)
        self.optimizer = build.optimizer(recipe, network)
        # Before the network is changed for half precision and for several processes.
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
        """What the training is for: the network to judge and to save."""
        return self.network if self.average is None else self.average.network

    @property
    def averaged(self) -> nn.Module | None:
        """The average of the network; None where the recipe has none."""
        return None if self.average is None else self.average.network

    def learn(self, batch: Batch, place: Place) -> StepResult:
        """One step at a place of the run.

        Raises:
            ValueError: the first step has no gradient.
        """
        # Dropout differs by step and process, and needs no saved generator.
        torch.manual_seed(hash((self.seed, place.step, self.group.rank)))
        rate = self._set_learning_rate(place)
        self.model.train()
        if place.step >= self.recipe.freeze_batch_norm * place.steps:
            freeze(self.network)
        self.optimizer.zero_grad()
        image, depth = (part.to(self.device, non_blocking=True) for part in batch)
        loss = self.gradients(image, depth)
        norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self.recipe.clip_gradient or math.inf)
        if place.step == 0 and norm.item() == 0:
            raise ValueError(_DEAD)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, place.step + 1)
        return StepResult(loss.detach(), norm, rate)

    def gradients(self, image: Tensor, depth: Tensor) -> Tensor:
        """Fill the parameters' gradients, which are None before; the loss."""
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
