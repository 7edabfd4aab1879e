# SPDX-License-Identifier: Apache-2.0
"""Sums over valid pixels in full precision, optionally over all processes."""

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
    """Let sums and maxima in this context run over all processes of `torch.distributed`.

    Every process must take part. The loss is then the same number in all processes, and the
    gradients averaged by DistributedDataParallel equal those of one process with the whole batch,
    even if valid pixels are unevenly distributed.
    """
    token = _ACROSS.set(True)
    try:
        yield
    finally:
        _ACROSS.reset(token)


def in_full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run a loss without autocast; half precision becomes float32, float64 stays."""

    @functools.wraps(function)
    def wrapper(pred: Tensor, target: Tensor, valid: Tensor, **arguments: Any) -> Tensor:
        with torch.autocast(pred.device.type, enabled=False):
            return function(_at_least_float32(pred), _at_least_float32(target), valid, **arguments)

    return wrapper


def mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of values (0 where invalid) per valid pixel; 0 without valid pixels."""
    return total(values.sum()) / count(valid, values)


def count(valid: Tensor, like: Tensor) -> Tensor:
    """Return the number of valid pixels, at least 1, in the type of `like`."""
    return total(valid.sum().to(like.dtype)).clamp_min(1)


def total(value: Tensor) -> Tensor:
    """Return the value, or its differentiable sum over processes inside `across_processes`."""
    return _AllSum.apply(value) if _ACROSS.get() else value


def maximum(values: Tensor) -> Tensor:
    """Return the largest value of the whole batch; not differentiable across processes."""
    largest = values.amax()
    if _ACROSS.get():
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    return largest


class _AllSum(torch.autograd.Function):
    """Sum over processes; the gradient is summed too, since DDP divides by their number."""

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
