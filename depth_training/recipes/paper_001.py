# SPDX-License-Identifier: Apache-2.0
"""Paper 001 (Zhou et al. 2023): EfficientNet-B2 + SFF + perceptual loss, and its ablations.

Models 1 to 5 are the rows of its ablation table; model 5 is the paper's result.
"""

from __future__ import annotations

from dataclasses import replace

from depth_training.recipes.recipe import Recipe
from depth_training.recipes.schedule import OneCycle

_FULL = Recipe(
    name='paper_001_m5',
    title='SU-Net with CutDepth and loss network (the result)',
    network='efficientnet_sff',
    network_arguments={'encoder': 'efficientnet_b2', 'max_depth': 10.0},
    augment='paper_001',  # flip, crop, colours, CutDepth (paper 001; GLPDepth's values)
    augment_arguments={'with_cut_depth': True},
    height=448,
    width=576,  # chosen: GLPDepth's crop of 480x640
    test_height=480,
    test_width=640,  # paper 001
    test_geometry='squeeze',  # the whole frame, at its original scale
    loss='silog',  # paper 001, eq. 5: base 10, lambda 0.5, no root
    loss_arguments={'lam': 0.5, 'base': '10', 'root': False},
    perceptual_weight=0.5,  # paper 001: L = L_si + 0.5 L_p
    optimizer='adam',  # paper 001: betas 0.9, 0.999, so momentum does not cycle
    learning_rate=3.57e-4,  # chosen: AdaBins'
    schedule=OneCycle(0.3, 25, 100),  # OneCycleLR (paper 001); its numbers are AdaBins'
    clip_gradient=0.1,  # chosen: AdaBins'
    batch=8,  # paper 001
    epochs=30,  # paper 001
    truth='raw',  # BTS and GLPDepth's 24,231 pairs
    protocol='eigen_bts',  # paper 001, after GLPDepth
    averaging='pixels',  # paper 001: N is all pixels of the test set; GLPDepth: images
)
_WITHOUT_CUT_DEPTH = {'with_cut_depth': False}
_U_NET = replace(_FULL, network='efficientnet_unet', perceptual_weight=0.0)
_SU_NET = replace(_FULL, perceptual_weight=0.0)

RECIPES = (
    replace(_U_NET, name='paper_001_m1', title='plain U-Net', augment_arguments=_WITHOUT_CUT_DEPTH),
    replace(_U_NET, name='paper_001_m2', title='plain U-Net with CutDepth'),
    replace(_SU_NET, name='paper_001_m3', title='SU-Net', augment_arguments=_WITHOUT_CUT_DEPTH),
    replace(_SU_NET, name='paper_001_m4', title='SU-Net with CutDepth'),
    _FULL,
)
