# SPDX-License-Identifier: Apache-2.0
"""The network as OpenVINO runs it on a CPU: several times faster than PyTorch, and it shares.

PyTorch's threads wait for each other in busy loops: where another program takes a core, a frame
takes many times as long. OpenVINO's do not.
"""
from __future__ import annotations

import functools
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_has_traced = False
#: Compiled sizes that are kept; the oldest goes first.
_KEPT = 4


class OpenVino:
    """Compiled once for each input size, from the network's own trace.

    Args:
        network: on the CPU.
        precision: `fp16` and `bf16` compute in bfloat16 where the CPU has instructions for it,
            otherwise in float32; `fp32` always in float32.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed.
    """

    name = 'openvino'
    problem = ''

    def __init__(self, network: nn.Module, precision: str) -> None:
        self.device = torch.device('cpu')
        self._openvino = _import_openvino()
        self._core = _core()
        # Computed as everything else here, in channels_last it would be traced with transposes.
        self._network = network.cpu().float().eval().to(memory_format=torch.contiguous_format)
        self.precision = 'bf16' if precision != 'fp32' and self._has_bfloat16() else 'fp32'
        self._requests: dict[tuple[int, ...], Any] = {}

    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32.

        The first image of a size takes seconds: the network is compiled for it.
        """
        request = self._requests.get(tuple(image.shape)) or self._compiled(image)
        output = request.infer([image.contiguous().numpy()], share_inputs=True)[0]
        return torch.from_numpy(output)

    def _compiled(self, image: Tensor) -> Any:
        while len(self._requests) >= _KEPT:
            self._requests.pop(next(iter(self._requests)))
        model = self._core.compile_model(self._converted(image), 'CPU', {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': 'bf16' if self.precision == 'bf16' else 'f32',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            # Threads of two processes, each bound to the first cores, would share them.
            'ENABLE_CPU_PINNING': False,
        })
        request = model.create_infer_request()
        self._requests[tuple(image.shape)] = request
        return request

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

    return openvino
