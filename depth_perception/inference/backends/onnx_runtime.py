# SPDX-License-Identifier: Apache-2.0
"""A network from an ONNX file as onnxruntime runs it: by TensorRT or CUDA, or on a CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_perception.depth.arrays import like, on_host
from depth_perception.inference.backends import openvino_cache
from depth_perception.inference.backends.names import BackendError
from depth_perception.inference.device import Device
from depth_perception.networks.onnx_network import OnnxNetwork

Size = tuple[int, int]


class OnnxRuntime:
    """Takes any size that the network takes.

    Args:
        network: from an ONNX file.
        device: where it shall run.
        precision: half precision (`fp16`, `bf16`) is TensorRT's alone, as fp16; others compute in
            float32.

    Raises:
        BackendError: this onnxruntime cannot use the device, or not run the network.
        ImportError: onnxruntime is not installed.
    """

    name = 'onnxruntime'
    problem = ''

    def __init__(self, network: OnnxNetwork, device: Device, precision: str) -> None:
        import onnxruntime

        self.device = device
        self._output = network.output_name
        self._input = network.input_name
        half = precision != 'fp32'
        providers = _providers(onnxruntime.get_available_providers(), device, half)
        try:
            self._session = onnxruntime.InferenceSession(network.model(), providers=providers)
        except Exception as error:  # onnxruntime has many ways to say no
            raise BackendError(f'onnxruntime cannot run this network: {error}') from error
        used = self._session.get_providers()
        if device.type == 'cuda' and 'CUDAExecutionProvider' not in used:
            raise BackendError(
                f'onnxruntime cannot use {device}: it lacks libraries of CUDA or '
                'cuDNN; set device to cpu, or install them'
            )
        self.precision = 'fp16' if half and 'TensorrtExecutionProvider' in used else 'fp32'

    def run(self, image: Any) -> Any:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""
        values = np.ascontiguousarray(on_host(image))
        output = self._session.run([self._output], {self._input: values})[0]
        return like(as_map(torch.from_numpy(output)), image)

    def size_for(self, size: Size, what: str) -> Size:
        """Any size is ready."""
        return size

    def prepare(self, sizes: Iterable[tuple[Size, str]]) -> None:
        """Build what TensorRT needs for these sizes; it is kept on disk."""
        for (height, width), _ in sizes:
            self.run(torch.zeros(1, 3, height, width))


def as_map(output: Tensor) -> Tensor:
    """(1, h, w) or (1, 1, h, w) -> (1, 1, h, w) float32."""
    return output.float().reshape(1, 1, *output.shape[-2:])


def is_installed() -> bool:
    """Whether onnxruntime is there; it is not imported for that."""
    return importlib.util.find_spec('onnxruntime') is not None


def _providers(available: list[str], device: Device, half: bool) -> list[Any]:
    """What is to run the network, the fastest first."""
    if device.type != 'cuda':
        return ['CPUExecutionProvider']
    if 'CUDAExecutionProvider' not in available:
        raise BackendError(
            f'this onnxruntime cannot use {device}: pip uninstall onnxruntime, then '
            'pip install "depth_perception[onnx-gpu]", or set device to cpu'
        )
    number = {'device_id': device.index or 0}
    cuda = ('CUDAExecutionProvider', number)
    if 'TensorrtExecutionProvider' not in available:
        return [cuda]
    return [('TensorrtExecutionProvider', {**number, 'trt_fp16_enable': half, **_engines()}), cuda]


def _engines() -> dict[str, Any]:
    """Where TensorRT keeps its engines, which take minutes to build."""
    parent = openvino_cache.folder()
    if parent is None:
        return {}
    place: Path = parent.parent / 'tensorrt'
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {'trt_engine_cache_enable': True, 'trt_engine_cache_path': str(place)}
