# SPDX-License-Identifier: Apache-2.0
"""Confidence: a second output of the same network, which costs nothing while nobody asks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_perception.inference.backends import openvino_apart
from depth_perception.inference.backends.openvino import OpenVino, is_installed
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.sharing import SharedNetworks
from depth_perception.io.weights import WeightsError, load_weights, save_weights
from depth_training.convert.heads import depth_alone
from test.support.waiting import wait_until
from test.support.weights import tiny_info, tiny_network, unsure_info, unsure_network

CPU = torch.device('cpu')
RGB = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
openvino_only = pytest.mark.skipif(not is_installed(), reason='OpenVINO is not installed')


def unsure(backend=None, **options) -> DepthEstimator:
    runner = backend or TorchEager(unsure_network(), CPU, 'fp32')
    return DepthEstimator(runner, unsure_info(), **options)


def test_the_depth_is_bit_for_bit_that_of_the_network_without_a_head():
    plain = DepthEstimator(TorchEager(tiny_network(), CPU, 'fp32'), tiny_info())
    estimator = unsure()
    expected = plain.infer(RGB)
    np.testing.assert_array_equal(estimator.infer(RGB), expected)
    depth, confidence = estimator.infer_with_confidence(RGB)
    np.testing.assert_array_equal(depth, expected)
    assert confidence.shape == depth.shape and confidence.dtype == np.float32
    assert 0 <= confidence.min() < confidence.max() <= 1


def test_the_bundled_depth_is_bit_for_bit_that_without_its_head():
    bundled = load_weights()
    assert bundled.info.gives_confidence
    alone = depth_alone(bundled)
    assert not alone.info.gives_confidence
    plain = DepthEstimator(TorchEager(alone.network, CPU, 'fp32'), alone.info)
    estimator = DepthEstimator(TorchEager(bundled.network, CPU, 'fp32'), bundled.info)
    expected = plain.infer(RGB)
    np.testing.assert_array_equal(estimator.infer(RGB), expected)
    np.testing.assert_array_equal(estimator.infer_with_confidence(RGB)[0], expected)


def test_confidence_is_the_probability_of_a_depth_within_a_quarter():
    network = unsure_network()
    image = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        depth, log_scale = network.with_uncertainty(image)
        assert torch.equal(depth, network(image)) and log_scale.shape == (1, 1, 12, 16)
        # A constant scale: half of a Laplace distribution lies within its scale times log 2.
        last = network.uncertainty.mix[-1]
        last.weight.zero_()
        last.bias.fill_(math.log(math.log(1.25) / math.log(2)))
    _, confidence = unsure(TorchEager(network, CPU, 'fp32')).infer_with_confidence(RGB)
    np.testing.assert_allclose(confidence, 0.5, atol=1e-6)


def test_a_network_without_a_head_says_so():
    estimator = DepthEstimator(TorchEager(tiny_network(), CPU, 'fp32'), tiny_info())
    for ask in (estimator.infer_with_confidence, lambda rgb: estimator.estimate(rgb, None, True)):
        with pytest.raises(ValueError, match='tiny gives no confidence'):
            ask(RGB)
    with pytest.raises(ValueError, match='tiny gives no confidence'):
        estimator.prepare_confidence()
    assert estimator.estimate(RGB).confidence is None


def test_a_weights_file_without_the_head_that_its_header_promises_is_refused(tmp_path):
    path = tmp_path / 'half.safetensors'
    save_weights(path, tiny_network(), unsure_info())
    with pytest.raises(WeightsError, match='uncertainty'):
        load_weights(path)
    save_weights(path, unsure_network(), unsure_info())
    assert load_weights(path).info.gives_confidence


def test_a_shared_network_gives_it_to_the_user_who_asks():
    shares = SharedNetworks(lambda *_: unsure())
    front = shares.loader('front')('', 'cpu', 'fp32')
    front.prepare_confidence()
    assert front.estimate(RGB).confidence is None
    assert front.estimate(RGB, None, confidence=True).confidence.shape == (60, 80)


def test_tensors_give_tensors_with_the_same_numbers():
    estimator = unsure()
    depth, confidence = estimator.infer_with_confidence(RGB)
    found = estimator.estimate(torch.from_numpy(RGB), None, confidence=True)
    assert isinstance(found.confidence, torch.Tensor)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-5)
    np.testing.assert_allclose(found.depth, depth, rtol=1e-4)


@openvino_only
def test_openvino_compiles_the_second_output_only_when_it_is_asked_for():
    backend = OpenVino(unsure_network(), 'fp32')
    estimator = unsure(backend)
    depth = estimator.infer(RGB)
    assert estimator._with_confidence is None, 'nothing for those who do not ask'
    found, confidence = estimator.infer_with_confidence(RGB)
    expected_depth, expected = unsure().infer_with_confidence(RGB)
    np.testing.assert_allclose(found, expected_depth, rtol=1e-3)
    np.testing.assert_allclose(confidence, expected, atol=1e-3)
    np.testing.assert_allclose(found, depth, rtol=1e-4)
    assert backend._requests.keys() == {(48, 64)}
    assert estimator._with_confidence._requests.keys() == {(48, 64)}


@openvino_only
def test_until_it_is_compiled_depth_goes_on_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    # At the usual priority: on a busy machine an idle one would never have its turn.
    monkeypatch.setattr(openvino_apart, 'TRIES', openvino_apart.AT_ONCE)
    weights = tmp_path / 'unsure.safetensors'
    save_weights(weights, unsure_network(), unsure_info())
    estimator = DepthEstimator.load(weights, 'cpu', 'fp32', 'openvino', compile_beside=True)
    first = estimator.estimate(RGB, None, confidence=True, wait=False)
    assert first.confidence is None and first.depth.shape == (60, 80)
    assert any('compiling for 80x60 with confidence' in remark for remark in estimator.remarks)
    wait_until(lambda: not estimator.remarks, 600, 'the second output to be compiled')
    assert estimator.estimate(RGB, None, confidence=True, wait=False).confidence is not None
    kept = sorted(path.name for path in (tmp_path / 'depth_perception/openvino').glob('*.blob'))
    assert len(kept) == 2 and 'fp32_confidence' in kept[1]
    # The next start reads what is kept, and whoever needs a mask waits for it.
    again = DepthEstimator.load(weights, 'cpu', 'fp32', 'openvino', compile_beside=True)
    again.prepare_confidence()
    assert again.estimate(RGB, None, confidence=True, wait=False).confidence is not None
