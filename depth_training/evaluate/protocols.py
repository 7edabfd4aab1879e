# SPDX-License-Identifier: Apache-2.0
"""The five evaluation protocols of the papers, and those of KITTI, by name.

A protocol defines which ground truth is used, which pixels count, how predictions are clamped and
how errors are averaged. What a network sees of the frame is defined by the network's geometry
(`depth_training.evaluate.geometry`). Crops refer to 640x480 frames and scale with the frame size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from depth_training.evaluate import alignment
from depth_training.evaluate.alignment import Alignment
from depth_training.evaluate.geometry import WHOLE, Box, Size
from depth_training.evaluate.metrics import Averaging, Metrics

#: Words in descriptions for options that change a protocol.
OPTIONS = ('swapped', 'holes counted', *alignment.WORDS.values())

Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

#: Depth assumed for 0 m if holes are counted: paper 002's numbers need such an epsilon.
HOLE_DEPTH = float(np.finfo(np.float32).eps)
#: Metres assumed for an infinite prediction if a protocol has no upper limit: NYU's range.
FARTHEST = 10.0


class Shares(NamedTuple):
    """A crop in shares of the frame's height and width, rounded down to pixels (monodepth)."""

    top: float
    bottom: float
    left: float
    right: float

    def scaled(self, size: Size) -> Box:
        """Return the crop for a frame of this height and width."""
        height, width = size
        return Box(
            int(self.top * height),
            int(self.bottom * height),
            int(self.left * width),
            int(self.right * width),
        )


@dataclass(frozen=True)
class Protocol:
    """A way to evaluate a network on NYU Depth v2 or KITTI.

    Attributes:
        name: name for users.
        used_by: papers and programs that use it.
        ground_truth: `filled` (`depths`) or `raw` (`rawDepths`); on KITTI `raw` (annotated) or
            `laser` (single scans).
        averaging: over all pixels, or per image and then over images.
        crop: the counted part of the frame.
        clamp: smallest and largest prediction; None = no such limit.
        valid: open interval of counted truths; None = all known truths.
        visible: the colour image is black outside this box; None = the image is not masked.
        flip: average with the mirrored prediction of the mirrored image.
        swapped: divide by the prediction, as in DenseDepth's Keras evaluation.
        count_holes: count unknown pixels as depth 0, as in paper 002.
        align: align each prediction to the truth: what networks of relative depth need, and never
            comparable with the papers' metric numbers.
    """

    name: str
    used_by: str
    ground_truth: Literal['filled', 'raw', 'laser']
    averaging: Averaging
    crop: Box | Shares
    clamp: tuple[float, float | None]
    valid: tuple[float, float] | None = None
    visible: Box | None = None
    flip: bool = False
    swapped: bool = False
    count_holes: bool = False
    align: Alignment = 'none'

    def describe(self) -> str:
        """Return one line for a table's caption."""
        top, bottom, left, right = self.crop
        crop = (
            'the whole frame'
            if self.crop == WHOLE
            else f'rows {top:.3f} to {bottom:.3f} of the height, columns {left:.3f} to '
            f'{right:.3f} of the width'
            if isinstance(self.crop, Shares)
            else f'rows {top}:{bottom}, columns {left}:{right} of 640x480, of other sizes in '
            'proportion'
        )
        limits = (
            'every known depth'
            if self.valid is None
            else f'{self.valid[0]:g} < depth < {self.valid[1]:g} m'
        )
        low, high = self.clamp
        parts = [
            f'{self.ground_truth} ground truth',
            crop,
            limits,
            f'prediction at least {low:g} m'
            if high is None
            else f'prediction clamped to {low:g}..{high:g} m',
            'averaged over all pixels'
            if self.averaging == 'pixels'
            else 'per image, then averaged',
            'with its mirror image' if self.flip else 'no test-time augmentation',
        ]
        return f'{self.name}: ' + ', '.join([*parts, *self.options])

    @property
    def options(self) -> list[str]:
        """Options that differ from the protocol's definition, in words."""
        aligned = (self.align == how for how in alignment.WORDS)
        return [word for word, on in zip(OPTIONS, (self.swapped, self.count_holes, *aligned)) if on]


#: The NYU toolbox's valid region, as BTS crops it.
_TOOLBOX = Box(45, 471, 41, 601)
#: The area where colour and depth overlap, as the official split stores it.
_OFFICIAL = Box(7, 474, 7, 632)
_SMALLEST = 1e-3

