# SPDX-License-Identifier: Apache-2.0
"""Tell NumPy arrays from torch tensors without importing PyTorch.

Importing PyTorch takes a second and some hundred megabytes, and depth on a CPU does not need it. A
tensor can exist only if PyTorch has already been imported.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs


def is_tensor(value: object) -> TypeIs[Tensor]:
    """Return whether a value is a torch tensor.

    Examples:
        >>> import numpy as np
        >>> from depth_perception.depth.arrays import is_tensor
        >>> is_tensor(np.zeros(3))
        False
    """
    torch = sys.modules.get('torch')
    # While another thread imports PyTorch, it is listed but does not have its names yet.
    kind = getattr(torch, 'Tensor', None)
    return kind is not None and isinstance(value, kind)


def namespace(array: object) -> Any:
    """Return the module with the functions of an array: `numpy` or `torch`."""
    return sys.modules['torch'] if is_tensor(array) else np


def place_of(array: object) -> Any:
    """Return the device of a tensor, 'numpy' for a NumPy array."""
    return array.device if is_tensor(array) else 'numpy'


def on_host(array: Any) -> NDArray[Any]:
    """Return an array as a NumPy array; wait for the device that has it."""
    return array.cpu().numpy() if is_tensor(array) else np.asarray(array)


def like(array: Any, other: Any) -> Any:
    """Convert an array to the kind of another: a NumPy array, or a tensor on its device."""
    if not is_tensor(other):
        return on_host(array)
    import torch

    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()  # torch warns about read-only arrays, for example of `bytes`
    return torch.as_tensor(array).to(other.device)


def on_device(array: NDArray[Any], device: Any) -> Any:
    """Return a NumPy array as a tensor on a device; unchanged for the device 'numpy'."""
    if device == 'numpy':
        return array
    import torch

    return torch.from_numpy(array).to(device)
