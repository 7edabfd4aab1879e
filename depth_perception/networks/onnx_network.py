# SPDX-License-Identifier: Apache-2.0
"""A network stored as an ONNX file, which OpenVINO or onnxruntime runs, but not PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depth_perception.networks.registry import register_network


class OnnxNetwork(nn.Module):
    """Hold the bytes of an ONNX file as the only tensor.

    Args:
        size: size of the file, bytes.
        input_name: name of the input, an image (1, 3, H, W), float32.
        output_name: name of the output, depth (1, 1, h, w) or (1, h, w), float32.
    """

    #: PyTorch can neither trace it nor capture it in a CUDA graph.
    traceable = False
    takes_any_size = False
    content: Tensor

    def __init__(self, size: int, input_name: str, output_name: str) -> None:
        super().__init__()
        self.input_name, self.output_name = input_name, output_name
        self.register_buffer('content', torch.zeros(size, dtype=torch.uint8))

    def model(self) -> bytes:
        """Return the bytes of the ONNX file."""
        return self.content.numpy().tobytes()

    def forward(self, image: Tensor) -> Tensor:
        """Raise an error, because PyTorch cannot run an ONNX file."""
        raise RuntimeError('an ONNX network is run by OpenVINO or onnxruntime, not by PyTorch')


@register_network('onnx', imported=True)
def onnx_network(size: int, input_name: str, output_name: str) -> nn.Module:
    """Return a network that holds an ONNX file of this many bytes."""
    if not isinstance(size, int) or not 0 < size < 1 << 31:
        raise ValueError(f'an ONNX file has 1 byte to 2 GB, not {size}')
    return OnnxNetwork(size, input_name, output_name)
