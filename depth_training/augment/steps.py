# SPDX-License-Identifier: Apache-2.0
"""Random steps of an augmentation: each takes a sample and an explicit generator."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from depth_training.data import transforms
from depth_training.data.sample import Sample
from depth_training.data.transforms import Interpolation

Step = Callable[[Sample, np.random.Generator], Sample]

#: Rows and columns of a 640x480 NYU frame without its white border (BTS; top, bottom, left, right).
NYU_BORDER = (45, 472, 43, 608)


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
class Cover:
    """Resize without distortion to the smallest image that covers a size; 4:3 stays exactly 4:3.

    Not a zoom: the depth stays, and fx grows with the image.
    """

    height: int
    width: int
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Resize."""
        rows, columns = sample.depth.shape
        scale = max(self.height / rows, self.width / columns)
        size = max(self.height, round(rows * scale)), max(self.width, round(columns * scale))
        return transforms.resize(sample, *size, self.rgb)


@dataclass(frozen=True)
class CanonicalFocal:
    """Depth as a camera of focal length `focal` pixels would see it, where fx is known.

    Depth x focal / fx (Metric3D, Yin et al. 2023, section 3.1): one network for all cameras.
    """

    focal: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Rescale depth."""
        return transforms.canonical(sample, self.focal)


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
    """Cut a window from a uniformly random place; an image too small is first made to cover it."""

    height: int
    width: int

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Crop."""
        sample = _covering(sample, self.height, self.width, rng)
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
        sample = _covering(sample, self.height, self.width, rng)
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
class MaskExtremes:
    """Forget the pixels that have the picture's least or greatest depth (paper 002, section 3)."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mask."""
        return replace(sample, depth=transforms.without_extremes(sample.depth))


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
        return transforms.gain(sample, rng.uniform(self.low, self.high, 3).tolist())


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
        return transforms.permute_channels(sample, rng.permutation(3).tolist())


def _covering(sample: Sample, height: int, width: int, rng: np.random.Generator) -> Sample:
    rows, columns = sample.depth.shape
    if rows >= height and columns >= width:
        return sample
    return Cover(height, width)(sample, rng)
