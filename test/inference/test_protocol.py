# SPDX-License-Identifier: Apache-2.0
"""Whatever turns images into depth has the interface `Estimator`, and returns all it knows."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth.arrays import on_host
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimate, Estimator
from depth_perception.inference.sharing import SharedNetworks
from test.support.estimators import INFO, StandIn
from test.support.waiting import wait_until
from test.support.weights import tiny_info, tiny_network

CPU = torch.device('cpu')
IMAGE = np.zeros((60, 80, 3), np.uint8)
CAMERA = CameraModel(80, 60, 128.0, 128.0, 39.5, 29.5)


def real() -> Estimator:
    return DepthEstimator(TorchEager(tiny_network(), CPU, 'fp32'), tiny_info())


def shared() -> Estimator:
    return SharedNetworks(lambda *_: real()).loader('front')('', 'cpu', 'fp32')


def recorded() -> Estimator:
    clip = pytest.importorskip('benchmarks.clip', reason='the clip needs ROS 2')
    return clip.Recorded([torch.full((60, 80), 2.0)], INFO)


@pytest.mark.parametrize('make', [real, shared, recorded, StandIn])
def test_every_estimator_has_the_interface(make):
    estimator = make()
    for name, member in inspect.getmembers_static(Estimator):
        if name.startswith('_'):
            continue
        assert hasattr(estimator, name), name
        if inspect.isfunction(member):
            wanted = list(inspect.signature(member).parameters)[1:]
            assert list(inspect.signature(getattr(estimator, name)).parameters) == wanted
    estimator.prepare([(60, 80)])
    estimate = estimator.estimate(IMAGE, CAMERA)
    assert isinstance(estimate, Estimate) and estimate.depth.shape == (60, 80)
    assert on_host(estimate.depth).dtype == np.float32 and str(estimator.device) == 'cpu'
    assert (estimator.sharing is None) == (make is not shared)


def test_an_estimate_has_the_networks_time_and_the_focal_factor():
    estimator = real()
    estimate = estimator.estimate(IMAGE, CAMERA)
    assert estimate.network_seconds > 0
    assert estimate.focal_factor == pytest.approx(estimator.focal_factor(CAMERA))
    assert estimator.estimate(IMAGE).focal_factor == 1
    assert np.array_equal(estimate.depth, estimator.infer(IMAGE, CAMERA))


def test_users_of_one_network_have_each_their_own_seconds(monkeypatch):
    """What a network leaves behind on itself is the next user's before the first one reads it."""
    calls = iter((0.25, 0.75))
    network, gate = StandIn(), threading.Event()

    def estimate(rgb, camera=None):
        seconds = next(calls)
        gate.wait(30)
        return Estimate(torch.zeros(rgb.shape[:2]), seconds, seconds)

    monkeypatch.setattr(network, 'estimate', estimate)
    networks, found = SharedNetworks(lambda *_: network), {}
    shares = {name: networks.loader(name)('', 'cpu', 'fp32') for name in ('front', 'rear')}
    threads = []
    for name, share in shares.items():
        threads.append(
            threading.Thread(
                target=lambda name=name, share=share: found.update({name: share.estimate(IMAGE)})
            )
        )
        threads[-1].start()
        wait_until(lambda: shares['front'].sharing.turn == 'front')
    wait_until(lambda: shares['rear']._network.turns._requests.qsize() == 1)
    gate.set()
    for thread in threads:
        thread.join(30)
    assert {name: estimate.network_seconds for name, estimate in found.items()} == {
        'front': 0.25,
        'rear': 0.75,
    }
