# SPDX-License-Identifier: Apache-2.0
"""The network as OpenVINO runs it on a CPU: several times faster than PyTorch, and it shares.

PyTorch's threads wait for each other in busy loops: where another program takes a core, a frame
takes many times as long. OpenVINO's do not.
"""
from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import sys
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from depth_perception.inference.backends import openvino_cache
from depth_perception.inference.backends.beside import Beside, CompileError
from depth_perception.inference.backends.openvino_apart import compile_apart
from depth_perception.inference.backends.priority import gives_way

_has_traced = False
#: Compiled sizes that are kept; the one that was used the longest ago goes first.
_KEPT = 4

Size = tuple[int, int]


class OpenVino:
    """Compiled once for each input size, from the network's own trace or from the disk.

    Args:
        network: on the CPU.
        precision: `fp16` and `bf16` compute in bfloat16 where the CPU has instructions for it,
            otherwise in float32; `fp32` always in float32.
        checksum: of the weights file; with it compiled models are kept on disk.
        weights: that file, for a process that compiles beside this one.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed.
    """

    name = 'openvino'

    def __init__(self, network: nn.Module, precision: str, checksum: str = '',
                 weights: Path | None = None) -> None:
        self.device = torch.device('cpu')
        self._openvino = _import_openvino()
        self._core = _core()
        # Computed as everything else here, in channels_last it would be traced with transposes.
        self._network = network.cpu().float().eval().to(memory_format=torch.contiguous_format)
        self.precision = 'bf16' if precision != 'fp32' and self._has_bfloat16() else 'fp32'
        self._checksum, self._weights = checksum, weights
        self._requests: dict[Size, Any] = {}
        self._lock = threading.Lock()
        make = weakref.WeakMethod(self._make_beside)  # a network goes with its last user
        self._beside = Beside(lambda size: (make() or _nothing)(size))

    @property
    def problem(self) -> str:
        """For which sizes images are not yet fed as they should be, or ''."""
        return self._beside.remark

    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32.

        The first image of a size takes seconds, unless `size_for` was asked before: the network is
        compiled for it.
        """
        height, width = image.shape[-2:]
        size = (height, width)
        request = self._request(size) or self._add(size, self._made(size))
        output = request.infer([image.contiguous().numpy()], share_inputs=True)[0]
        return torch.from_numpy(output)

    def size_for(self, size: Size, what: str) -> Size:
        """At which size to feed an image now: its own, or the nearest until that is compiled.

        Args:
            size: (height, width) at which it should be fed.
            what: the image, for the remark: its size, in words.
        """
        with self._lock:
            ready = list(self._requests)
        if size in ready or not ready:
            return size
        nearest = min(ready, key=lambda other: abs(math.log(
            other[1] / other[0] / (size[1] / size[0]))))
        self._beside.want(size, what, nearest)
        return nearest

    def prepare(self, sizes: Iterable[tuple[Size, str]]) -> None:
        """Compile for these sizes, each with its image in words, and wait for that.

        Raises:
            CompileError: one cannot be compiled.
        """
        for size, what in sizes:
            if self._request(size) is None:
                self._beside.want(size, what, size)
                self._beside.wait(size)

    def compiled(self, size: Size) -> Any:
        """The network compiled for a size, anew."""
        return self._core.compile_model(
            self._converted(torch.zeros(1, 3, *size)), 'CPU', self._settings())

    def _request(self, size: Size) -> Any:
        """What runs this size, which is now the last one used; or None."""
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
        """The model of a size, from the disk if it is there, otherwise compiled here."""
        model = self._cached(size)
        if model is None:
            model = self.compiled(size)
            path = self._path(size)
            if path is not None:
                openvino_cache.write(path, exported(model))
        return model

    def _make_beside(self, size: Size) -> None:
        """The same while others work: another process compiles, this one only reads the result."""
        model = gives_way(lambda: self._cached(size))
        if model is None and self._weights is not None:
            model = self._compiled_apart(self._weights, size)
        self._add(size, self._made(size) if model is None else model)

    def _compiled_apart(self, weights: Path, size: Size) -> Any:
        path = self._path(size)
        with tempfile.TemporaryDirectory() as spare, contextlib.suppress(CompileError, OSError):
            keep = path is not None and openvino_cache.can_keep(path)
            file = path if path is not None and keep else Path(spare, 'model.blob')
            compile_apart(weights, self._checksum, self.precision, size, file)
            return gives_way(lambda: self._imported(openvino_cache.read(file)))
        return None

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
        return openvino_cache.model_path(self._checksum, self.precision, version, size)

    def _settings(self) -> dict[str, Any]:
        return {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': 'bf16' if self.precision == 'bf16' else 'f32',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            # Threads of two processes, each bound to the first cores, would share them.
            'ENABLE_CPU_PINNING': False,
        }

    def _converted(self, image: Tensor) -> Any:
        """The network for images of this size alone: sizes taken for constants are right.

        The first of a process is traced, which starts seconds sooner. PyTorch keeps some megabytes
        of each trace for ever, so the others are exported, unless OpenVINO cannot read that.
        """
        image = image.contiguous()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            return self._exported(image) if _has_traced else self._traced(image)

    def _exported(self, image: Tensor) -> Any:
        try:
            return self._convert(torch.export.export(self._network, (image,), strict=False), image)
        except Exception:  # PyTorch and OpenVINO have many ways to say no
            return self._traced(image)

    def _traced(self, image: Tensor) -> Any:
        global _has_traced
        _has_traced = True
        # Not run a second and a third time to be checked: half of the time to start.
        return self._convert(torch.jit.trace(self._network, image, check_trace=False), image)

    def _convert(self, recorded: Any, image: Tensor) -> Any:
        return self._openvino.convert_model(
            recorded, input=[self._openvino.PartialShape(list(image.shape))])

    def _has_bfloat16(self) -> bool:
        return 'BF16' in self._core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


def _nothing(_size: Size) -> None:
    """For a network that is gone."""


def exported(model: Any) -> bytes:
    """A compiled model as bytes, for `import_model`."""
    content: bytes = model.export_model().getvalue()
    return content


def is_installed() -> bool:
    """Whether OpenVINO is there; it is not imported for that."""
    return importlib.util.find_spec('openvino') is not None


@functools.cache
def _core() -> Any:
    """The process's one OpenVINO core, which is never freed.

    The CPU plugin gives the thread that loads it a stack for signals, and unmaps it with the last
    core. Freed by another thread, that leaves the first with a stack that is gone: the next signal
    with a Python handler, such as Ctrl-C, would kill the process.
    """
    return _import_openvino().Core()


def _import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which would report its import over the network."""
    if 'openvino_telemetry' not in sys.modules:
        sys.modules['openvino_telemetry'] = None  # type: ignore[assignment]
    import openvino

    return cast(ModuleType, openvino)
