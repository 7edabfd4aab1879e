# SPDX-License-Identifier: Apache-2.0
"""Choose the backend: the fastest one installed, or the requested one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from depth_perception.inference.backends import openvino
from depth_perception.inference.backends.base import Backend
from depth_perception.inference.backends.frames import EagerFrames, Frames
from depth_perception.inference.backends.names import BACKENDS, BackendError
from depth_perception.inference.device import Device
from depth_perception.io.weights import CheckedWeights

if TYPE_CHECKING:
    from torch import nn

    from depth_perception.networks.onnx_network import OnnxNetwork

__all__ = ['BACKENDS', 'BackendError', 'backend_for', 'choose_backend', 'frames_on']


def choose_backend(
    network: nn.Module,
    device: Device,
    precision: str,
    name: str = 'auto',
    checksum: str = '',
    weights: Path | None = None,
) -> Backend:
    """Return the network on its device, ready to run.

    Args:
        network: the network with its weights.
        device: device to run on.
        precision: `fp16` or `bf16` (half precision if that is faster), or `fp32`.
        name: `torch`, `openvino` (only on a CPU), or `auto`: OpenVINO on a CPU if it is installed,
            otherwise PyTorch.
        checksum: checksum of the weights file; key of OpenVINO's cache of compiled models.
        weights: the weights file, to let OpenVINO compile for more sizes in another process.

    Raises:
        BackendError: the requested backend is not installed or does not support the device.
        ValueError: the name is unknown.
    """
    _check(name, device)
    from depth_perception.inference.backends.torch_eager import TorchEager
    from depth_perception.networks.onnx_network import OnnxNetwork

    if isinstance(network, OnnxNetwork):
        return _onnx_backend(network, device, precision, name, checksum, weights)
    if name == 'onnxruntime':
        raise BackendError(
            'backend onnxruntime runs networks imported from ONNX files alone: set backend to '
            'auto, or export the network to ONNX and import that (docs/networks.md)'
        )
    traceable = getattr(network, 'traceable', True)
    if name == 'openvino' and not traceable:
        raise BackendError(
            'backend openvino cannot run this network, which chooses its way by the '
            'image: set backend to auto'
        )
    if name == 'openvino':
        try:
            return openvino.OpenVino(network, precision, checksum, weights)
        except ImportError as error:
            raise BackendError(
                f'OpenVINO is installed but broken ({error}): install it again, or '
                'set backend to auto'
            ) from error
    if name == 'auto' and traceable and device.type == 'cpu' and openvino.is_installed():
        with suppress(ImportError):  # a broken installation
            return openvino.OpenVino(network, precision, checksum, weights)
    return TorchEager(network, device, precision)


def backend_for(
    weights: CheckedWeights, device: Device, precision: str, name: str = 'auto'
) -> tuple[Backend, bool]:
    """Return what runs the network of a file, and whether CUDA can record it as a graph.

    If OpenVINO runs it, the network is not built before it must be compiled, and PyTorch is not
    imported.

    Raises:
        BackendError: the requested backend is not installed or does not support the device.
        WeightsError: the network cannot be built.
        ValueError: the name is unknown.
    """
    _check(name, device)
    if (
        (weights.is_ours or weights.info.network == 'onnx')
        and device.type == 'cpu'
        and name in ('auto', 'openvino')
        and openvino.is_installed()
    ):
        with suppress(ImportError):  # a broken installation: see choose_backend
            return openvino.OpenVino(weights, precision, weights.checksum, weights.path), True
    network = weights.network()
    backend = choose_backend(network, device, precision, name, weights.checksum, weights.path)
    return backend, getattr(network, 'traceable', True)


def frames_on(device: Device) -> Frames:
    """Return the fastest way to run frames on the device."""
    if device.type != 'cuda':
        return EagerFrames()
    import torch

    from depth_perception.inference.backends.graphs import GraphedFrames

    return GraphedFrames(torch.device(str(device)))


def _check(name: str, device: Device) -> None:
    """Raise an error if no network can be run in this way."""
    if name not in BACKENDS:
        raise ValueError(f'unknown backend {name!r}: choose one of {", ".join(BACKENDS)}')
    if name == 'openvino' and device.type != 'cpu':
        raise BackendError(
            f'backend openvino runs on the CPU, not on {device}: set device to cpu, '
            'or backend to auto'
        )
    if name == 'openvino' and not openvino.is_installed():
        raise BackendError(
            'backend openvino needs OpenVINO: '
            'pip install "depth_perception[cpu]", or set backend to auto'
        )


def _onnx_backend(
    network: OnnxNetwork,
    device: Device,
    precision: str,
    name: str,
    checksum: str,
    weights: Path | None,
) -> Backend:
    """What runs a network from an ONNX file."""
    if name == 'torch':
        raise BackendError(
            'backend torch cannot run a network from an ONNX file: set backend to auto'
        )
    from depth_perception.inference.backends import onnx_runtime

    if device.type == 'cpu' and name != 'onnxruntime' and openvino.is_installed():
        return openvino.OpenVino(network, precision, checksum, weights)
    if onnx_runtime.is_installed():
        return onnx_runtime.OnnxRuntime(network, device, precision, checksum)
    extra = 'onnx-gpu' if device.type == 'cuda' else 'onnx'
    raise BackendError(
        f'a network from an ONNX file needs onnxruntime: pip install "depth_perception[{extra}]"'
    )
