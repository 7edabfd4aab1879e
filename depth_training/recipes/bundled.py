# SPDX-License-Identifier: Apache-2.0
"""The network shipped with the package: EfficientNet-Lite2 + SFF for any camera.

Depth is learnt as one canonical camera would see it (Metric3D, Yin et al. 2023, section 3.1); the
estimator converts it back with the camera's own focal length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from depth_training.recipes.recipe import Recipe
from depth_training.recipes.schedule import OneCycle

_WIDTH = 320

_BUNDLED = Recipe(
    name='bundled',
    title='EfficientNet-Lite2 + SFF, the network that comes with the package',
    network='efficientnet_sff',
    network_arguments={'encoder': 'tf_efficientnet_lite2', 'max_depth': 10.0},
    augment='bundled',
    augment_arguments={'with_cut_depth': False},  # no benefit (docs/notes/bundled_network.md)
    height=240,
    width=_WIDTH,
    test_height=240,
    test_width=_WIDTH,
    test_geometry='squeeze',  # the whole frame; the focal length corrects its scale
    focal=0.81 * _WIDTH,  # 63 degrees: NYU's camera, and many webcams
    loss='silog_gradient',
    loss_arguments={'lam': 0.5, 'gradient_weight': 0.5, 'ssim_weight': 0.0},
    optimizer='adamw',
    learning_rate=1e-3,
    encoder_factor=0.25,  # keeps more of what it learnt from real images
    weight_decay=1e-2,
    schedule=OneCycle(0.1, 25, 1e4),
    clip_gradient=1.0,
    batch=8,
    epochs=1,  # the number of steps decides instead
    steps=3200,
    average=0.998,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),  # EfficientNet-Lite's own
    truth='raw',
    protocol='plain',
)

#: Second stage of training, from the weights of the first (`--start-from`).
_SECOND = replace(
    _BUNDLED,
    name='bundled_abs_rel',
    title='the bundled network, second part: by relative error',
    loss='abs_rel_gradient',
    loss_arguments={'gradient_weight': 0.5},
    freeze_batch_norm=0.0,  # images of a batch no longer affect each other's scale
    learning_rate=7e-4,
    batch=16,
    steps=2200,
)

#: Fourth stage: the network of the third, whose decoder has more layers than that of the second
#: (initialised as an identity), on full-size images.
_REFINED = replace(
    _SECOND,
    name='bundled_refined',
    title='the bundled network, fourth part: full size',
    network_arguments={**_BUNDLED.network_arguments, 'refined': True},
    loss_arguments={'gradient_weight': 0.5, 'ssim_weight': 0.5},
    learning_rate=4e-4,
    steps=1300,
)

#: Smaller images with the same view: the input of the shipped network.
_SMALL_PICTURES: dict[str, Any] = {
    'height': 192,
    'width': 256,
    'test_height': 192,
    'test_width': 256,
    'focal': 0.81 * 256,
}

#: Third stage: the refined decoder on smaller images with the same view, which take two thirds of
#: the time.
_SMALL = replace(
    _REFINED,
    name='bundled_small',
    title='the bundled network, third part: refined decoder, small pictures',
    **_SMALL_PICTURES,
    learning_rate=7e-4,
    steps=3000,
)

#: Fifth stage: more rooms, and flat patches whose edges are not depth edges.
_DECALS = replace(
    _REFINED,
    name='bundled_decals',
    title='the bundled network, fifth part: more rooms, decals',
    augment_arguments={**_BUNDLED.augment_arguments, 'decal_probability': 0.35},
    learning_rate=5e-4,
    steps=2700,
)

#: From views packed by `scripts/pack_rooms` (`depth_training.train.packed`): on one CPU thread,
#: from the shipped weights, at full size.
_CONTINUED = replace(
    _REFINED,
    name='bundled_continued',
    title='the bundled network, trained further on more rooms, full size',
    loss_arguments={'gradient_weight': 0.5, 'ssim_weight': 0.5, 'scale_weight': 0.2},
    learning_rate=3e-4,
    batch=16,
    steps=3000,
    average=0.998,
    test_geometry='canonical',
)  # its augmentation converts every camera to one focal length

#: The same at the size of the shipped network, in half the time: its last parts.
_CONTINUED_SMALL = replace(
    _CONTINUED,
    name='bundled_continued_small',
    title='the bundled network, trained further on more rooms',
    **_SMALL_PICTURES,
    learning_rate=5e-4,
)

#: The same on a GPU.
_PACKED = replace(
    _CONTINUED_SMALL,
    name='bundled_packed',
    title='the bundled network, on a GPU: a million pictures',
    batch=64,
    steps=12000,
    average=0.999,
)

#: For users' own pairs, from the shipped weights (docs/own_data.md), at their size: a network at
#: another size has another scale.
_FINETUNE = replace(
    _REFINED,
    name='finetune',
    title='the bundled network, trained further on your own pairs',
    **_SMALL_PICTURES,
    learning_rate=2e-4,
    batch=8,
    steps=600,
)

#: Candidates: compare them on held-out rooms before making one the default.
_VARIANTS = (
    replace(
        _BUNDLED,
        name='bundled_cut_depth',
        title='the bundled network, with CutDepth',
        augment_arguments={'with_cut_depth': True},
    ),
    replace(
        _BUNDLED,
        name='bundled_swap',
        title='the bundled network, with channels swapped',
        augment_arguments={**_BUNDLED.augment_arguments, 'swap_probability': 0.5},
    ),
    replace(
        _BUNDLED,
        name='bundled_ssim',
        title='the bundled network, with an SSIM term',
        loss_arguments={**_BUNDLED.loss_arguments, 'ssim_weight': 0.5},
    ),
    replace(
        _SECOND,
        name='bundled_abs_rel_ssim',
        title='the second part, with an SSIM term',
        loss_arguments={'gradient_weight': 0.5, 'ssim_weight': 0.5},
    ),
    replace(
        _BUNDLED,
        name='bundled_log_l1',
        title='the bundled network, by the absolute log error',
        loss='log_l1_gradient',
        loss_arguments={'gradient_weight': 0.5},
    ),
)

RECIPES = (
    _BUNDLED,
    _SECOND,
    _SMALL,
    _REFINED,
    _DECALS,
    _PACKED,
    _CONTINUED_SMALL,
    _CONTINUED,
    _FINETUNE,
    *_VARIANTS,
)
