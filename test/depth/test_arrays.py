"""Depth of NumPy arrays needs no PyTorch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from depth_perception.depth import arrays

PRODUCTS = """
import sys
import numpy as np
from depth_perception import (
    Anchors, CameraModel, CameraPose, DepthSettings, ProductMaker, floor_anchors)
camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
below = np.maximum(np.arange(240) - 119.5, 1e-3)[:, None]
depth = (np.minimum(260.0 * 0.3 / below, 4.0) * np.ones((240, 320))).astype(np.float32)
rgb = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
settings = DepthSettings(temporal_smoothing=0.5, camera_height=0.3, depth_scale=1.2)
make = ProductMaker(10.0)
for time in (0.0, 0.1):
    products = make(rgb, camera, depth, settings, time=time, unseen=depth > 3.9)
    anchors = floor_anchors(products.metric, camera, CameraPose(height=0.3))
    products, _ = make.anchored(products, anchors, time)
    assert products.depth.shape == (240, 320) and products.cloud.shape == (120, 160, 4)
    assert products.scan().ranges.ndim == 1 and products.preview().any()
print(len(anchors), 'torch' in sys.modules)
"""


def test_products_of_an_array_are_computed_without_importing_torch():
    run = subprocess.run(
        [sys.executable, '-c', PRODUCTS], capture_output=True, text=True, timeout=120
    )
    count, has_torch = run.stdout.split() or (run.stderr, '')
    assert int(count) > 10 and has_torch == 'False'


@pytest.mark.parametrize('array', [np.zeros((2, 3), np.float32), torch.zeros(2, 3)])
def test_an_array_is_converted_to_the_kind_of_another(array):
    picture = np.arange(3, dtype=np.float32)
    picture.flags.writeable = False
    converted = arrays.like(picture, array)
    assert type(converted) is type(array) and arrays.on_host(converted).tolist() == [0, 1, 2]
    assert arrays.namespace(array).zeros(1).shape == (1,)
    assert arrays.is_tensor(array) == isinstance(array, torch.Tensor)
