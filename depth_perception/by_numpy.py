# SPDX-License-Identifier: Apache-2.0
"""Passes over an image on a CPU: numpy makes them, whoever holds the pixels.

PyTorch shares a pass of 30 microseconds among threads. That takes longer than the pass, and where
other programs have the cores a thread waits milliseconds for the last of the others, at each pass.
numpy's stay in the thread that asks.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def by_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numpy arrays or tensors, which takes tensors on a CPU for arrays.

    Args:
        function: takes an image first and returns an array of the same kind; written for either.
    """
    @functools.wraps(function)
    def run(image: Any, *arguments: Any, **more: Any) -> Any:
        if not _is_on_cpu(image):
            return function(image, *arguments, **more)
        arrays = (_as_array(argument) for argument in arguments)
        named = {name: _as_array(argument) for name, argument in more.items()}
        return torch.as_tensor(function(image.numpy(), *arrays, **named))
    return run


def _is_on_cpu(image: Any) -> bool:
    return isinstance(image, Tensor) and image.device.type == 'cpu'


def _as_array(argument: Any) -> Any:
    return argument.numpy() if isinstance(argument, Tensor) else argument
