# SPDX-License-Identifier: Apache-2.0
"""Measure a machine's limits for a roofline: operations and bytes per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from depth_perception.inference.backends import openvino

#: Sizes of the square matrices to multiply; the best result counts.
SIDES = {'cpu': (512, 1024, 2048), 'cuda': (4096, 8192)}
#: Bytes to copy: many times the size of a cache.
COPIED = {'cpu': 256 * 2**20, 'cuda': 4 * 2**30}
#: Duration of each measurement in seconds.
SECONDS = 1.5
_DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


@dataclass(frozen=True)
class Limits:
    """Limits of one device.

    Attributes:
        gflops: 10^9 operations per second by precision, of the fastest matrix product.
        found_by: the implementation that reached them.
        gbytes: 10^9 bytes per second, read and written, of a large copy.
        data_sheet: the manufacturer's figures by the same names; empty if unknown.
    """

    gflops: dict[str, float]
    found_by: dict[str, str]
    gbytes: float
    data_sheet: dict[str, float]


#: Dense, without sparsity, 10^9 per second. TF32 is off, so float32 does not use tensor cores.
DATA_SHEETS = {
    # NVIDIA H200 Tensor Core GPU data sheet, SXM (half of the figures given "with sparsity").
    'NVIDIA H200': {'fp32': 67e3, 'fp16': 989.5e3, 'bf16': 989.5e3, 'gbytes': 4.8e3},
}


def measure_limits(device: torch.device, seconds: float = SECONDS) -> Limits:
    """Measure several matrix products in each precision, and a copy; return the best."""
    gflops: dict[str, float] = {}
    found_by: dict[str, str] = {}
    for precision in ('fp32', 'bf16') if device.type == 'cpu' else ('fp32', 'fp16', 'bf16'):
        for name, operations, run in _products(device, precision):
            rate = operations / _best_seconds(run, device, seconds) / 1e9
            if rate > gflops.get(precision, 0.0):
                gflops[precision], found_by[precision] = rate, name
    return Limits(gflops, found_by, _copy_rate(device, seconds), _data_sheet(device))


def _products(device: torch.device, precision: str) -> Iterator[tuple[str, int, Callable]]:
    """Yield (name, operations, run) of matrix products."""
    for side in SIDES[device.type]:
        left, right = (
            torch.randn(side, side, device=device, dtype=_DTYPES[precision]) for _ in range(2)
        )
        out = torch.empty_like(left)
        yield (
            f'torch, {side}x{side}',
            2 * side**3,
            lambda left=left, right=right, out=out: torch.mm(left, right, out=out),
        )
        if device.type == 'cpu' and openvino.is_installed():
            runner = openvino.OpenVino(
                nn.Linear(side, side, bias=False), 'fp16' if precision == 'bf16' else 'fp32'
            )
            if runner.precision == precision:
                image = torch.randn(1, 3, side, side)  # the OpenVINO backend takes images
                yield (
                    f'openvino, {side}x{side}',
                    3 * 2 * side**3,
                    lambda runner=runner, image=image: runner.run(image),
                )


def _best_seconds(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    run()
    end, best = time.perf_counter() + seconds, float('inf')
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def _copy_rate(device: torch.device, seconds: float) -> float:
    source = torch.ones(COPIED[device.type] // 4, device=device)
    target = torch.empty_like(source)
    return (
        2 * COPIED[device.type] / _best_seconds(lambda: target.copy_(source), device, seconds) / 1e9
    )


def _data_sheet(device: torch.device) -> dict[str, float]:
    if device.type != 'cuda':
        return {}
    name = torch.cuda.get_device_name(device)
    return next((sheet for key, sheet in DATA_SHEETS.items() if key in name), {})
