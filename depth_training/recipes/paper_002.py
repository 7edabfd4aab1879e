# SPDX-License-Identifier: Apache-2.0
"""Paper 002 (Tang & Pham): four networks, two kinds of unpooling, transfer versus random start.

Its text translates the CS231n 2017 report 203 of Ma, Geng and Bie.
"""

from __future__ import annotations

from dataclasses import replace

from depth_training.recipes.recipe import Recipe

_COMMON = Recipe(
    name='',
    title='',
    network='',
    augment='paper_002',  # chosen: Laina's half size, crop and flip
    augment_arguments={'mask_extremes': True},  # paper 002, section 3
    height=228,
    width=304,  # inferred: "10x8x2048" before FC is ResNet-50 at 304x228
    test_height=228,
    test_width=304,
    test_geometry='half_crop',  # chosen: the scale of its training images, as in Laina
    loss='mse',  # paper 002
    holes='as_zero',  # inferred: its AbsRel of 1e6 counts holes as 0 m
    optimizer='adam',  # paper 002
    learning_rate=1e-4,  # paper 002
    weight_decay=1e-4,  # paper 002
    batch=32,  # paper 002
    epochs=20,  # paper 002
    truth='filled',  # inferred: 50,688 training images is DenseDepth's set
    protocol='plain',  # the paper names no protocol; --count-holes for its AbsRel
    pretrained=False,
    warning='as in the paper, unknown pixels are learnt as 0 m; --set holes=left_out leaves them '
    'out of the loss',
)
# "Random initialisation" in the paper is N(0, small): biases start at 0, also in the head.
_START = {'decoder_init_std': 0.01, 'head_bias': 0.0}
_RESIDUAL = replace(
    _COMMON,
    network='cnn_residual',
    pretrained=True,
    network_arguments={'unpooling': 'zero', **_START},
)
# The paper compares unpooling on 25 images for 120 epochs; a batch cannot exceed the images.
_UNPOOLING = replace(_RESIDUAL, pairs=25, epochs=120, batch=25)
# It compares transfer on 500 images for 20 epochs; both encoders start from ImageNet.
_TRANSFER = replace(_RESIDUAL, pairs=500)

RECIPES = (
    replace(_COMMON, name='paper_002_cnn_fc', network='cnn_fc', title='CNN + FC'),
    replace(
        _COMMON,
        name='paper_002_cnn',
        network='cnn',
        title='CNN',
        network_arguments={'head_bias': 0.0},
    ),
    replace(
        _COMMON,
        name='paper_002_cnn_transpose',
        network='cnn_transpose',
        title='CNN with a transposed convolution',
        network_arguments={'head_bias': 0.0},
    ),
    replace(_RESIDUAL, name='paper_002_cnn_residual', title='CNN + residual (up-projection)'),
    replace(_UNPOOLING, name='paper_002_unpool_zero', title='unpooling with zeros, 25 images'),
    replace(
        _UNPOOLING,
        name='paper_002_unpool_average',
        title='average unpooling, 25 images',
        network_arguments={'unpooling': 'average', **_START},
    ),
    replace(_TRANSFER, name='paper_002_random', title='decoder from random, 500 images'),
    # Start from a network trained on NYU: --start-from WEIGHTS of paper_002_cnn_residual.
    replace(_TRANSFER, name='paper_002_transfer', title='decoder from NYU, 500 images'),
)
