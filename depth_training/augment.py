# SPDX-License-Identifier: Apache-2.0
"""Random augmentations of each paper, as pipelines of small steps.

A step takes a sample and an explicit generator. The generator of a sample depends on seed, epoch
and index alone (`sample_generator`): any number of workers, and a run resumed in the middle of an
epoch, see exactly the same images.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depth_training.data import transforms
from depth_training.data.sample import Sample
from depth_training.data.transforms import Interpolation

Step = Callable[[Sample, np.random.Generator], Sample]

#: Rows and columns of a 640x480 NYU frame without its white border (BTS; top, bottom, left, right).
NYU_BORDER = (45, 472, 43, 608)


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one sample in one epoch."""
    return np.random.default_rng((seed, epoch, index))


@dataclass(frozen=True)
class Pipeline:
    """Steps in order."""

    steps: tuple[Step, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply every step."""
        for step in self.steps:
            sample = step(sample, rng)
        return sample


@dataclass(frozen=True)
class Sometimes:
    """A step that is taken with a probability."""

    step: Step
    probability: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply the step, or not."""
        return self.step(sample, rng) if rng.random() < self.probability else sample


@dataclass(frozen=True)
class Flip:
    """Mirror left and right."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mirror."""
        return transforms.flip(sample)


@dataclass(frozen=True)
class Resize:
    """Bring to a size."""

    height: int
    width: int
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Resize."""
        return transforms.resize(sample, self.height, self.width, self.rgb)


@dataclass(frozen=True)
class Zoom:
    """Bring the scene nearer by a uniformly random factor; depth is divided by it."""

    low: float = 1.0
    high: float = 1.5
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Zoom."""
        return transforms.zoom(sample, rng.uniform(self.low, self.high), self.rgb)


@dataclass(frozen=True)
class Rotate:
    """Turn by a uniformly random angle."""

    degrees: float = 5.0
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Rotate."""
        return transforms.rotate(sample, rng.uniform(-self.degrees, self.degrees), self.rgb)


@dataclass(frozen=True)
class RandomCrop:
    """Cut a window from a uniformly random place.

    An image too small for it is first enlarged just enough, its depth divided as by Zoom.
    """

    height: int
    width: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Crop."""
        sample = _large_enough(sample, self.height, self.width)
        rows, columns = sample.depth.shape
        top = int(rng.integers(0, rows - self.height + 1))
        left = int(rng.integers(0, columns - self.width + 1))
        return transforms.crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True)
class CentreCrop:
    """Cut the window in the middle."""

    height: int
    width: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Crop."""
        sample = _large_enough(sample, self.height, self.width)
        rows, columns = sample.depth.shape
        top, left = (rows - self.height) // 2, (columns - self.width) // 2
        return transforms.crop(sample, top, left, self.height, self.width)


@dataclass(frozen=True)
class MaskBorder:
    """Forget the depth on NYU's white border, of 640x480 images alone: nets learn the frame."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mask."""
        if sample.depth.shape != (480, 640):
            return sample
        return transforms.mask_outside(sample, *NYU_BORDER)


@dataclass(frozen=True)
class CutDepth:
    """Vertical CutDepth (GLPDepth base_dataset.py): a stripe of the image shows depth.

    Left l = floor(a W), width max(floor((W - a W) b share), 1), with a, b uniform in 0..1.
    """

    share: float = 0.75
    max_depth: float = 10.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Cut."""
        width = sample.depth.shape[1]
        a, b = rng.random(2)
        stripe = max(int((width - a * width) * b * self.share), 1)
        return transforms.cut_depth(sample, int(a * width), stripe, self.max_depth)


@dataclass(frozen=True)
class Gain:
    """Multiply each colour channel by its own random factor."""

    low: float = 0.8
    high: float = 1.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.gain(sample, rng.uniform(self.low, self.high, 3))


@dataclass(frozen=True)
class BrightnessContrast:
    """Random brightness and contrast."""

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.brightness_contrast(
            sample, rng.uniform(-self.brightness, self.brightness),
            rng.uniform(-self.contrast, self.contrast))


@dataclass(frozen=True)
class Gamma:
    """Random gamma."""

    low: float = 0.8
    high: float = 1.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.gamma(sample, rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class HueSaturation:
    """Random shifts of hue (of 180), saturation and value (of 255)."""

    hue: float = 20
    saturation: float = 30
    value: float = 20

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        limits = np.array([self.hue, self.saturation, self.value])
        return transforms.hue_saturation(sample, *rng.uniform(-limits, limits))


@dataclass(frozen=True)
class SwapChannels:
    """Put the channels in a uniformly random order, which may be the old one."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.permute_channels(sample, rng.permutation(3))


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
    return Pipeline((MaskBorder(), RandomCrop(height, width), _FLIP, *cut, *_COLOUR))


def paper_002(height: int = 228, width: int = 304) -> Pipeline:
    """Paper 002 names none: half size, random crop and flip, as is usual at 304x228 (Laina)."""
    return Pipeline((Resize(240, 320), RandomCrop(height, width), _FLIP))


def paper_003(height: int = 256, width: int = 320) -> Pipeline:
    """Paper 003, section 4.2: zoom 1 to 1.5, +-5 degrees, crop, gain 0.8 to 1.2, flip."""
    return Pipeline((*_zoomed_crop(height, width, 'nearest'), Gain(0.8, 1.2), _FLIP))


def paper_004(height: int = 480, width: int = 640, swap_probability: float = 0.25) -> Pipeline:
    """Paper 004: flip, and channels in another order (0.25 in the paper, 0.5 in its code)."""
    return Pipeline((Resize(height, width), _FLIP, Sometimes(SwapChannels(), swap_probability)))


def _zoomed_crop(height: int, width: int, rgb: Interpolation) -> tuple[Step, ...]:
    """A tenth larger than the crop (paper 003: 352x264 for 320x256), zoom, turn, crop."""
    larger = (round(height * 264 / 256), round(width * 352 / 320))
    return Resize(*larger, rgb), Zoom(1.0, 1.5, rgb), Rotate(5.0, rgb), RandomCrop(height, width)


def _large_enough(sample: Sample, height: int, width: int) -> Sample:
    rows, columns = sample.depth.shape
    if rows >= height and columns >= width:
        return sample
    # A hair more, since rounding must not fall one pixel short.
    return transforms.zoom(sample, max((height + 0.5) / rows, (width + 0.5) / columns))