_TABLE = (
    Protocol(
        'harsanyi',
        'paper 003 and its Laina row',
        'filled',
        'pixels',
        crop=Box(7, 473, 29, 611),
        clamp=(_SMALLEST, None),
    ),
    Protocol(
        'laina',
        'Laina et al. 2016 (0.127 / 0.573 / 0.055)',
        'filled',
        'pixels',
        crop=WHOLE,
        clamp=(_SMALLEST, None),
    ),
    Protocol(
        'eigen_bts',
        'paper 001; BTS, GLPDepth, AdaBins',
        'raw',
        'images',
        crop=_TOOLBOX,
        clamp=(_SMALLEST, 10.0),
        valid=(_SMALLEST, 10.0),
        visible=_OFFICIAL,
    ),
    Protocol(
        'densedepth',
        'paper 004',
        'filled',
        'pixels',
        crop=Box(20, 460, 24, 616),
        clamp=(0.1, 10.0),
        flip=True,
    ),
    Protocol(
        'plain',
        'papers 000 and 002, which do not say',
        'filled',
        'pixels',
        crop=_TOOLBOX,
        clamp=(_SMALLEST, 10.0),
        valid=(_SMALLEST, 10.0),
    ),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _TABLE}

#: monodepth's evaluate_kitti.py: Garg et al. 2016, and a crop found to reproduce Eigen et al. 2014.
_GARG = Shares(0.40810811, 0.99189189, 0.03594771, 0.96405229)
_EIGEN = Shares(0.3324324, 0.91351351, 0.0359477, 0.96405229)
#: Depth on KITTI's Eigen split is capped at 80 m.
_FAR = (_SMALLEST, 80.0)
_KITTI = (
    Protocol(
        'kitti_garg',
        'monodepth and most papers since, on KITTI',
        'raw',
        'images',
        crop=_GARG,
        clamp=_FAR,
        valid=_FAR,
    ),
    Protocol(
        'kitti_eigen',
        'Eigen et al. 2014, on KITTI',
        'raw',
        'images',
        crop=_EIGEN,
        clamp=_FAR,
        valid=_FAR,
    ),
    # According to its authors: the crop of monodepth's evaluate_kitti.py (their issue 27), whose
    # truth is the laser's; mirrored prediction as in the paper.
    Protocol(
        'kitti_densedepth',
        'paper 004, on KITTI',
        'laser',
        'images',
        crop=_GARG,
        clamp=(0.8, 80.0),
        valid=_FAR,
        flip=True,
    ),
)
KITTI: dict[str, Protocol] = {protocol.name: protocol for protocol in _KITTI}

#: Not from a paper: the whole image. For the bundled network's model card.
WHOLE_FRAME = Protocol(
    'whole_frame',
    'the model card',
    'raw',
    'pixels',
    crop=WHOLE,
    clamp=(_SMALLEST, 10.0),
    valid=(_SMALLEST, 10.0),
)


def get_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        ValueError: there is no such protocol.
    """
    known = PROTOCOLS | KITTI | {WHOLE_FRAME.name: WHOLE_FRAME}
    if name not in known:
        raise ValueError(f'unknown protocol {name!r}: choose one of {", ".join(known)}')
    return known[name]


def counting_holes(protocol: Protocol) -> Protocol:
    """Return the protocol as paper 002 must have used it: raw truth, holes counted as 0 m."""
    return replace(protocol, ground_truth='raw', count_holes=True)


def shown(protocol: Protocol, rgb: Image) -> Image:
    """Return the frame uint8 (H, W, 3), black outside the protocol's visible part."""
    if protocol.visible is None:
        return rgb
    visible, black = protocol.visible.scaled(rgb.shape[:2]), np.zeros_like(rgb)
    visible.of(black)[:] = visible.of(rgb)
    return black


def predict(protocol: Protocol, image: Image, network: Callable[[Image], Depth]) -> Depth:
    """Predict depth (h, w) of an input, averaged with its mirror image if the protocol says so."""
    depth = network(image)
    if not protocol.flip:
        return depth
    mirrored = network(np.ascontiguousarray(image[:, ::-1]))
    return (depth + mirrored[:, ::-1]) / np.float32(2)


