# SPDX-License-Identifier: Apache-2.0
"""Sums over valid pixels, in full precision and, where asked for, over all processes."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_ACROSS: ContextVar[bool] = ContextVar('masked_across_processes', default=False)


@contextmanager
def across_processes() -> Iterator[None]:
    """Inside, sums and maxima run over all processes of `torch.distributed`.

    Every process must take part. The loss is then the same number everywhere, and the gradients
    that DistributedDataParallel averages are those of one process with the whole batch, however
    unevenly valid pixels are spread.
    """
    token = _ACROSS.set(True)
    try:
        yield
    finally:
        _ACROSS.reset(token)


def in_full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run a loss without autocast, half-precision tensors as float32; float64 stays."""

    @functools.wraps(function)
    def wrapper(pred: Tensor, target: Tensor, valid: Tensor, **arguments: Any) -> Tensor:
        with torch.autocast(pred.device.type, enabled=False):
            return function(
                _at_least_float32(pred), _at_least_float32(target), valid, **arguments)

    return wrapper


def mean(values: Tensor, valid: Tensor) -> Tensor:
    """Sum of values (0 where invalid) per valid pixel; 0 where there is none."""
    return total(values.sum()) / count(valid, values)


def count(valid: Tensor, like: Tensor) -> Tensor:
    """Number of valid pixels, at least 1, in the type of `like`."""
    return total(valid.sum().to(like.dtype)).clamp_min(1)


def total(value: Tensor) -> Tensor:
    """The value, or inside `across_processes` its differentiable sum over them."""
    return _AllSum.apply(value) if _ACROSS.get() else value


def maximum(values: Tensor) -> Tensor:
    """Largest value of the whole batch; not differentiable across processes."""
    largest = values.amax()
    if _ACROSS.get():
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return largest


class _AllSum(torch.autograd.Function):
    """Sum over processes; its gradient is summed as well, for DDP divides by their number."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        torch.distributed.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        torch.distributed.all_reduce(gradient)
        return gradient


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
