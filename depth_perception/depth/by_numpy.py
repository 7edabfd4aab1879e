# SPDX-License-Identifier: Apache-2.0
"""Passes over an image on a CPU: numpy makes them, whoever holds the pixels.

PyTorch shares a pass of 30 microseconds among threads. That takes longer than the pass, and where
other programs have the cores a thread waits milliseconds for the last of the others, at each pass.
numpy's stay in the thread that asks.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Function = TypeVar('Function', bound=Callable[..., Any])

#: Pixels of a band: a few arrays of so many floats stay in a core's own cache.
BAND = 2 ** 16


def by_numpy(function: Function) -> Function:
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
    return cast(Function, run)


def _is_on_cpu(image: Any) -> bool:
    return isinstance(image, Tensor) and image.device.type == 'cpu'


def _as_array(argument: Any) -> Any:
    return argument.numpy() if isinstance(argument, Tensor) else argument


def bands(height: int, width: int) -> Iterator[slice]:
    """The rows of an image, some at a time, for what takes several passes.

    Between two passes over a whole image its pixels leave the core's cache, and memory is slower
    than the arithmetic.
    """
    rows = max(1, BAND // width)
    return (slice(top, min(height, top + rows)) for top in range(0, height, rows))


def fill(image: NDArray[np.float32], where: NDArray[np.bool_], value: float) -> None:
    """Write the value into the image (H, W), whose rows are contiguous, where the bool says so.

    OpenCV takes the same time however many pixels that is, numpy 25 times as long for each second.
    """
    for rows in bands(*image.shape):
        values = _constant(rows.stop - rows.start, image.shape[1], value, image.dtype)
        cv2.copyTo(values, where[rows].view(np.uint8), image[rows])


@functools.lru_cache(maxsize=16)
def _constant(height: int, width: int, value: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.full((height, width), value, dtype)
