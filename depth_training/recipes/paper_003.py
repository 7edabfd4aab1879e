# SPDX-License-Identifier: Apache-2.0
"""Paper 003 (Harsanyi et al. 2018): hybrid ResNet-UNet, and its parent without skips."""

from __future__ import annotations

from dataclasses import replace

from depth_training.recipes.recipe import Recipe
from depth_training.recipes.schedule import Drops

_HYBRID = Recipe(
    name='paper_003',
    title='hybrid ResNet-UNet',
    network='resnet_unet_hybrid',
    # The decoder starts at N(0, small), biases at 0: 0.01 in the code, 0.001 in the paper.
    network_arguments={'decoder_init_std': 0.01, 'head_bias': 0.0},
    augment='paper_003',  # zoom, rotate, crop, gains, flip (paper 003, section 4.2)
    height=256,
    width=320,  # paper 003
    test_height=256,
    test_width=320,  # paper 003
    test_geometry='harsanyi',  # paper 003: the centre of the frame at 352x264
    loss='berhu',  # paper 003: c = max |d| / 5 of the batch
    optimizer='sgd',  # paper 003
    learning_rate=1e-2,  # paper 003
    momentum=0.9,  # paper 003
    weight_decay=2.5e-4,  # paper 003, on every layer
    batch=16,  # paper 003
    epochs=30,  # paper 003: 25 to 30
    # Paper 003: halved after epoch 10, 1e-3 for the last 5 to 10 of 25 to 30: from epoch 20 on.
    schedule=Drops(((10, 0.5), (20, 0.1))),
    pairs=48_000,  # paper 003: about 48 k, equally spaced
    truth='raw',  # paper 003: raw training scenes, holes left out
    protocol='harsanyi',  # paper 003
)

RECIPES = (
    _HYBRID,
    replace(
        _HYBRID,
        name='paper_003_laina',
        title='its parent without skips (Laina et al.)',
        network='cnn_residual',
        network_arguments={'unpooling': 'fast', 'decoder_init_std': 0.01, 'head_bias': 0.0},
    ),
)
