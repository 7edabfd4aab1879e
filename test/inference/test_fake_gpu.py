# SPDX-License-Identifier: Apache-2.0
"""The way of a frame on a GPU, traced without one: no tensor is elsewhere, nothing waits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from benchmarks.network import NETWORKS, build
from depth_perception.camera.model import CameraModel
from depth_perception.depth import geometry
from depth_perception.depth.products import ProductMaker
from depth_perception.depth.settings import DepthSettings
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import load_weights
from test.support.fake_gpu import copies, fake_gpu

CAMERA = CameraModel(128, 96, 100.0, 100.0, 63.5, 47.5)
SIZE = (64, 96)
RGB = np.zeros((96, 128, 3), np.uint8)


@pytest.fixture
def gpu(monkeypatch) -> Iterator[torch.device]:
    with fake_gpu(monkeypatch) as device:
        yield device


@pytest.fixture(scope='module')
def bundled():
    return load_weights(None)


@pytest.mark.parametrize(
    'name, precision', [('default', 'fp32'), ('default', 'bf16'), *((n, 'fp16') for n in NETWORKS)]
)
def test_a_graph_can_record_every_network(bundled, gpu, name, precision):
    with unset_fake_temporarily():
        network = build(name).eval().requires_grad_(False)
    backend = TorchEager(network, gpu, precision)
    estimator = DepthEstimator(backend, bundled.info)
    runners = [backend, backend.with_confidence()] if name == 'default' else [backend]
    image = torch.zeros(RGB.shape, dtype=torch.uint8, device=gpu)
    factor = torch.ones((), device=gpu)
    for runner in runners:
        found = estimator._depth(image, factor, runner, SIZE, [])
        assert found.device == gpu and found.dtype == torch.float32
        assert found.shape[-2:] == RGB.shape[:2]
        assert not copies(lambda runner=runner: estimator._depth(image, factor, runner, SIZE, []))


def test_products_stay_on_the_gpu(gpu):
    settings = DepthSettings(
        depth_scale=1.1, min_confidence=0.3, camera_height=0.4, floor_model=True, point_stride=1
    )
    image = torch.zeros(RGB.shape, dtype=torch.uint8, device=gpu)
    depth = torch.ones(RGB.shape[:2], device=gpu)
    make, unseen = ProductMaker(10.0), np.zeros(RGB.shape[:2], bool)

    def products():
        made = make(RGB, CAMERA, depth, settings, image=image, unseen=unseen, confidence=depth)
        return made.depth, geometry.all_finite(depth), made.cloud, made.scan().ranges

    assert {part.device for part in products()} == {gpu}
    assert copies(products) == []


def test_an_operation_that_would_wait_or_mix_devices_is_found(gpu):
    values = torch.zeros(3, device=gpu)
    with pytest.raises(RuntimeError, match=r'different|same device|found at least two'):
        values + torch.zeros(3)
    for waits in (lambda: values.sum().item(), lambda: values[values > 0]):
        with pytest.raises(Exception, match=r'scalar_dense|nonzero|data-dependent|dynamic'):
            waits()
    assert copies(lambda: torch.zeros(3).to(gpu)) and copies(lambda: values.cpu())
