# SPDX-License-Identifier: Apache-2.0
"""The network as PyTorch runs it, without compilation: ready in seconds, on any device."""
from __future__ import annotations

import torch
from torch import Tensor, nn


class TorchEager:
    """channels_last on every device; half precision on CUDA, where it is asked for.

    A CPU always computes in float32: half precision is slower there, not faster.
    """

    name = 'torch'

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision if device.type == 'cuda' else 'fp32'
        self._dtype = torch.float16 if self.precision == 'fp16' else torch.float32
        self._network = network.to(
            device=device, dtype=self._dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""
        image = image.to(dtype=self._dtype, memory_format=torch.channels_last)
        return self._network(image).float()
