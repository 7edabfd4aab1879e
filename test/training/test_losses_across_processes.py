# SPDX-License-Identifier: Apache-2.0
"""Two processes with half a batch each get the loss and gradient of one with the whole batch.

Threads play the processes, and a barrier the network: the arithmetic is what is tested.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from depth_training.losses import losses


class Meeting:
    """Replace `torch.distributed.all_reduce` for two threads."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=30)
        self.parts: dict[int, Tensor] = {}

    def all_reduce(self, tensor: Tensor, op: object = torch.distributed.ReduceOp.SUM) -> None:
        self.parts[threading.get_ident()] = tensor.clone()
        self.barrier.wait()
        both = torch.stack(list(self.parts.values()))
        self.barrier.wait()
        self.parts.pop(threading.get_ident())
        self.barrier.wait()
        tensor.copy_(both.amax(0) if op == torch.distributed.ReduceOp.MAX else both.sum(0))


def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    pred, target = (torch.rand(4, 1, 14, 14, generator=generator) * 5 + 0.5 for _ in range(2))
    valid = torch.ones_like(pred, dtype=torch.bool)
    valid[0, 0, :, 3:] = False  # the halves have very different numbers of valid pixels
    valid[1, 0, :2] = False
    return pred, target, valid


def total(scale: Tensor, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """All losses of a one-parameter network."""
    scaled = pred * scale
    terms = (losses.berhu, losses.silog, losses.densedepth, losses.mse)
    return sum(term(scaled, target, valid) for term in terms)


def half(rank: int) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of one of two processes."""
    pred, target, valid = (tensor[2 * rank : 2 * rank + 2] for tensor in batch())
    scale = torch.ones((), requires_grad=True)
    with losses.across_processes():
        loss = total(scale, pred, target, valid)
        loss.backward()
    return loss.detach(), scale.grad


def test_two_processes_equal_one(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'all_reduce', Meeting().all_reduce)
    with ThreadPoolExecutor(2) as pool:
        (loss_0, gradient_0), (loss_1, gradient_1) = pool.map(half, (0, 1))
    scale = torch.ones((), requires_grad=True)
    loss = total(scale, *batch())
    loss.backward()
    torch.testing.assert_close(loss_0, loss.detach())
    torch.testing.assert_close(loss_1, loss.detach())
    # DistributedDataParallel averages.
    torch.testing.assert_close((gradient_0 + gradient_1) / 2, scale.grad)
