# SPDX-License-Identifier: Apache-2.0
"""The augmentations of each paper, and of the bundled network, as pipelines of small random steps.

The generator of a sample depends on seed, epoch and index alone: any number of workers, and a run
resumed in the middle of an epoch, see exactly the same images.
"""
from __future__ import annotations

import numpy as np

from depth_training.augment.camera_steps import (
    Blur,
    Exposure,
    FieldOfView,
    Jpeg,
    SensorNoise,
    Shake,
)
from depth_training.augment.decals import Decals
from depth_training.augment.steps import (
    BrightnessContrast,
    Cover,
    CutDepth,
    Flip,
    Gain,
    Gamma,
    HueSaturation,
    MaskBorder,
    MaskExtremes,
    Pipeline,
    RandomCrop,
    Rotate,
    Sometimes,
    Step,
    SwapChannels,
    Zoom,
)
from depth_training.data.transforms import Interpolation

#: What a recipe's `augment` may be: the functions below.
NAMES = ('paper_000', 'paper_001', 'paper_002', 'paper_003', 'paper_004', 'bundled')


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, index))


_FLIP = Sometimes(Flip(), 0.5)
_COLOUR = (Sometimes(BrightnessContrast(0.2, 0.2), 0.5), Sometimes(Gamma(0.8, 1.2), 0.5),
           Sometimes(HueSaturation(20, 30, 20), 0.5))


def paper_000(height: int = 256, width: int = 320) -> Pipeline:
    """Paper 000: rotation, rescaling, crop, flip, colour jitter; its ranges are not given.

    Ranges of paper 003 and 001 stand in. What the paper made once, off-line, is made anew for
    each epoch here.
    """
    return Pipeline((*_zoomed_crop(height, width, 'smooth'), _FLIP, *_COLOUR))


def paper_001(height: int = 448, width: int = 576, with_cut_depth: bool = True) -> Pipeline:
    """Paper 001 after GLPDepth: crop, flip, CutDepth for a quarter of the images, colours."""
    cut = (Sometimes(CutDepth(), 0.25),) if with_cut_depth else ()
    return Pipeline((MaskBorder(), Cover(480, 640), RandomCrop(height, width), _FLIP, *cut,
                     *_COLOUR))


def paper_002(height: int = 228, width: int = 304, mask_extremes: bool = True) -> Pipeline:
    """Paper 002 names none: half size, random crop and flip, as is usual at 304x228 (Laina).

    Before, its data step: each picture's least and greatest depth is unknown (section 3).
    """
    mask = (MaskExtremes(),) if mask_extremes else ()
    return Pipeline((*mask, Cover(240, 320), RandomCrop(height, width), _FLIP))


def paper_003(height: int = 256, width: int = 320) -> Pipeline:
    """Paper 003, section 4.2: zoom 1 to 1.5, +-5 degrees, crop, gain 0.8 to 1.2, flip."""
    return Pipeline((*_zoomed_crop(height, width, 'nearest'), Gain(0.8, 1.2), _FLIP))


def paper_004(height: int = 480, width: int = 640, swap_probability: float = 0.25) -> Pipeline:
    """Paper 004: flip, and channels in another order (0.25 in the paper, 0.5 in its code)."""
    return Pipeline((Cover(height, width), RandomCrop(height, width), _FLIP,
                     Sometimes(SwapChannels(), swap_probability)))


def bundled(height: int = 240, width: int = 320, with_cut_depth: bool = False,
            swap_probability: float = 0.0, decal_probability: float = 0.0) -> Pipeline:
    """For a network that any camera is held before: lens, mirror, light, lens faults, sensor.

    `swap_probability` is that of channels in another order, which makes other materials;
    `decal_probability` that of flat patches on the surfaces (`data.decals`).
    """
    cut = (Sometimes(CutDepth(), 0.25),) if with_cut_depth else ()
    light = (Exposure(0.6, 0.2), Gamma(0.7, 1.4), BrightnessContrast(0.0, 0.3),
             Sometimes(HueSaturation(6, 60, 0), 0.5))
    faults = (Sometimes(Blur(0.3, 2.0), 0.3), Sometimes(Shake(9), 0.15), SensorNoise(0.03),
              Sometimes(Jpeg(30, 95), 0.5))
    swap = (Sometimes(SwapChannels(), swap_probability),) if swap_probability else ()
    decals = (Sometimes(Decals(), decal_probability),) if decal_probability else ()
    return Pipeline((FieldOfView(height, width), _FLIP, *decals, *cut, *swap, *light, *faults))


def _zoomed_crop(height: int, width: int, rgb: Interpolation) -> tuple[Step, ...]:
    """A tenth larger than the crop (paper 003: 352x264 for 320x256), zoom, turn, crop."""
    larger = (round(height * 264 / 256), round(width * 352 / 320))
    return Cover(*larger, rgb), Zoom(1.0, 1.5, rgb), Rotate(5.0, rgb), RandomCrop(height, width)
