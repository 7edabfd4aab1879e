# SPDX-License-Identifier: Apache-2.0
"""Ways to run a network: the same depth from each, and the fastest is chosen."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_perception.inference.backends import choice, openvino
from depth_perception.inference.backends.choice import BackendError, choose_backend
from depth_perception.inference.backends.torch_eager import TorchEager, has_bfloat16
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.bag import Bag
from depth_perception.io.image_messages import decode_compressed
from depth_perception.networks import create_network, network_names
from test.support.weights import tiny_network

CLIP = Path(__file__).parents[2] / 'data' / 'clip_bag'
CPU = torch.device('cpu')
with_openvino = pytest.mark.skipif(not openvino.is_installed(), reason='OpenVINO is not installed')
with_bfloat16 = pytest.mark.skipif(
    not has_bfloat16(), reason='this CPU has no bfloat16 instructions'
)


def worst(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@with_openvino
@pytest.mark.parametrize('name', ['cnn_residual', 'densedepth', 'efficientnet_sff', 'cnn_fc'])
def test_openvino_gives_the_network_s_depth(name):
    torch.manual_seed(0)
    network = create_network(name).eval()
    image = torch.randn(1, 3, 64, 96)
    expected = TorchEager(network, CPU, 'fp32').run(image)
    assert worst(openvino.OpenVino(network, 'fp32').run(image), expected) < 1e-4


@with_openvino
def test_openvino_takes_any_size_and_the_first_again():
    network, runner = tiny_network(), openvino.OpenVino(tiny_network(), 'fp32')
    outputs = []
    for height, width in ((32, 48), (48, 32), (37, 53), (64, 64), (16, 16), (32, 48)):
        image = torch.linspace(-1, 1, 3 * height * width).view(1, 3, height, width)
        outputs.append(runner.run(image))
        assert worst(outputs[-1], TorchEager(network, CPU, 'fp32').run(image)) < 1e-4
    assert torch.equal(outputs[0], outputs[-1])


@with_openvino
def test_a_result_of_openvino_is_not_overwritten_by_the_next():
    runner = openvino.OpenVino(tiny_network(), 'fp32')
    first = runner.run(torch.zeros(1, 3, 32, 48))
    kept = first.clone()
    runner.run(torch.ones(1, 3, 32, 48))
    assert torch.equal(first, kept)


@pytest.mark.parametrize(
    'backend',
    [pytest.param('openvino', marks=with_openvino), pytest.param('torch', marks=with_bfloat16)],
)
def test_half_precision_hardly_changes_the_bundled_network_s_depth(backend):
    with Bag(CLIP) as bag:
        message = bag.deserialize(next(bag.messages([bag.image_topic().name])))
    image = decode_compressed(message)
    exact = DepthEstimator.load(device='cpu', precision='fp32', backend='torch').infer(image)
    half = DepthEstimator.load(device='cpu', precision='fp16', backend=backend).infer(image)
    assert half.dtype == np.float32 and not np.array_equal(half, exact)
    # bfloat16 has 8 bits: each layer rounds by up to 0.4 %.
    assert np.median(np.abs(half - exact) / exact) < 0.02


@with_openvino
def test_openvino_traces_only_once_because_traces_are_kept_forever(monkeypatch):
    traced, plain = [], torch.jit.trace
    monkeypatch.setattr(openvino, '_has_traced', False)
    monkeypatch.setattr(torch.jit, 'trace', lambda *a, **k: traced.append(a) or plain(*a, **k))
    network = tiny_network()
    runner = openvino.OpenVino(network, 'fp32')
    for width in (64, 96, 128):
        image = torch.rand(1, 3, 64, width)
        with torch.inference_mode():
            assert worst(runner.run(image), network(image)) < 1e-4
    assert len(traced) == 1


@with_openvino
def test_openvino_traces_again_if_a_network_cannot_be_exported(monkeypatch):
    class Stubborn(torch.nn.Module):
        def forward(self, image):
            if torch.compiler.is_exporting():
                raise RuntimeError('no export today')
            return image.mean(1, keepdim=True)

    monkeypatch.setattr(openvino, '_has_traced', True)
    image = torch.rand(1, 3, 32, 48)
    assert worst(openvino.OpenVino(Stubborn(), 'fp32').run(image), image.mean(1, True)) < 1e-5


@with_openvino
def test_openvino_takes_a_network_that_was_left_in_training_mode():
    network = tiny_network().train()
    image = torch.rand(1, 3, 64, 96)
    found = openvino.OpenVino(network, 'fp32').run(image)
    with torch.inference_mode():
        assert worst(found, network.eval()(image)) < 1e-4


@with_openvino
def test_openvino_starts_without_its_telemetry():
    program = (
        'import sys; from depth_perception.inference.backends.openvino import '
        '_import_openvino; _import_openvino(); print(sys.modules["openvino_telemetry"])'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout.strip() == 'None', done.stderr


@with_openvino
def test_the_signal_stack_stays_valid_after_another_thread_freed_the_network():
    program = """
import os, signal, threading
import torch
from depth_perception.inference.backends.openvino import OpenVino

signal.signal(signal.SIGUSR1, lambda *_: print('handled'))
held = [OpenVino(torch.nn.Conv2d(3, 1, 1), 'fp32')]
held[0].run(torch.zeros(1, 3, 32, 32))
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr


@with_openvino
def test_openvino_is_the_default_on_a_cpu():
    assert choose_backend(tiny_network(), CPU, 'fp32').name == 'openvino'


def test_torch_is_the_default_without_openvino(monkeypatch):
    monkeypatch.setattr(choice.openvino, 'is_installed', lambda: False)
    assert choose_backend(tiny_network(), CPU, 'fp32').name == 'torch'
    with pytest.raises(BackendError, match=r'pip install "depth_perception\[cpu\]"'):
        choose_backend(tiny_network(), CPU, 'fp32', 'openvino')


def test_the_requested_backend_is_used():
    assert choose_backend(tiny_network(), CPU, 'fp32', 'torch').name == 'torch'


def test_openvino_runs_only_on_the_cpu():
    with pytest.raises(BackendError, match='runs on the CPU, not on cuda:0'):
        choose_backend(tiny_network(), torch.device('cuda', 0), 'fp16', 'openvino')


def test_error_for_an_unknown_backend_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown backend 'tensorflow': choose one of auto, torch"):
        choose_backend(tiny_network(), CPU, 'fp32', 'tensorflow')


@with_bfloat16
@pytest.mark.parametrize('name', network_names())
def test_every_network_runs_in_bfloat16(name):
    torch.manual_seed(0)
    network = create_network(name).eval()
    image = torch.randn(1, 3, 64, 96)
    expected = TorchEager(copy.deepcopy(network), CPU, 'fp32').run(image)
    found = TorchEager(network, CPU, 'bf16').run(image)
    assert found.dtype == torch.float32 and worst(found, expected) < 0.1


def test_a_broken_openvino_leaves_the_network_to_pytorch(monkeypatch):
    def broken():
        raise ImportError('libopenvino.so: no such file')

    monkeypatch.setattr(openvino, 'is_installed', lambda: True)
    monkeypatch.setattr(openvino, '_import_openvino', broken)
    assert choose_backend(tiny_network(), torch.device('cpu'), 'fp32').name == 'torch'
    with pytest.raises(BackendError, match='libopenvino'):
        choose_backend(tiny_network(), torch.device('cpu'), 'fp32', 'openvino')
