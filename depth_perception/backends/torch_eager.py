# SPDX-License-Identifier: Apache-2.0
"""The network as PyTorch runs it, without compilation: ready in seconds, on any device."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from depth_perception.networks.batch_norm_folding import fold_batch_norms

_TYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


class TorchEager:
    """channels_last on every device; on CUDA half precision, where it is asked for, and BatchNorms
    folded into the convolutions.

    A CPU always computes in float32: half precision is slower there, not faster.
    """

    name = 'torch'
    problem = ''

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.device = device
        self.precision = precision if device.type == 'cuda' else 'fp32'
        self.dtype = _TYPES[self.precision]
        if device.type == 'cuda':
            network = fold_batch_norms(network)
        self.network = network.to(
            device=device, dtype=self.dtype, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""
        image = image.to(dtype=self.dtype, memory_format=torch.channels_last)
        return self.network(image).float()
