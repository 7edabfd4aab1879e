# SPDX-License-Identifier: Apache-2.0
"""Run code for a GPU on a machine without one: tensors that have a device, but no values.

PyTorch's FakeTensorMode computes type, shape and device of each result, and raises an error if an
operation mixes devices, or if its result has to be read (`.item()`, `if tensor:`, `tensor[mask]`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from depth_perception.inference.backends import torch_eager

#: Not the first one: no cache may give a fake tensor to a test on a real GPU.
FAKE = torch.device('cuda', 7)


def copies(work: Callable[[], object]) -> list[str]:
    """Run some work; return the copies between devices in it.

    A CUDA graph may contain none from or to ordinary host memory, and each makes the host wait.
    """
    with _Copies() as seen:
        work()
    return seen.found


class _Copies(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [part for part in (*args, result) if isinstance(part, Tensor)]
        copies = str(function).startswith(('aten._to_copy', 'aten.copy_', 'aten.lift_fresh'))
        if copies and len({tensor.device for tensor in tensors}) > 1:
            self.found.append(f'{function} of {tuple(tensors[0].shape)}')
        return result


@contextlib.contextmanager
def fake_gpu(monkeypatch: Any) -> Iterator[torch.device]:
    """Make every operation in the block one of fake tensors; yield a GPU that does not exist."""
    if torch.cuda.is_available():
        pytest.skip('the tests of a real GPU run here')
    fold = torch_eager.fold_batch_norms

    def folded(network: nn.Module) -> nn.Module:
        with unset_fake_temporarily():
            return fold(network)

    monkeypatch.setattr(nn.Module, 'to', _moved)
    monkeypatch.setattr(torch_eager, 'fold_batch_norms', folded)
    # Otherwise autocast is off where there is no GPU.
    monkeypatch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda *_: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield FAKE


def _moved(
    network: nn.Module,
    *where: Any,
    memory_format: torch.memory_format = torch.preserve_format,
) -> nn.Module:
    """Do what `nn.Module.to` does, which cannot replace a parameter by a fake one."""
    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    new = _converted(tensor.detach(), where, memory_format)
                    is_parameter = isinstance(tensor, nn.Parameter)
                    tensors[name] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
    return network


def _converted(tensor: Tensor, where: tuple[Any, ...], layout: torch.memory_format) -> Tensor:
    for part in where:
        if not isinstance(part, torch.dtype) or tensor.is_floating_point():
            tensor = tensor.to(part)
    return tensor.contiguous(memory_format=layout) if tensor.ndim == 4 else tensor
