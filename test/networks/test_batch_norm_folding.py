# SPDX-License-Identifier: Apache-2.0
"""Folding BatchNorms into convolutions changes no output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from depth_perception.networks import create_network, network_names
from depth_perception.networks.batch_norm_folding import fold_batch_norms

#: BatchNorms that cannot be folded. In DenseNet-169 those at the start of 82 layers and 3
#: transitions and the final one do not follow a convolution; the last one of `cnn_transpose`
#: follows a transposed convolution.
UNFOLDED = {'densedepth': 82 + 3 + 1, 'cnn_transpose': 1}


def count(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def trained(network: nn.Module) -> nn.Module:
    """Give all BatchNorms random statistics and weights, as if the network were trained."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_var, module.weight.data):
                values.uniform_(0.5, 1.5)
            for values in (module.running_mean, module.bias.data):
                values.uniform_(-0.1, 0.1)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize('name', network_names())
def test_every_network_gives_the_same_with_folded_norms(name):
    network = trained(create_network(name))
    folded = fold_batch_norms(network)
    image = torch.rand(1, 3, 60, 90)
    expected = network(image)
    assert (folded(image) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert count(network) > count(folded) == UNFOLDED.get(name, 0)


class PreActivated(nn.Module):
    """A network that also uses a convolution's output before its BatchNorm."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, image):
        features = self.convolution(image)
        return features + self.norm(features)


def test_network_that_cannot_be_folded_is_returned_unchanged():
    network = trained(PreActivated())
    assert fold_batch_norms(network) is network
