# SPDX-License-Identifier: Apache-2.0
"""Random augmentation steps; each takes a sample and an explicit random generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from depth_training.data import transforms
from depth_training.data.sample import Sample
from depth_training.data.transforms import Interpolation

Step = Callable[[Sample, np.random.Generator], Sample]

#: NYU's 640x480 frames without their white border (BTS): top, bottom, left, right.
NYU_BORDER = (45, 472, 43, 608)


@dataclass(frozen=True)
class Pipeline:
    """Apply steps in order."""

    steps: tuple[Step, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply every step."""
        for step in self.steps:
            sample = step(sample, rng)
        return sample


@dataclass(frozen=True)
class Sometimes:
    """Apply a step with a probability."""

    step: Step
    probability: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply the step with the given probability."""
        return self.step(sample, rng) if rng.random() < self.probability else sample


@dataclass(frozen=True)
class Flip:
    """Mirror left and right."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mirror."""
        return transforms.flip(sample)


@dataclass(frozen=True)
class Resize:
    """Resize to a fixed size."""

    height: int
    width: int
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Resize."""
        return transforms.resize(sample, self.height, self.width, self.rgb)


@dataclass(frozen=True)
class Cover:
    """Resize to the smallest image of the same aspect ratio that covers a size.

    Not a zoom: depth stays the same, and fx grows with the image.
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
    """Convert depth to that of a camera with focal length `focal` pixels, if fx is known.

    Depth x focal / fx (Metric3D, Yin et al. 2023, section 3.1), so one network fits all cameras.
    """

    focal: float

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Rescale depth."""
        return transforms.canonical(sample, self.focal)


@dataclass(frozen=True)
class Zoom:
    """Bring the scene nearer by a uniformly random factor; divide depth by it."""

    low: float = 1.0
    high: float = 1.5
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Zoom."""
        return transforms.zoom(sample, rng.uniform(self.low, self.high), self.rgb)


@dataclass(frozen=True)
class Rotate:
    """Rotate by a uniformly random angle."""

    degrees: float = 5.0
    rgb: Interpolation = 'smooth'

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Rotate."""
        return transforms.rotate(sample, rng.uniform(-self.degrees, self.degrees), self.rgb)


@dataclass(frozen=True)
class RandomCrop:
    """Crop a window at a uniformly random position; first enlarge an image that is too small."""

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
    """Crop the central window."""

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
    """Make depth on NYU's white border unknown (640x480 only), so networks do not learn it."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mask."""
        if sample.depth.shape != (480, 640):
            return sample
        return transforms.mask_outside(sample, *NYU_BORDER)


@dataclass(frozen=True)
class MaskExtremes:
    """Make pixels with the smallest or largest depth unknown (paper 002, section 3)."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Mask."""
        return replace(sample, depth=transforms.without_extremes(sample.depth))


@dataclass(frozen=True)
class CutDepth:
    """Vertical CutDepth (GLPDepth base_dataset.py): show depth in a stripe of the image.

    Left l = floor(a W), width max(floor((W - a W) b share), 1), with a, b uniform in 0..1.
    """

    share: float = 0.75
    max_depth: float = 10.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Replace a random stripe."""
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
    """Change brightness and contrast randomly."""

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.brightness_contrast(
            sample,
            rng.uniform(-self.brightness, self.brightness),
            rng.uniform(-self.contrast, self.contrast),
        )


@dataclass(frozen=True)
class Gamma:
    """Change gamma randomly."""

    low: float = 0.8
    high: float = 1.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.gamma(sample, rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class HueSaturation:
    """Shift hue (of 180), saturation and value (of 255) randomly."""

    hue: float = 20
    saturation: float = 30
    value: float = 20

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        limits = np.array([self.hue, self.saturation, self.value])
        return transforms.hue_saturation(sample, *rng.uniform(-limits, limits))


@dataclass(frozen=True)
class SwapChannels:
    """Put the channels in a uniformly random order, possibly the original one."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Recolour."""
        return transforms.permute_channels(sample, rng.permutation(3).tolist())


def _covering(sample: Sample, height: int, width: int, rng: np.random.Generator) -> Sample:
    rows, columns = sample.depth.shape
    if rows >= height and columns >= width:
        return sample
    return Cover(height, width)(sample, rng)
