# SPDX-License-Identifier: Apache-2.0
"""The network as PyTorch runs it, without compilation: ready in seconds, on any device."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_perception.networks.batch_norm_folding import fold_batch_norms

_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
#: Where Linux lists a processor's instructions.
_CPU_INFO = Path('/proc/cpuinfo')


class TorchEager:
    """channels_last on every device; half precision, where it is asked for and faster, with the
    BatchNorms folded into the convolutions.

    Args:
        network: on the CPU.
        device: where it shall run.
        precision: `fp16` and `bf16` are what they say on CUDA; a CPU computes in bfloat16 for both
            where it has instructions for it, otherwise in float32: there half precision is slower.
    """

    name = 'torch'
    problem = ''

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision
        if device.type != 'cuda' and precision != 'fp32':
            self.precision = 'bf16' if has_bfloat16() else 'fp32'
        self.dtype = _TYPES[self.precision]
        is_ours = getattr(network, 'takes_any_size', True)  # folding shows it a picture
        if is_ours and (device.type == 'cuda' or self.precision != 'fp32'):
            network = fold_batch_norms(network)
        self.network = network.to(device, self.dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""
        image = image.to(dtype=self.dtype, memory_format=torch.channels_last)
        output: Tensor = self.network(image)
        return output.float()

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """Any size is ready."""
        return size

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Nothing is to be done."""


def has_bfloat16() -> bool:
    """Whether this x86 processor multiplies in bfloat16; False where the system does not tell.

    PyTorch has no public way to ask.
    """
    try:
        known = _CPU_INFO.read_text(encoding='ascii', errors='replace').split()
    except OSError:
        return False
    return 'avx512_bf16' in known or 'amx_bf16' in known
