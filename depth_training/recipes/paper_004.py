# SPDX-License-Identifier: Apache-2.0
"""Paper 004 (Alhashim & Wonka 2018): DenseDepth, on NYU and on KITTI."""

from __future__ import annotations

from dataclasses import replace

from depth_training.recipes.recipe import UNIT, Recipe
from depth_training.recipes.schedule import Plateau

_NYU = Recipe(
    name='paper_004',
    title='DenseDepth, DenseNet-169',
    network='densedepth',
    augment='paper_004',  # flip; channels permuted in a quarter of the images (paper)
    augment_arguments={'swap_probability': 0.25},
    height=480,
    width=640,  # paper 004
    test_height=480,
    test_width=640,  # paper 004
    test_geometry='squeeze',  # paper 004: the whole frame
    mean=UNIT[0],
    std=UNIT[1],  # DenseDepth data.py: only RGB / 255
    output='reciprocal',  # paper 004, section 3.2: y = m / depth, m = 10 m
    min_depth=0.1,  # DenseDepth utils.py: depth is clipped to 0.1..10 m
    loss='densedepth',  # paper 004, eq. 1: SSIM + gradients + 0.1 L1
    loss_arguments={'l1_weight': 0.1},
    reduce='reciprocal_mean',  # DenseDepth data.py: reciprocal, then anti-aliased resize
    beyond='clipped',  # DenseDepth data.py: 255 is 10 m, also as a target
    optimizer='adam',  # paper 004
    amsgrad=True,  # DenseDepth train.py
    learning_rate=1e-4,  # paper 004
    # DenseDepth callbacks.py: ReduceLROnPlateau on the validation loss, 0.7, patience 5, at least
    # 9e-5, margin 1e-2.
    schedule=Plateau(drop=0.7, patience=5, smallest=0.9, margin=1e-2),
    batch=8,  # paper 004
    epochs=20,  # DenseDepth train.py; 20 x 50,688 = its "1 M iterations"
    truth='filled',  # paper 004: inpainted depth
    protocol='densedepth',  # paper 004
)

RECIPES = (
    _NYU,
    replace(
        _NYU,
        name='paper_004_kitti',
        title='DenseDepth, DenseNet-169, on KITTI',
        height=384,
        width=1280,  # paper 004, section 4: the network needs multiples of 32
        test_height=384,
        test_width=1280,
        # Chosen: KITTI's cameras differ by 2 % between days; depth is learnt as seen by the one
        # with the largest images, 721.5 pixels for 1242 columns.
        focal=721.5377 / 1242 * 1280,
        min_depth=0.8,  # chosen: y = m / depth is in 1..100, as on NYU
        max_depth=80.0,  # paper 004: limit of KITTI's depth, and m
        protocol='kitti_densedepth',
    ),
)
