# SPDX-License-Identifier: Apache-2.0
"""Run the network with PyTorch, without compilation: ready in seconds, on any device."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.depth.arrays import is_tensor
from depth_perception.inference.device import Device
from depth_perception.networks.batch_norm_folding import fold_batch_norms

_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
#: File in which Linux lists the processor's instructions.
_CPU_INFO = Path('/proc/cpuinfo')


class TorchEager:
    """PyTorch in channels_last layout, with BatchNorms folded for CUDA and half precision.

    Args:
        network: the network, on the CPU.
        device: device to run on.
        precision: on CUDA `fp16`, `bf16` or `fp32`. A CPU computes in bfloat16 for both half
            precisions if it has instructions for it, otherwise in float32, which is faster there.
    """

    name = 'torch'
    problem = ''
    uncompiled = 'PyTorch runs it, which compiles nothing ahead of time'
    _has_confidence = False

    def __init__(self, network: nn.Module, device: Device, precision: str) -> None:
        self.device = device
        self.precision = precision
        if device.type != 'cuda' and precision != 'fp32':
            self.precision = 'bf16' if has_bfloat16() else 'fp32'
        self.dtype = _TYPES[self.precision]
        is_ours = getattr(network, 'takes_any_size', True)  # folding shows it a picture
        if is_ours and (device.type == 'cuda' or self.precision != 'fp32'):
            network = fold_batch_norms(network)
        self.network = network.to(str(device), self.dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, image: Any) -> Any:
        """Compute the raw output (1, 1, h, w) float32 of a normalised (1, 3, H, W) float32."""
        if not is_tensor(image):
            found = self.run(torch.from_numpy(image))
            return tuple(part.numpy() for part in found) if self._has_confidence else found.numpy()
        image = image.to(dtype=self.dtype, memory_format=torch.channels_last)
        if self._has_confidence:
            return tuple(part.float() for part in self.network.with_uncertainty(image))  # type: ignore[operator]
        output: Tensor = self.network(image)
        return output.float()

    def with_confidence(self) -> TorchEager:
        """Return a backend of the same network that also gives the scale of its error."""
        other = copy.copy(self)
        other._has_confidence = True
        return other

    def begin(self, size: tuple[int, int], what: str) -> bool:
        """Return True: any size is ready."""
        return True

    def kept(self, size: tuple[int, int]) -> None:
        """Return None: nothing is compiled."""

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """Return the size unchanged: any size is ready."""
        return size

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Do nothing: any size is ready."""


def has_bfloat16() -> bool:
    """Return whether this x86 processor has bfloat16 instructions; False if that is unknown.

    PyTorch has no public function for this.
    """
    try:
        known = _CPU_INFO.read_text(encoding='ascii', errors='replace').split()
    except OSError:
        return False
    return 'avx512_bf16' in known or 'amx_bf16' in known
