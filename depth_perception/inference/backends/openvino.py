# SPDX-License-Identifier: Apache-2.0
"""Run the network with OpenVINO on a CPU: several times faster than PyTorch, also under load.

PyTorch's threads wait for each other in busy loops, so a frame takes many times as long if another
program uses a core. OpenVINO's threads do not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from depth_perception.depth.arrays import is_tensor, like
from depth_perception.errors import named
from depth_perception.inference.backends import openvino_cache
from depth_perception.inference.backends.beside import BackgroundCompiler, CompileError, weakly
from depth_perception.inference.backends.openvino_apart import (
    AT_ONCE,
    Tries,
    compile_apart,
)
from depth_perception.inference.backends.priority import gives_way
from depth_perception.inference.device import CPU, Device
from depth_perception.io.weights import CheckedWeights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from depth_perception.networks.onnx_network import OnnxNetwork

_has_traced = False
_log = logging.getLogger(__name__)
#: Largest number of compiled sizes in memory; the least recently used one is dropped.
_KEPT = 4

Size = tuple[int, int]


class OpenVino:
    """A network that is compiled, or read from the cache on disk, once per input size.

    Args:
        network: the network, on the CPU; or its weights file, from which it is built only if it
            must be compiled: in another process, if PyTorch is not imported in this one.
        precision: `fp16` and `bf16` compute in bfloat16 if the CPU has instructions for it,
            otherwise in float32; `fp32` always computes in float32.
        checksum: checksum of the weights file; without it compiled models are not cached.
        weights: the weights file, for the process that compiles.
        has_confidence: also compute the scale of the error, see `Backend.with_confidence`.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed.
    """

    name = 'openvino'
    uncompiled = ''

    def __init__(
        self,
        network: nn.Module | CheckedWeights,
        precision: str,
        checksum: str = '',
        weights: Path | None = None,
        has_confidence: bool = False,
    ) -> None:
        self.device: Device = CPU
        self._has_confidence = has_confidence
        self._openvino = _import_openvino()
        self._core = _core()
        self._network = network if isinstance(network, CheckedWeights) else _plain(network)
        self.precision = 'bf16' if precision != 'fp32' and self._has_bfloat16() else 'fp32'
        self._checksum, self._weights = checksum, weights
        self._requests: dict[Size, Any] = {}
        self._lock = threading.Lock()
        self._background = BackgroundCompiler(weakly(self._make_in_background))

    @property
    def problem(self) -> str:
        """A sentence about sizes that are not compiled yet, or ''."""
        return self._background.remark

    def run(self, image: Any) -> Any:
        """Compute the raw output (1, 1, h, w) float32 of a normalised (1, 3, H, W) float32.

        The first image of a size takes seconds, because the network is compiled for it, unless
        `size_for` chose the size.
        """
        height, width = image.shape[-2:]
        size = (height, width)
        request = self._request(size) or self._add(size, self._made(size))
        values = image.contiguous().numpy() if is_tensor(image) else np.ascontiguousarray(image)
        found = request.infer([values], share_inputs=True)
        outputs = [found[number] for number in range(2 if self._has_confidence else 1)]
        maps = [like(output.reshape(1, -1, *output.shape[-2:]), image) for output in outputs]
        return tuple(maps) if self._has_confidence else maps[0]

    def with_confidence(self) -> OpenVino:
        """Return a backend of the same network with a second output; nothing is compiled yet.

        It is another graph, so that depth alone costs what it costs without a second output.
        """
        return OpenVino(
            self._network,
            self.precision,
            self._checksum,
            self._weights,
            has_confidence=True,
        )

    def begin(self, size: Size, what: str) -> bool:
        """Return whether a size is compiled; if not, compile for it in the background.

        Args:
            size: (height, width).
            what: description of the image, for the remark, such as its size.
        """
        if self._request(size) is not None:
            return True
        self._background.want(size, what, size)
        return False

    def size_for(self, size: Size, what: str) -> Size:
        """Return the size to use now: `size` if it is compiled, otherwise the nearest compiled one.

        Args:
            size: desired (height, width).
            what: description of the image, for the remark, such as its size.
        """
        with self._lock:
            ready = list(self._requests)
        return self._background.size_for(ready, size, what)

    def prepare(self, sizes: Iterable[tuple[Size, str]]) -> None:
        """Compile for these sizes, each with a description of its image, and wait for that.

        Raises:
            CompileError: one cannot be compiled.
        """
        for size, what in sizes:
            if self._request(size) is None:
                self._background.want(size, what, size)
                self._background.wait(size)

    def kept(self, size: Size) -> Path | None:
        """Return the file of the network compiled for a size; None if there is none."""
        path = self._path(size)
        return path if path is not None and path.is_file() else None

    def compiled(self, size: Size) -> Any:
        """Compile the network for a size."""
        import torch

        return self._core.compile_model(
            self._converted(torch.zeros(1, 3, *size)), 'CPU', self._settings()
        )

    def _request(self, size: Size) -> Any:
        """Return the request for a size and mark it as the last one used; None if there is none."""
        with self._lock:
            request = self._requests.pop(size, None)
            if request is not None:
                self._requests[size] = request
        return request

    def _add(self, size: Size, model: Any) -> Any:
        request = model.create_infer_request()
        with self._lock:
            while len(self._requests) >= _KEPT:
                self._requests.pop(next(iter(self._requests)))
            self._requests[size] = request
        return request

    def _made(self, size: Size) -> Any:
        """Return the model of a size from the cache, or compile it."""
        model = self._cached(size)
        is_built = not isinstance(self._network, CheckedWeights)
        if model is None and not is_built and 'torch' not in sys.modules:
            model = self._compiled_apart(size, AT_ONCE)
        if model is None:
            self._say(size)
            model = self.compiled(size)
            path = self._path(size)
            if path is not None:
                openvino_cache.write(path, exported(model))
        return model

    def _make_in_background(self, size: Size) -> None:
        """Make the model of a size in the background: another process compiles it if possible."""
        model = gives_way(lambda: self._cached(size))
        if model is None:
            model = self._compiled_apart(size)
        self._add(size, self._made(size) if model is None else model)

    def _compiled_apart(self, size: Size, tries: Tries | None = None) -> Any:
        """Return the model of a size, compiled by another process; None if it cannot."""
        if self._weights is None:
            return None
        path = self._path(size)
        self._say(size)
        with tempfile.TemporaryDirectory() as spare, contextlib.suppress(CompileError, OSError):
            keep = path is not None and openvino_cache.can_keep(path)
            file = path if path is not None and keep else Path(spare, 'model.blob')
            compile_apart(
                self._weights,
                self._checksum,
                self.precision,
                size,
                file,
                tries,
                has_confidence=self._has_confidence,
            )
            model = openvino_cache.read(file)
            if tries is AT_ONCE:
                return self._imported(model)
            return gives_way(lambda: self._imported(model))
        return None

    def _say(self, size: Size) -> None:
        path = self._path(size)
        kept = f'; the result is kept as {path}' if path is not None else ''
        _log.info(f'OpenVINO compiles the network for input of {size[1]}x{size[0]}{kept}')

    def _cached(self, size: Size) -> Any:
        model = openvino_cache.read(self._path(size))
        return None if model is None else self._imported(model)

    def _imported(self, model: bytes | None) -> Any:
        """A model that was exported; None where OpenVINO cannot read it."""
        if model is None:
            return None
        with contextlib.suppress(RuntimeError):
            return self._core.import_model(model, 'CPU', self._settings())
        return None

    def _path(self, size: Size) -> Path | None:
        version = self._openvino.get_version()
        kind = f'{self.precision}_confidence' if self._has_confidence else self.precision
        return openvino_cache.model_path(self._checksum, kind, version, size)

    def _settings(self) -> dict[str, Any]:
        return {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': 'bf16' if self.precision == 'bf16' else 'f32',
            **_threads(),
            # With pinning, the threads of two processes would share the first cores.
            'ENABLE_CPU_PINNING': False,
        }

    def _converted(self, image: Tensor) -> Any:
        """Convert the network for this image size; sizes may become constants in the model.

        The first conversion of a process uses a trace, which is seconds faster. PyTorch keeps some
        megabytes of each trace forever, so later ones use an export, if OpenVINO can read it.
        """
        import torch

        from depth_perception.networks.onnx_network import OnnxNetwork
        from depth_perception.networks.uncertainty import DepthAndUncertainty

        network = self._network
        if isinstance(network, CheckedWeights):
            network = _plain(network.network())
        if isinstance(network, OnnxNetwork):
            return self._read(network, list(image.shape))
        if self._has_confidence:
            network = DepthAndUncertainty(network)
        image = image.contiguous()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            convert = self._exported if _has_traced else self._traced
            return convert(network, image)

    def _read(self, network: OnnxNetwork, shape: list[int]) -> Any:
        """The network of an ONNX file, with its depth as the one output."""
        model = self._core.read_model(io.BytesIO(network.model()))
        model.reshape({network.input_name: shape})
        depth = model.output(network.output_name)
        return self._openvino.Model([depth], model.get_parameters(), 'depth')

    def _exported(self, network: nn.Module, image: Tensor) -> Any:
        import torch

        try:
            return self._convert(torch.export.export(network, (image,), strict=False), image)
        except Exception:  # PyTorch and OpenVINO raise many kinds of errors
            return self._traced(network, image)

    def _traced(self, network: nn.Module, image: Tensor) -> Any:
        import torch

        global _has_traced
        _has_traced = True
        # Without check_trace's two more runs, starting takes half the time.
        return self._convert(torch.jit.trace(network, image, check_trace=False), image)

    def _convert(self, recorded: Any, image: Tensor) -> Any:
        return self._openvino.convert_model(
            recorded, input=[self._openvino.PartialShape(list(image.shape))]
        )

    def _has_bfloat16(self) -> bool:
        return 'BF16' in self._core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


def _plain(network: nn.Module) -> nn.Module:
    """Return the network as it is converted: float32, in the usual layout, not training."""
    import torch

    # In channels_last layout, the trace would contain transposes.
    return network.cpu().float().eval().to(memory_format=torch.contiguous_format)


def _threads() -> dict[str, int]:
    """Return the setting of the number of threads: as PyTorch has, where it is in use."""
    torch = sys.modules.get('torch')
    if torch is not None:
        return {'INFERENCE_NUM_THREADS': torch.get_num_threads()}
    wanted = os.environ.get('OMP_NUM_THREADS', '')
    return {'INFERENCE_NUM_THREADS': int(wanted)} if wanted.isdecimal() else {}


def exported(model: Any) -> bytes:
    """Return a compiled model as bytes, for `import_model`."""
    content: bytes = model.export_model().getvalue()
    return content


def reason(error: BaseException) -> str:
    """Return the line of an error of OpenVINO that says why it cannot run a network."""
    lines = [line.strip(' -') for line in str(error).splitlines()]
    telling = [line for line in lines if 'No conversion rule' in line or 'not support' in line]
    return telling[0] if telling else named(error)


def is_installed() -> bool:
    """Return whether OpenVINO is installed, without importing it."""
    return importlib.util.find_spec('openvino') is not None


@functools.cache
def _core() -> Any:
    """Return the process's only OpenVINO core, which is never freed.

    The CPU plugin sets a signal stack for the thread that loads it, and unmaps it with the last
    core. If another thread freed the core, the first thread's signal stack would be invalid, and
    the next signal with a Python handler, such as Ctrl-C, would kill the process.
    """
    return _import_openvino().Core()


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report the import over the network."""
    if 'openvino_telemetry' not in sys.modules:
        sys.modules['openvino_telemetry'] = None  # type: ignore[assignment]
    import openvino

    return cast(ModuleType, openvino)
