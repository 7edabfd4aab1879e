# SPDX-License-Identifier: Apache-2.0
"""The augmentations of each paper and of the bundled network as pipelines of small random steps.

The random generator of a sample depends only on seed, epoch and index, so any number of workers, or
a run resumed within an epoch, produces exactly the same images.
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

#: Allowed values of a recipe's `augment`: the functions below.
NAMES = ('paper_000', 'paper_001', 'paper_002', 'paper_003', 'paper_004', 'bundled')


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random generator of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, index))


_FLIP = Sometimes(Flip(), 0.5)
_COLOUR = (
    Sometimes(BrightnessContrast(0.2, 0.2), 0.5),
    Sometimes(Gamma(0.8, 1.2), 0.5),
    Sometimes(HueSaturation(20, 30, 20), 0.5),
)


def paper_000(height: int = 256, width: int = 320) -> Pipeline:
    """Paper 000: rotation, rescaling, crop, flip, colour jitter; their ranges are not published.

    The ranges of papers 003 and 001 are used. The paper augmented once in advance; here each epoch
    is augmented differently.
    """
    return Pipeline((*_zoomed_crop(height, width, 'smooth'), _FLIP, *_COLOUR))


def paper_001(height: int = 448, width: int = 576, with_cut_depth: bool = True) -> Pipeline:
    """Paper 001, as GLPDepth: crop, flip, CutDepth for a quarter of the images, colours."""
    cut = (Sometimes(CutDepth(), 0.25),) if with_cut_depth else ()
    return Pipeline(
        (MaskBorder(), Cover(480, 640), RandomCrop(height, width), _FLIP, *cut, *_COLOUR)
    )


def paper_002(height: int = 228, width: int = 304, mask_extremes: bool = True) -> Pipeline:
    """Paper 002 names no augmentation: half size, random crop and flip, usual at 304x228 (Laina).

    The paper's data step comes first: the smallest and largest depth of each image become unknown
    (section 3).
    """
    mask = (MaskExtremes(),) if mask_extremes else ()
    return Pipeline((*mask, Cover(240, 320), RandomCrop(height, width), _FLIP))


def paper_003(height: int = 256, width: int = 320) -> Pipeline:
    """Paper 003, section 4.2: zoom 1 to 1.5, +-5 degrees, crop, gain 0.8 to 1.2, flip."""
    return Pipeline((*_zoomed_crop(height, width, 'nearest'), Gain(0.8, 1.2), _FLIP))


def paper_004(height: int = 480, width: int = 640, swap_probability: float = 0.25) -> Pipeline:
    """Paper 004: flip and random order of channels (probability 0.25 in the paper, 0.5 in code)."""
    return Pipeline(
        (
            Cover(height, width),
            RandomCrop(height, width),
            _FLIP,
            Sometimes(SwapChannels(), swap_probability),
        )
    )


def bundled(
    height: int = 240,
    width: int = 320,
    with_cut_depth: bool = False,
    swap_probability: float = 0.0,
    decal_probability: float = 0.0,
) -> Pipeline:
    """For a network that must work with any camera: lens, mirror, light, lens faults, sensor.

    `swap_probability` is the probability of a random order of channels, which imitates other
    materials; `decal_probability` that of flat patches on the surfaces (`augment.decals`).
    """
    cut = (Sometimes(CutDepth(), 0.25),) if with_cut_depth else ()
    light = (
        Exposure(0.6, 0.2),
        Gamma(0.7, 1.4),
        BrightnessContrast(0.0, 0.3),
        Sometimes(HueSaturation(6, 60, 0), 0.5),
    )
    faults = (
        Sometimes(Blur(0.3, 2.0), 0.3),
        Sometimes(Shake(9), 0.15),
        SensorNoise(0.03),
        Sometimes(Jpeg(30, 95), 0.5),
    )
    swap = (Sometimes(SwapChannels(), swap_probability),) if swap_probability else ()
    decals = (Sometimes(Decals(), decal_probability),) if decal_probability else ()
    return Pipeline((FieldOfView(height, width), _FLIP, *decals, *cut, *swap, *light, *faults))


def _zoomed_crop(height: int, width: int, rgb: Interpolation) -> tuple[Step, ...]:
    """Resize to a tenth more than the crop (paper 003: 352x264 for 320x256), zoom, rotate, crop."""
    larger = (round(height * 264 / 256), round(width * 352 / 320))
    return Cover(*larger, rgb), Zoom(1.0, 1.5, rgb), Rotate(5.0, rgb), RandomCrop(height, width)
