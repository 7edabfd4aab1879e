# SPDX-License-Identifier: Apache-2.0
"""Paper 000: ResNet-50 U-Net with fast up-projection on the 795 labelled pairs.

The paper omits input size, loss, batch, epochs and channel plan; "chosen" marks our choices.
"""

from __future__ import annotations

from depth_training.recipes.recipe import Recipe
from depth_training.recipes.schedule import StepDecay

RECIPES = (
    Recipe(
        name='paper_000',
        title='ResNet-50 U-Net, fast up-projection, plain concatenation',
        network='resnet_unet',
        # Chosen, as the paper gives neither: the head starts at the mean depth of rooms.
        network_arguments={'decoder_init_std': 0.01, 'head_bias': 2.7},
        augment='paper_000',  # rotate, rescale, crop, flip, colour jitter (paper 000)
        height=256,
        width=320,  # chosen: multiples of 32, so that every skip aligns
        test_height=256,
        test_width=320,  # chosen: as trained
        test_geometry='centre_crop',  # chosen: the scale of its training images
        loss='berhu',  # chosen: its parent's (Laina 2016); --loss l1, mse
        optimizer='adam',  # paper 000
        learning_rate=0.003,  # paper 000; high for a pretrained encoder
        weight_decay=1e-4,  # paper 000
        batch=8,  # chosen: its 6 GB GTX 1060
        views=6,  # paper 000: an epoch is about 5,000 augmented pairs
        epochs=20,  # chosen: four stages of the schedule
        schedule=StepDecay(5, 0.1),  # paper 000: x 0.1 every 5 epochs
        truth='filled',  # chosen: the labelled set's depths, as Laina
        protocol='plain',  # the paper names no protocol
        averaging='images',  # paper 000: T is the number of pixels of one image
        warning="the paper's learning rate, Adam at 0.003, is high for a pretrained encoder; if "
        'training fails, let the encoder learn more slowly with --encoder-factor 0.1',
    ),
)
