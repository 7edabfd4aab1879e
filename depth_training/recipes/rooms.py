# SPDX-License-Identifier: Apache-2.0
"""Compare networks on rendered rooms with the same small budget; not results of the papers.

Same images, order, augmentation, steps, optimizer and schedule; network and loss are the papers'.
"""

from __future__ import annotations

from dataclasses import replace

from depth_training.recipes.recipe import Recipe
from depth_training.recipes.schedule import OneCycle

_SFF = Recipe(
    name='rooms_efficientnet_sff',
    title='EfficientNet-Lite2 + SFF on rooms, small budget',
    network='efficientnet_sff',
    network_arguments={'encoder': 'tf_efficientnet_lite2', 'max_depth': 10.0},
    augment='paper_000',  # zoom, rotate, crop, flip, colours: the papers' strongest
    height=128,
    width=160,  # a CPU trains it in minutes
    test_height=128,
    test_width=160,
    test_geometry='centre_crop',  # the scale of the training images
    loss='silog',
    loss_arguments={'lam': 0.5, 'base': '10', 'root': False},  # paper 001, eq. 5
    optimizer='adam',
    learning_rate=5e-4,
    schedule=OneCycle(0.2, 25, 100),
    clip_gradient=1.0,
    batch=8,
    epochs=20,
    truth='raw',
    protocol='plain',
    pretrained=False,
)

RECIPES = (
    _SFF,
    replace(
        _SFF,
        name='rooms_resnet_unet_hybrid',
        title='hybrid ResNet-UNet on rooms, small budget',
        network='resnet_unet_hybrid',
        network_arguments={'decoder_init_std': 0.01},
        loss='berhu',
        loss_arguments={},
    ),  # paper 003
    replace(
        _SFF,
        name='rooms_cnn_residual',
        title='CNN + residual on rooms, small budget',
        network='cnn_residual',
        network_arguments={'unpooling': 'zero'},
        loss='mse',
        loss_arguments={},
    ),  # paper 002
)
