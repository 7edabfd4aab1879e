# SPDX-License-Identifier: Apache-2.0
"""Copy images to the device and results to the host through reused buffers.

A GPU copies from and to pinned memory asynchronously. Pinning takes far longer than a copy, so the
buffers are reused. Buffers are not thread-safe: each user has its own. On a CPU nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.arrays import is_tensor, on_host
from depth_perception.inference.device import Device

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Upload:
    """Copy images to a device.

    Args:
        device: the target device.
        staged: whether to use a pinned buffer; None means only for CUDA.
    """

    def __init__(self, device: Device, staged: bool | None = None) -> None:
        self._device = device
        self._staged = device.type == 'cuda' if staged is None else staged
        self._buffer: Tensor | None = None
        self._sent: torch.cuda.Event | None = None

    def __call__(self, image: NDArray[np.uint8] | Tensor) -> Any:
        """Return an image, uint8 (H, W, 3), on the device; on a CPU, a contiguous array.

        A tensor is returned unchanged.
        """
        if is_tensor(image):
            return image
        if not self._staged:
            return np.ascontiguousarray(image)
        import torch

        buffer = self._free_buffer(image.shape)
        np.copyto(buffer.numpy(), image)
        sent = torch.empty(image.shape, dtype=torch.uint8, device=str(self._device))
        sent.copy_(buffer, non_blocking=True)
        self._mark_sent()
        return sent

    def _free_buffer(self, shape: tuple[int, ...]) -> Tensor:
        """Return a buffer that the device has finished reading."""
        import torch

        if self._sent is not None:
            self._sent.synchronize()
        if self._buffer is None or self._buffer.shape != shape:
            self._buffer = _host_buffer(shape, torch.uint8, self._device)
        return self._buffer

    def _mark_sent(self) -> None:
        if self._device.type == 'cuda':
            import torch

            self._sent = self._sent or torch.cuda.Event()
            self._sent.record(torch.cuda.current_stream(str(self._device)))


class Download:
    """Copy several tensors to the host at once; NumPy arrays are there already.

    Args:
        device: the source device.
        staged: whether to use pinned buffers; None means only for CUDA.
    """

    def __init__(self, device: Device, staged: bool | None = None) -> None:
        self._device = device
        self._staged = device.type == 'cuda' if staged is None else staged
        self._buffers: dict[str, Tensor] = {}

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the tensors as arrays, after one wait for all of them.

        The arrays may be buffers that the next call overwrites, or share the tensors' memory.
        """
        if not self._staged:
            return {name: on_host(tensor) for name, tensor in tensors.items()}
        buffers = {name: self._copied(name, tensor) for name, tensor in tensors.items()}
        if self._device.type == 'cuda':
            import torch

            torch.cuda.current_stream(str(self._device)).synchronize()
        return {name: buffer.numpy() for name, buffer in buffers.items()}

    def _copied(self, name: str, tensor: Tensor) -> Tensor:
        """Start the copy of a tensor to the buffer of this name, and return the buffer."""
        buffer = self._buffers.get(name)
        if buffer is None or (buffer.shape, buffer.dtype) != (tensor.shape, tensor.dtype):
            buffer = self._buffers[name] = _host_buffer(tensor.shape, tensor.dtype, self._device)
        return buffer.copy_(tensor.contiguous(), non_blocking=True)


def _host_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: Device) -> Tensor:
    import torch

    return torch.empty(shape, dtype=dtype, pin_memory=device.type == 'cuda')