def to_frame(prediction: Depth, size: Size, box: Box | None = None) -> Depth:
    """Resize a prediction (h, w) to its place on the frame: (H, W), NaN elsewhere.

    Args:
        prediction: metres (h, w).
        size: size of the frame.
        box: the part of the frame that it covers; None = the whole.
    """
    top, bottom, left, right = box or (0, size[0], 0, size[1])
    resized = F.interpolate(
        _as_tensor(prediction), (bottom - top, right - left), mode='bilinear', align_corners=False
    )
    frame = np.full(size, np.nan, np.float32)
    frame[top:bottom, left:right] = resized[0, 0].numpy()
    return frame


def clamped(protocol: Protocol, depth: Depth) -> tuple[Depth, int]:
    """Clamp depth to the protocol's limits; also return the number of changed pixels.

    NaN becomes the smallest depth, infinity the largest (GLPDepth).
    """
    bounded = np.clip(_bounded(protocol, depth), *protocol.clamp)
    return bounded, int((bounded != depth).sum())


def valid_pixels(protocol: Protocol, truth: Depth) -> NDArray[np.bool_]:
    """Return the mask of the frame's counted pixels (H, W)."""
    inside = protocol.crop.scaled(truth.shape).mask(truth.shape)
    if protocol.count_holes:
        return inside
    low, high = protocol.valid or (0.0, np.inf)
    return inside & (truth > low) & (truth < high)


def judge(
    protocol: Protocol,
    prediction: Depth,
    truth: Depth,
    metrics: Metrics,
    box: Box | None = None,
    kind: str = 'metres',
) -> None:
    """Add one image to the metrics.

    Pixels that count but have no prediction, as they lie outside what the network saw, are left out
    and counted as unseen.

    Args:
        protocol: the protocol.
        prediction: (h, w), at any size.
        truth: metres (H, W), 0 = unknown.
        metrics: metrics to add to; finally read `metrics.scores(protocol.averaging)`.
        box: the part of the frame covered by the prediction; None = the whole.
        kind: what the prediction is: metres, or see `alignment.aligned`.
    """
    metrics.add(*counted(protocol, prediction, truth, box, kind))
    if box is not None:
        metrics.unseen += int((valid_pixels(protocol, truth) & ~box.mask(truth.shape)).sum())


class Counted(NamedTuple):
    """The counted pixels of an image.

    Attributes:
        depth, truth: metres (N,).
        clamped: number of pixels that were outside the protocol's limits.
        factor: factor of the alignment to the truth; 1 = not aligned.
    """

    depth: Depth
    truth: Depth
    clamped: int
    factor: float = 1.0


def counted(
    protocol: Protocol,
    prediction: Depth,
    truth: Depth,
    box: Box | None = None,
    kind: str = 'metres',
) -> Counted:
    """Return the counted pixels of an image; see `judge`."""
    valid = valid_pixels(protocol, truth)
    if box is not None:
        valid &= box.mask(truth.shape)
    depth, odd = _finite(protocol, prediction)
    depth = to_frame(depth, truth.shape, box)[valid]
    spread = to_frame(odd, truth.shape, box)[valid] > 0 if odd.any() else np.zeros(len(depth), bool)
    fitted = np.where(spread, 0, truth[valid])  # what is not finite does not affect the alignment
    depth, factor = alignment.aligned(protocol.align, kind, depth, fitted)
    depth, count = clamped(protocol, depth)
    count = max(count, int(spread.sum()))
    known = np.maximum(truth[valid], HOLE_DEPTH) if protocol.count_holes else truth[valid]
    if protocol.swapped:
        depth, known = known, depth
    return Counted(depth, known, count, factor)


def _finite(protocol: Protocol, depth: Depth) -> tuple[Depth, Depth]:
    """Replace infinite values, which a resize would spread; also return their mask as 0 or 1."""
    odd = ~np.isfinite(depth)
    return _bounded(protocol, depth) if odd.any() else depth, odd.astype(np.float32)


def _bounded(protocol: Protocol, depth: Depth) -> Depth:
    """Replace infinity by the largest depth, NaN by the smallest."""
    low, high = protocol.clamp
    return np.nan_to_num(depth, nan=low, posinf=FARTHEST if high is None else high, neginf=low)


def _as_tensor(depth: Depth) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(depth, np.float32))[None, None]
