# SPDX-License-Identifier: Apache-2.0
"""Run a network from an ONNX file with onnxruntime: by TensorRT or CUDA, or on a CPU.

TensorRT compiles an engine for each input size, which takes minutes; it is kept on disk.
onnxruntime names the files of engines by names in the network, not by its weights, so each network,
precision and size has a folder of its own.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_perception.depth.arrays import like, on_host
from depth_perception.errors import first_line
from depth_perception.inference.backends import openvino_cache
from depth_perception.inference.backends.beside import BackgroundCompiler, weakly
from depth_perception.inference.backends.names import BackendError
from depth_perception.inference.device import Device
from depth_perception.networks.onnx_network import OnnxNetwork

TENSORRT, CUDA, CPU = (f'{name}ExecutionProvider' for name in ('Tensorrt', 'CUDA', 'CPU'))
#: Largest number of engines in memory; the least recently used one is dropped.
_KEPT = 4
#: Largest number of folders of engines on disk; the least recently used ones are deleted.
_KEPT_ON_DISK = 16
#: A network with fewer nodes than this is left to CUDA: TensorRT is loaded, but builds nothing.
_NO_ENGINE = 1000
_log = logging.getLogger(__name__)

Size = tuple[int, int]


class OnnxRuntime:
    """A session of onnxruntime that takes any size, or with TensorRT one session per size.

    Args:
        network: from an ONNX file.
        device: device to run on.
        precision: only TensorRT computes in half precision (`fp16`, `bf16`), as fp16; the others
            compute in float32.
        checksum: checksum of the weights file; without it engines are not kept on disk.

    Attributes:
        provider: onnxruntime's name of what runs the network, as it reports it.

    Raises:
        BackendError: this onnxruntime cannot use the device, or cannot run the network.
        ImportError: onnxruntime is not installed.
    """

    name = 'onnxruntime'

    def __init__(
        self, network: OnnxNetwork, device: Device, precision: str, checksum: str = ''
    ) -> None:
        self.device = device
        self._network, self._checksum = network, checksum
        self._half = precision != 'fp32'
        self._lock = threading.Lock()
        self._sessions: dict[Size, Any] = {}
        self.provider, self._any_size = self._start()
        self._has_engines = self.provider == TENSORRT
        self.precision = 'fp16' if self._half and self._has_engines else 'fp32'
        self._background = BackgroundCompiler(weakly(self._make))
        _log.info(f'onnxruntime runs the network by {self.provider}')

    @property
    def problem(self) -> str:
        """A sentence about engines that are being built, or ''."""
        return self._background.remark

    @property
    def uncompiled(self) -> str:
        """A sentence about why there are no engines, or ''."""
        if self._has_engines:
            return ''
        if self.provider == CUDA:
            return (
                'onnxruntime runs it by CUDA, which compiles nothing ahead of time: for engines '
                'install TensorRT'
            )
        return (
            'onnxruntime runs it on the CPU, where it compiles nothing ahead of time: OpenVINO '
            'does (backend auto)'
        )

    def run(self, image: Any) -> Any:
        """Compute the raw output (1, 1, h, w) float32 of a normalised (1, 3, H, W) float32."""
        values = np.ascontiguousarray(on_host(image))
        height, width = values.shape[-2:]
        session = self._any_size or self._session((height, width))
        output = session.run([self._network.output_name], {self._network.input_name: values})[0]
        return like(as_map(torch.from_numpy(output)), image)

    def with_confidence(self) -> OnnxRuntime:
        """Raise an error: networks from ONNX files have no such output."""
        raise BackendError('a network from an ONNX file gives no confidence')

    def begin(self, size: Size, what: str) -> bool:
        """Return True: a size whose engine is missing waits for it in `run`."""
        return True

    def size_for(self, size: Size, what: str) -> Size:
        """Return the size to use now: `size` unless its engine must still be built.

        Args:
            size: desired (height, width).
            what: description of the image, for the remark, such as its size.
        """
        if self._any_size is not None:
            return size
        with self._lock:
            ready = list(self._sessions)
        return self._background.size_for(ready, size, what)

    def prepare(self, sizes: Iterable[tuple[Size, str]]) -> None:
        """Build the engines for these sizes; wait until that is done.

        Raises:
            BackendError: one cannot be built.
        """
        for size, _ in sizes:
            if self._any_size is None:
                self._session(size)

    def kept(self, size: Size) -> Path | None:
        """Return the folder of the engine for a size; None if there is none."""
        folder = self._folder(size) if self._has_engines else None
        has_engine = folder is not None and any(folder.glob('*.engine'))
        return folder if has_engine else None

    def _start(self) -> tuple[str, Any]:
        """Return the provider, and the session for any size; None if each needs its own."""
        import onnxruntime

        if self.device.type != 'cuda':
            session = self._opened(self._network.model(), [CPU])
            return str(session.get_providers()[0]), session
        available, number = onnxruntime.get_available_providers(), self._number()
        if CUDA not in available:
            raise BackendError(
                f'this onnxruntime cannot use {self.device}: pip uninstall onnxruntime, then '
                'pip install "depth_perception[onnx-gpu]", or set device to cpu'
            )
        wanted: list[Any] = [(CUDA, number)]
        if TENSORRT in available:
            probe = {**number, 'trt_min_subgraph_size': _NO_ENGINE}
            wanted.insert(0, (TENSORRT, probe))
        session = self._opened(self._network.model(), wanted)
        used = session.get_providers()
        if CUDA not in used:
            raise BackendError(
                f'onnxruntime cannot use {self.device}: it lacks libraries of CUDA or '
                'cuDNN; set device to cpu, or install them'
            )
        return (TENSORRT, None) if TENSORRT in used else (CUDA, session)

    def _session(self, size: Size) -> Any:
        """Return the session of a size; build its engine if there is none."""
        with self._lock:
            session = self._sessions.pop(size, None)
            if session is not None:
                self._sessions[size] = session  # now the last one used
                return session
        return self._make(size)

    def _make(self, size: Size) -> Any:
        folder = self._folder(size)
        options: dict[str, Any] = {**self._number(), 'trt_fp16_enable': self._half}
        keeps = folder is not None and openvino_cache.can_keep(folder / 'engine')
        if folder is not None and keeps and openvino_cache.is_private(folder):
            openvino_cache.mark_used(folder)
            openvino_cache.prune(folder.parent.iterdir(), _KEPT_ON_DISK)
            options |= {'trt_engine_cache_enable': True, 'trt_engine_cache_path': str(folder)}
        if self.kept(size) is None:
            _log.info(
                f'TensorRT builds an engine for input of {size[1]}x{size[0]}, which takes minutes'
                + (f'; it is kept in {folder}' if folder is not None else '')
            )
        content = pinned(self._network, size)
        session = self._opened(content, [(TENSORRT, options), (CUDA, self._number())])
        with self._lock:
            while len(self._sessions) >= _KEPT:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[size] = session
        return session

    def _folder(self, size: Size) -> Path | None:
        """Return the folder for the engine of a size; None without a checksum or a cache folder."""
        import onnxruntime

        cache = openvino_cache.folder()
        if cache is None or not self._checksum:
            return None
        parts = (
            self._checksum[:16],
            self.precision,
            f'{size[0]}x{size[1]}',
            f'onnxruntime{onnxruntime.__version__}',
            torch.cuda.get_device_name(torch.device(str(self.device))),
        )
        return cache.parent / 'tensorrt' / '-'.join(re.sub(r'[^\w.]+', '_', one) for one in parts)

    def _number(self) -> dict[str, int]:
        return {'device_id': self.device.index or 0}

    def _opened(self, content: bytes, providers: list[Any]) -> Any:
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(content, providers=providers)
        except Exception as error:  # onnxruntime raises many types of errors
            raise BackendError(
                f'onnxruntime cannot run this network: {first_line(error)}'
            ) from error


def pinned(network: OnnxNetwork, size: Size) -> bytes:
    """Return the ONNX file of a network for images of one (height, width) alone.

    TensorRT would otherwise build its engine again whenever a size is outside of the range that it
    has seen.
    """
    import onnx

    model = onnx.load_from_string(network.model())
    image = next(one for one in model.graph.input if one.name == network.input_name)
    for side, length in zip(image.type.tensor_type.shape.dim, (1, 3, *size)):
        side.dim_value = length
    depth = [one for one in model.graph.output if one.name == network.output_name]
    del model.graph.output[:]
    model.graph.output.extend(depth)
    content: bytes = model.SerializeToString()
    return content


def as_map(output: Tensor) -> Tensor:
    """Return the output, (1, h, w) or (1, 1, h, w), as (1, 1, h, w) float32."""
    return output.float().reshape(1, 1, *output.shape[-2:])


def is_installed() -> bool:
    """Return whether onnxruntime is installed, without importing it."""
    return importlib.util.find_spec('onnxruntime') is not None
