# SPDX-License-Identifier: Apache-2.0
"""A training step from packed views on a GPU, traced without one, up to the backward pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from depth_training.augment import batch
from depth_training.data.layouts.packed import write_pack
from depth_training.recipes import get_recipe
from depth_training.train import build, packed
from depth_training.train.distributed import Processes
from depth_training.train.step import Learner
from test.support.fake_gpu import copies, fake_gpu
from test.training.test_packed import view

RECIPE = dataclasses.replace(get_recipe('bundled_packed'), height=96, width=128, focal=104.0)


class Anywhere:
    """A generator of random numbers on a GPU, as far as `augment` looks at it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device


@pytest.fixture
def gpu(monkeypatch):
    for name in ('rand', 'randn'):
        drawn = getattr(torch, name)
        monkeypatch.setattr(
            batch.torch,
            name,
            lambda *size, drawn=drawn, generator, device: drawn(*size, device=device),
        )
    with fake_gpu(monkeypatch) as device:
        yield device


@pytest.fixture
def views(gpu, tmp_path: Path) -> packed.DeviceViews:
    with unset_fake_temporarily():
        write_pack(tmp_path / 'rooms.zip', [(view(n), 'train') for n in range(4)])
    return packed.DeviceViews(tmp_path / 'rooms.zip', 'train', gpu)


def test_a_graph_can_record_a_training_step(gpu, monkeypatch):
    with unset_fake_temporarily():
        network = build.network(RECIPE, 0)
    # The backward pass needs a device; it is that of PyTorch for the operations below.
    monkeypatch.setattr(torch.Tensor, 'backward', lambda loss: None)
    learner = Learner(RECIPE, network, build.loss(RECIPE), gpu, Processes(), 'bf16')
    learner.model.train()
    image = torch.zeros(4, 3, 96, 128, device=gpu)
    depth = torch.ones(4, 1, 96, 128, device=gpu)
    types = set()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda layer, given, found: types.add(found.dtype))
    learner.gradients(image, depth)
    assert types == {torch.bfloat16, torch.float32}  # the last layer computes in float32
    assert not copies(lambda: learner.gradients(image, depth))
    assert not copies(lambda: learner.average.update(network, 1))


def test_views_are_augmented_on_the_gpu_without_waiting(gpu, views):
    indices = torch.zeros(4, dtype=torch.long, device=gpu)

    def augmented():
        return batch.augment(views.batch(indices), (96, 128), 104.0, Anywhere(gpu))

    made = augmented()
    assert {made.rgb.device, made.depth.device, made.fx.device, made.cx.device} == {gpu}
    assert made.rgb.shape == (4, 3, 96, 128) and made.rgb.dtype == torch.float32
    assert copies(augmented) == []
