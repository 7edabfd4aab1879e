# SPDX-License-Identifier: Apache-2.0
"""Inference backends for one network: ours, and the usual alternatives."""

from __future__ import annotations

import copy
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from depth_perception.inference.backends import openvino
from depth_perception.inference.backends.choice import choose_backend
from depth_perception.inference.backends.torch_eager import TorchEager

#: Takes a normalised float32 image (1, 3, H, W) on the host, returns depth on the host.
Run = Callable[[Tensor], Tensor]
#: The backend with which the others are compared.
BASELINE = 'eager fp32'
#: Packages that running a network by onnxruntime needs.
EXPORT = ('onnxruntime', 'onnx', 'onnxscript')


def ways(
    network: nn.Module, image: Tensor, device: torch.device, only_torch: bool = False
) -> Iterator[tuple[str, Run]]:
    """Yield each available backend by name; the first is the baseline."""
    network = network.eval()
    yield BASELINE, _eager(copy.deepcopy(network), device)
    for precision in ('fp32', 'fp16', 'bf16') if device.type == 'cuda' else ('fp32', 'fp16'):
        backend = TorchEager(copy.deepcopy(network), device, precision)
        if precision == 'fp32' or backend.precision != 'fp32':
            yield f'torch {backend.precision}', _on(backend.run, device)
    if device.type != 'cpu' or only_torch:
        return
    missing = [name for name in EXPORT if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f'onnxruntime is left out: {", ".join(missing)} not installed\n')
    else:
        yield 'onnxruntime fp32', _onnxruntime(network, image)
    if openvino.is_installed():
        for precision in ('fp32', 'fp16'):
            runner = openvino.OpenVino(copy.deepcopy(network), precision)
            if precision == 'fp32' or runner.precision != 'fp32':
                yield f'openvino {runner.precision}', runner.run


def default_way(device: torch.device) -> str:
    """Return the name of the default backend of `depth_node` on this machine."""
    backend = choose_backend(nn.Identity(), device, 'fp16')
    return f'{backend.name} {backend.precision}'


def _eager(network: nn.Module, device: torch.device) -> Run:
    """Call the module directly, as the published hybrid's predict_img.py.

    That script (github.com/karoly-hars/DE_resnet_unet_hyb) also records the graph for a backward
    pass; without this, as here, the baseline is slightly faster.
    """
    network = network.to(device)

    @torch.no_grad()
    def run(image: Tensor) -> Tensor:
        return network(image.to(device)).cpu()

    return run


def _on(run: Run, device: torch.device) -> Run:
    return lambda image: run(image.to(device)).cpu()


def _onnxruntime(network: nn.Module, image: Tensor) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        path = f'{folder}/network.onnx'
        torch.onnx.export(network, (image,), path, dynamo=True, external_data=False, verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: torch.from_numpy(session.run(None, {name: image.numpy()})[0])
