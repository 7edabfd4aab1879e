# SPDX-License-Identifier: Apache-2.0
"""Run element-wise CPU image operations in NumPy, also for torch tensors.

PyTorch splits an operation of 30 microseconds among threads. That takes longer than the operation
itself, and if other programs use the cores, each operation waits milliseconds for the last thread.
NumPy stays in the calling thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import is_tensor

Function = TypeVar('Function', bound=Callable[..., Any])

#: Pixels of a band: a few float arrays of this size fit into the cache of a core.
BAND = 2**16


def by_numpy(function: Function) -> Function:
    """Decorate a function of NumPy arrays or tensors to process tensors on a CPU as arrays.

    Args:
        function: takes an image as its first argument and returns an array of the same kind;
            works for both kinds.
    """

    @functools.wraps(function)
    def run(image: Any, *arguments: Any, **more: Any) -> Any:
        if not _is_on_cpu(image):
            return function(image, *arguments, **more)
        import torch

        arrays = (_as_array(argument) for argument in arguments)
        named = {name: _as_array(argument) for name, argument in more.items()}
        return torch.as_tensor(function(image.numpy(), *arrays, **named))

    return cast(Function, run)


def _is_on_cpu(image: Any) -> bool:
    return is_tensor(image) and image.device.type == 'cpu'


def _as_array(argument: Any) -> Any:
    return argument.numpy() if is_tensor(argument) else argument


def bands(height: int, width: int) -> Iterator[slice]:
    """Split the rows of an image into bands, for computations that need several passes.

    Between two passes over a whole image its pixels would leave the cache, and memory is slower
    than the arithmetic.
    """
    rows = max(1, BAND // width)
    return (slice(top, min(height, top + rows)) for top in range(0, height, rows))


def fill(image: NDArray[np.float32], where: NDArray[np.bool_], value: float) -> None:
    """Write a value into the pixels of an image (H, W) with contiguous rows where `where` is True.

    OpenCV takes the same time for any number of pixels; NumPy takes 25 times as long if half of the
    pixels are True.
    """
    for rows in bands(*image.shape):
        values = _constant(rows.stop - rows.start, image.shape[1], value, image.dtype)
        cv2.copyTo(values, where[rows].view(np.uint8), image[rows])


@functools.lru_cache(maxsize=16)
def _constant(height: int, width: int, value: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.full((height, width), value, dtype)
