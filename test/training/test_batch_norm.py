# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation with frozen statistics."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import nn

from depth_perception.networks import create_network
from depth_training.recipes.schedule import Place
from depth_training.train import build
from depth_training.train.distributed import Processes
from depth_training.train.step import Learner
from depth_training.train.training_data import Batch
from test.support.tiny_training import TINY


def statistics(network: nn.Module) -> torch.Tensor:
    return torch.cat(
        [
            layer.running_mean.clone()
            for layer in network.modules()
            if isinstance(layer, nn.BatchNorm2d)
        ]
    )


def freezing_after(share: float) -> tuple[nn.Module, Learner, Batch]:
    recipe = replace(TINY, freeze_batch_norm=share)
    network = create_network(TINY.network, **TINY.network_arguments)
    learner = Learner(recipe, network, build.loss(recipe), torch.device('cpu'), Processes(), 'fp32')
    return network, learner, Batch(torch.randn(2, 3, 48, 64), torch.rand(2, 1, 48, 64) + 1)


def test_statistics_follow_the_batches_until_the_share_of_the_run_and_weights_to_its_end():
    network, learner, batch = freezing_after(0.5)
    seen, learnt = [statistics(network)], []
    for step in range(4):
        learner.learn(batch, Place(step, 4))
        seen.append(statistics(network))
        learnt.append(next(network.parameters()).clone())
    moved = [not torch.equal(old, new) for old, new in pairwise(seen)]
    assert moved == [True, True, False, False]
    assert not any(torch.equal(old, new) for old, new in pairwise(learnt))


def test_a_frozen_network_computes_in_training_what_it_computes_in_use():
    network, learner, batch = freezing_after(0.0)
    with torch.no_grad():
        used = learner.loss(network.eval()(batch.image), batch.depth, batch.depth > 0)
    trained = learner.learn(batch, Place(0, 4)).loss
    torch.testing.assert_close(trained, used)
