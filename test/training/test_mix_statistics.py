# SPDX-License-Identifier: Apache-2.0
"""Batch-norm statistics of real images mixed into a network."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_perception.io.weights import load_weights, save_weights
from depth_training.convert import mix_statistics
from test.support.weights import tiny_info, tiny_network


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    save_weights(path, tiny_network(), tiny_info())
    return path


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('pictures')
    (folder / 'inside').mkdir()
    rng = np.random.default_rng(0)
    for number, name in enumerate(('a.jpg', 'b.png', 'inside/c.JPG')):
        smooth = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (80, 60 + number))
        cv2.imwrite(str(folder / name), smooth)
    return folder


def network_and_images(weights: Path, pictures: Path):
    loaded = load_weights(weights)
    files = mix_statistics.image_files(pictures)
    return loaded, [mix_statistics.prepared(file, loaded.info) for file in files]


def test_statistics_are_those_of_training_mode(weights, pictures):
    """An oracle: PyTorch's own running statistics of the first layer, with momentum 1."""
    loaded, images = network_and_images(weights, pictures)
    images = [image[..., :48, :64] for image in images]
    name, (mean, variance) = next(iter(mix_statistics.statistics(loaded.network, images).items()))
    layer = loaded.network.get_submodule(name)
    layer.train()
    layer.momentum = 1.0
    with torch.no_grad():
        loaded.network(torch.cat(images))
    torch.testing.assert_close(mean, layer.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, layer.running_var, rtol=1e-2, atol=1e-5)


def test_the_share_decides_and_the_scale_stays(weights, pictures):
    before, images = network_and_images(weights, pictures)
    found = mix_statistics.statistics(before.network, images)
    name, (mean, variance) = next(iter(found.items()))
    after = mix_statistics.mix(load_weights(weights), images, 0.25)
    old, new = (loaded.network.get_submodule(name) for loaded in (before, after))
    torch.testing.assert_close(new.running_mean, 0.75 * old.running_mean + 0.25 * mean)
    torch.testing.assert_close(new.running_var, 0.75 * old.running_var + 0.25 * variance)
    with torch.no_grad():
        depths = [[loaded.network(image) for image in images] for loaded in (before, after)]
    assert not torch.allclose(depths[0][0], depths[1][0], rtol=1e-4)
    scales = [sum(depth.log().mean().item() for depth in row) / len(row) for row in depths]
    assert scales[0] == pytest.approx(scales[1], abs=1e-4)


def test_nothing_changes_at_a_share_of_0(weights, pictures):
    loaded, images = network_and_images(weights, pictures)
    state = mix_statistics.mix(loaded, images, 0.0).network.state_dict()
    for name, tensor in load_weights(weights).network.state_dict().items():
        torch.testing.assert_close(state[name], tensor)


def test_the_command(weights, pictures, tmp_path, capsys):
    out = tmp_path / 'mixed.safetensors'
    assert mix_statistics.main([str(weights), str(pictures), '--out', str(out), '--half']) == 0
    assert '3 images' in capsys.readouterr().err
    info = load_weights(out).info
    assert '30 % of the batch-norm statistics of 3 real images' in info.recipe
    assert not info.scores


def test_what_is_wrong_is_said(weights, pictures, tmp_path, capsys):
    out = tmp_path / 'mixed.safetensors'
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / 'a.jpg').write_bytes(b'no image')
    for folder, share, text in (
        (tmp_path / 'empty', '0.3', 'contains no images'),
        (tmp_path / 'bad', '0.3', 'damaged or not an image'),
        (pictures, '1.5', 'the share is 1.5'),
    ):
        assert (
            mix_statistics.main([str(weights), str(folder), '--share', share, '--out', str(out)])
            == 1
        )
        assert text in capsys.readouterr().err
    assert not out.exists()
