# SPDX-License-Identifier: Apache-2.0
"""What runs an ONNX file, as onnxruntime and OpenVINO report it, and what is compiled ahead."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import torch

from depth_perception.cli.main import main
from depth_perception.inference.backends import onnx_runtime, openvino
from depth_perception.inference.backends.names import BackendError
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import load_weights
from test.support.onnx_files import mean_depth, node, write

onnxruntime = pytest.importorskip('onnxruntime')
with_openvino = pytest.mark.skipif(not openvino.is_installed(), reason='OpenVINO is not installed')
OPTIONS = ['--size', '96x64', '--output', 'metres', '--max-depth', '10']
OPTIONS += ['--mean', *'000', '--std', *'111']
PICTURE = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
DEPTH = 3 + PICTURE.mean(-1) / 255


def imported(source):
    out = source.with_suffix('.safetensors')
    assert main(['import-model', str(source), '--out', str(out), *OPTIONS]) == 0
    return out


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    return imported(mean_depth(tmp_path_factory.mktemp('onnx') / 'any.onnx'))


@pytest.fixture(scope='module')
def beyond_openvino(tmp_path_factory):
    """Return a network with an operator that onnxruntime has, and OpenVINO does not."""
    nodes = [
        node('Inverse', 'two', 'half', domain='com.microsoft'),
        node('Sub', 'half half', 'nothing'),
        node('ReduceMean', 'image axis', 'mean', keepdims=1),
        node('ReduceSum', 'nothing', 'zero', keepdims=0),
        node('Add', 'mean three', 'above'),
        node('Add', 'above zero', 'depth'),
    ]
    constants = {
        'two': np.eye(2, dtype=np.float32) * 2,
        'three': np.array(3, np.float32),
        'axis': np.array([1]),
    }
    source = tmp_path_factory.mktemp('onnx') / 'inverse.onnx'
    return imported(write(source, nodes, constants=constants))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'depth_perception'


def test_the_provider_is_what_onnxruntime_reports(network, caplog):
    with caplog.at_level(logging.INFO, 'depth_perception'):
        runner = onnx_runtime.OnnxRuntime(
            load_weights(network).network, torch.device('cpu'), 'fp16'
        )
    assert runner.provider == 'CPUExecutionProvider' == runner._any_size.get_providers()[0]
    assert runner.precision == 'fp32'  # what that provider computes in
    assert 'onnxruntime runs the network by CPUExecutionProvider' in caplog.text


@pytest.mark.skipif(
    'CUDAExecutionProvider' in onnxruntime.get_available_providers(),
    reason='this onnxruntime has CUDA',
)
def test_an_onnxruntime_without_cuda_is_one_sentence(network):
    with pytest.raises(BackendError, match='cannot use cuda: pip uninstall onnxruntime'):
        onnx_runtime.OnnxRuntime(load_weights(network).network, torch.device('cuda'), 'fp16')


@pytest.mark.parametrize('size', [(64, 96), (32, 160)])
def test_a_network_for_one_size_alone_gives_the_same_depth(network, size):
    """TensorRT is given this one; here the CPU runs it."""
    loaded = load_weights(network).network
    session = onnxruntime.InferenceSession(
        onnx_runtime.pinned(loaded, size), providers=['CPUExecutionProvider']
    )
    assert session.get_inputs()[0].shape == [1, 3, *size]
    image = np.random.default_rng(0).random((1, 3, *size), np.float32)
    found = session.run(None, {loaded.input_name: image})[0]
    np.testing.assert_allclose(found, 3 + image.mean(1), rtol=1e-5)


@with_openvino
def test_onnxruntime_runs_what_openvino_cannot(beyond_openvino, caplog):
    estimator = DepthEstimator.load(beyond_openvino, 'cpu', 'fp32')
    assert estimator.backend == 'onnxruntime'
    assert 'OpenVINO cannot run inverse: No conversion rule found' in caplog.text
    assert 'onnxruntime runs it' in caplog.text
    np.testing.assert_allclose(estimator.infer(PICTURE), DEPTH, rtol=1e-5)
    with pytest.raises(BackendError, match=r'OpenVINO cannot run inverse: .* set backend to auto'):
        DepthEstimator.load(beyond_openvino, 'cpu', 'fp32', 'openvino')


@with_openvino
def test_compile_fills_the_cache_that_a_node_reads(network, cache, caplog, capsys):
    command = ['compile', '--model', str(network), '--device', 'cpu', '--image-sizes']
    with caplog.at_level(logging.INFO, 'depth_perception'):
        assert main([*command, '96x64', '200x100']) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(', openvino')[0] for line in lines] == [
            '96x64: input 96x64',
            '200x100: input 128x64',
        ]
        files = sorted(map(str, cache.glob('openvino/*.blob')))
        assert files == sorted(line.rpartition(', ')[2] for line in lines)
        compiled = 'OpenVINO compiles the network for input of'
        assert caplog.text.count(compiled) == 2
        caplog.clear()
        assert main([*command, '200x100']) == 0
        estimator = DepthEstimator.load(network, 'cpu')
        estimator.prepare([(100, 200)])
        assert compiled not in caplog.text


@pytest.mark.filterwarnings('ignore:Specified provider')
def test_a_new_engine_deletes_the_least_recently_used(network, cache, monkeypatch):
    """Of folders as TensorRT fills them: without TensorRT onnxruntime leaves the new one empty."""
    runner = onnx_runtime.OnnxRuntime(load_weights(network).network, torch.device('cpu'), 'fp32')
    folders = [cache / 'tensorrt' / str(age) for age in range(onnx_runtime._KEPT_ON_DISK + 3)]
    for age, folder in enumerate(folders):
        folder.mkdir(parents=True, mode=0o700)
        (folder / 'network.engine').write_bytes(b'engine')
        os.utime(folder, (1e9 - age, 1e9 - age))
    for used in (folders[-1], cache / 'tensorrt' / 'new'):
        monkeypatch.setattr(runner, '_folder', lambda size, used=used: used)
        runner._make((64, 96))
    left = {folder.name for folder in (cache / 'tensorrt').iterdir()}
    assert len(left) == onnx_runtime._KEPT_ON_DISK
    assert {'new', folders[-1].name, folders[0].name} <= left


@pytest.mark.parametrize(
    'backend, said',
    [
        ('torch', 'PyTorch runs it, which compiles nothing ahead of time'),
        ('onnxruntime', 'onnxruntime runs it on the CPU, where it compiles nothing ahead of time'),
    ],
)
def test_what_compiles_nothing_is_one_sentence(backend, said, network, capsys):
    model = [] if backend == 'torch' else ['--model', str(network)]
    assert main(['compile', *model, '--device', 'cpu', '--backend', backend]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@with_openvino
def test_a_cache_that_cannot_be_written_is_one_sentence(network, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert main(['compile', '--model', str(network), '--device', 'cpu']) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert 'compiled for 96x64, but that cannot be kept' in said and 'XDG_CACHE_HOME' in said
