# SPDX-License-Identifier: Apache-2.0
"""Depth Anything V2 Small at full size, and each family in half precision.

DEPTH_PERCEPTION_TEST_FULL_SIZE=1 asks for what takes minutes.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.imported import depth_anything_small
from depth_perception.cli.main import main
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import load_weights, save_weights
from test.io.test_hugging_face import by_transformers, no_network
from test.support.hugging_face import FAMILIES, transformers, write

__all__ = ['no_network']
PICTURE = Path(__file__).parents[2] / 'docs/images/anchors.jpg'
at_full_size = pytest.mark.skipif(
    os.environ.get('DEPTH_PERCEPTION_TEST_FULL_SIZE') != '1',
    reason='takes minutes: DEPTH_PERCEPTION_TEST_FULL_SIZE=1',
)


def picture(height, width):
    """A real picture at a size, RGB."""
    whole = cv2.imread(str(PICTURE))[:240, :320, ::-1]
    return np.ascontiguousarray(cv2.resize(whole, (width, height)))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """The folder of the full-size network, and its weights file."""
    folder = depth_anything_small(tmp_path_factory.mktemp('full') / 'network')
    file = folder.parent / 'imported.safetensors'
    assert main(['import-model', str(folder), '--out', str(file)]) == 0
    return folder, file


def test_depth_anything_v2_small_has_its_published_number_of_parameters(whole):
    network = transformers.AutoModelForDepthEstimation.from_pretrained(whole[0])
    assert network.num_parameters() == 24_785_089


def test_the_depth_at_full_size_is_that_of_transformers(whole, no_network):
    (folder, file), size = whole, (97, 131)
    expected = by_transformers(folder, picture(*size))
    assert np.ptp(expected) > 0.1 * abs(expected).max()
    found = DepthEstimator.load(file, 'cpu', 'fp32', 'torch').infer(picture(*size))
    assert abs(found - expected).max() <= 1e-4 * abs(expected).max()


@at_full_size
def test_openvino_at_full_size_is_near_in_half_precision(whole):
    pytest.importorskip('openvino')
    folder, file = whole
    expected = by_transformers(folder, picture(240, 320))
    found = DepthEstimator.load(file, 'cpu', 'fp16', 'openvino').infer(picture(240, 320))
    assert abs(found - expected).max() <= 2e-2 * abs(expected).max()


def test_the_full_size_file_is_read_bit_for_bit(whole, tmp_path, no_network):
    folder, file = whole
    loaded = load_weights(file)
    origin = transformers.AutoModelForDepthEstimation.from_pretrained(folder).state_dict()
    tensors = loaded.network.model.state_dict()
    assert tensors.keys() == origin.keys()
    assert all(torch.equal(tensors[name], value) for name, value in origin.items())
    again = save_weights(tmp_path / 'again.safetensors', loaded.network, loaded.info)
    assert again == loaded.checksum


@at_full_size
@pytest.mark.parametrize('family', [name for name in FAMILIES if name != 'zoedepth_two_heads'])
def test_openvino_in_half_precision_is_near_for_each_family(family, tmp_path):
    pytest.importorskip('openvino')
    folder, file = write(family, tmp_path / 'net'), tmp_path / 'imported.safetensors'
    assert main(['import-model', str(folder), '--out', str(file)]) == 0
    expected = by_transformers(folder, picture(97, 131))
    found = DepthEstimator.load(file, 'cpu', 'fp16', 'openvino').infer(picture(97, 131))
    # On average: a small network with random weights has steps that rounding moves.
    assert abs(found - expected).mean() <= 2e-2 * abs(expected).max()
