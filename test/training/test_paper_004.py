# SPDX-License-Identifier: Apache-2.0
"""DenseDepth as trained by its authors: target, mask, plateau, and a head in full precision."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from depth_perception.networks import create_network, network_names
from depth_training.augment import pipelines as augment
from depth_training.data import Sample, open_dataset
from depth_training.losses import losses
from depth_training.recipes import RECIPES
from depth_training.recipes.schedule import Place
from depth_training.train import build, mixed_precision
from depth_training.train.training_data import ToTensors, reduce_depth
from test.support import layouts

RECIPE = RECIPES['paper_004']
CPU = torch.device('cpu')


def keras_plateau(scores: list[float]) -> float:
    """Keras's ReduceLROnPlateau(factor=0.7, patience=5, min_lr=9e-5, min_delta=1e-2) at 1e-4."""
    rate, best, wait = 1e-4, np.inf, 0
    for score in scores:
        if np.less(score, best - 1e-2):
            best, wait = score, 0
        else:
            wait += 1
            if wait >= 5:
                rate, wait = max(rate * 0.7, 9e-5), 0
    return rate


@pytest.mark.parametrize('fall', [0.0, 0.003, 0.009, 0.011, 0.02])
def test_the_plateau_has_the_authors_margin(fall):
    """Losses that keep falling by less than 0.01 per epoch do not count as improvements."""
    scores = [1 - fall * epoch for epoch in range(20)]
    for done in range(21):
        rate = 1e-4 * RECIPE.schedule.factor(Place(0, 1, scores[:done]))
        assert rate == pytest.approx(keras_plateau(scores[:done]))


def authors_target(eight_bits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """data.py: 1000 / depth in centimetres, then an anti-aliased resize."""
    centimetres = np.clip(eight_bits / 255 * 1000, 0, 1000)
    target = torch.from_numpy(1000 / centimetres)[None, None]
    return torch.nn.functional.interpolate(target, size, mode='bilinear', antialias=True)[
        0, 0
    ].numpy()


def test_the_target_is_the_reciprocal_then_resized():
    rng = np.random.default_rng(0)
    stored = rng.integers(26, 256, (48, 64)).astype(np.uint8)
    stored[:, :20] = 255  # 10 m
    depth = stored.astype(np.float32) * np.float32(10 / 255)
    sample = Sample(np.zeros((48, 64, 3), np.uint8), depth, 'made')
    batch = ToTensors(RECIPE.mean, RECIPE.std, (24, 32), RECIPE.reduce)(sample)
    target = losses.reciprocal(batch.depth)[0].numpy()
    np.testing.assert_allclose(target, authors_target(stored, (24, 32)), rtol=1e-4)
    # At 10 m the target is 1, and it is learnt.
    known = build.to_learn(RECIPE, batch.depth[None])
    assert known.all() and (target[:, :9] == pytest.approx(1))


def test_holes_are_not_learnt_and_do_not_spread():
    depth = torch.full((1, 1, 16, 16), 4.0)
    depth[..., :4, :] = 0
    reduced = reduce_depth(depth, (8, 8), 'reciprocal_mean')
    known = build.to_learn(RECIPE, reduced)
    assert not known[..., 0, :].any() and known[..., 3:, :].all()
    torch.testing.assert_close(reduced[known], torch.full_like(reduced[known], 4.0))


def test_the_training_data_of_the_zip_is_learnt_whole(tmp_path):
    folder = layouts.densedepth(tmp_path / 'files')
    for file in (folder / 'data/nyu2_train').glob('*_depth.png'):
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        depth[:24] = 255
        layouts.write(file, layouts.encode('.png', depth))
    sample = open_dataset(folder, 'train')[0]
    small = dataclasses.replace(RECIPE, height=48, width=64)
    pipeline = augment.paper_004(small.height, small.width)
    sample = pipeline(sample, np.random.default_rng(0))
    batch = ToTensors(small.mean, small.std, (24, 32), small.reduce)(sample)
    assert batch.depth.max() == pytest.approx(10)
    assert build.to_learn(small, batch.depth[None]).all()
    assert not losses.valid_mask(batch.depth).all()  # the other recipes mask it


#: One network for each kind of head; ResNet U-Nets have that of the residual CNN.
NETWORKS = ('cnn', 'cnn_fc', 'cnn_residual', 'cnn_transpose', 'densedepth', 'efficientnet_sff')


@pytest.mark.parametrize('name', NETWORKS)
def test_every_network_puts_out_full_precision_under_bf16(name):
    torch.manual_seed(0)
    network = create_network(name).eval()
    torch.nn.init.ones_(mixed_precision.last_layer(network).bias)  # so that no output is 0 by ReLU
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        assert network(image).dtype == torch.bfloat16
        mixed_precision.prepare(network, 'bf16', CPU)
        output = network(image)
    assert output.dtype == torch.float32
    assert (output != output.bfloat16().float()).float().mean() > 0.9


@pytest.mark.parametrize('name', [name for name in network_names() if name != 'two_numbers'])
def test_the_last_layer_of_every_network_is_known(name):
    with torch.device('meta'):
        layer = mixed_precision.last_layer(create_network(name))
    assert getattr(layer, 'out_channels', 1) == 1
    assert getattr(layer, 'out_features', 55 * 74) == 55 * 74
