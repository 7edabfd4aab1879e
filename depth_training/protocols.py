# SPDX-License-Identifier: Apache-2.0
"""The five evaluation protocols of the papers, by name.

A protocol says which ground truth is used, what the network sees, how its prediction gets to the
truth's size, which pixels count, how they are clamped and how they are averaged. Sizes and crops
are those of 640x480 frames; on frames of another size they scale along.
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

from depth_training.metrics import Averaging, Metrics

Size = tuple[int, int]
Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

FRAME: Size = (480, 640)
#: What stands for 0 m where holes are counted: paper 002's numbers need such an epsilon.
HOLE_DEPTH = float(np.finfo(np.float32).eps)


class Box(NamedTuple):
    """Rows top:bottom and columns left:right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def scaled(self, size: Size, frame: Size = FRAME) -> Box:
        """The same part of a frame of another size."""
        rows, columns = size[0] / frame[0], size[1] / frame[1]
        return Box(round(self.top * rows), round(self.bottom * rows),
                   round(self.left * columns), round(self.right * columns))

    def of(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """That part of an image (H, W, ...)."""
        return image[self.top:self.bottom, self.left:self.right]


WHOLE = Box(0, 480, 0, 640)


@dataclass(frozen=True)
class Protocol:
    """One way to judge a network on NYU Depth v2.

    Attributes:
        name: what users call it.
        used_by: papers and programs.
        ground_truth: `filled` (`depths`) or `raw` (`rawDepths`).
        averaging: over all pixels, or per image and then over images.
        crop: the pixels of the frame that count.
        clamp: smallest and largest prediction; None = no such limit.
        valid: open interval of truths that count; None = all that are known.
        resized: size to which the frame is brought (nearest) before `window` is cut from it;
            None = not resized.
        window: the part of the resized frame that the network sees.
        output: the part of the frame on which the prediction is laid, bilinearly; the network saw
            this part, save for `laina`, which stretches a part over the whole.
        visible: outside of it the colour image is black; None = all of it is visible.
        flip: average with the mirrored prediction of the mirrored image.
        swapped: divide by the prediction, as DenseDepth's Keras evaluation does.
        count_holes: count unknown pixels as depth 0, as paper 002 does.
        median_scaled: scale each prediction to the truth's median; for networks of relative depth
            alone, and never comparable with the papers' metric numbers.
    """

    name: str
    used_by: str
    ground_truth: Literal['filled', 'raw']
    averaging: Averaging
    crop: Box
    clamp: tuple[float, float | None]
    valid: tuple[float, float] | None = None
    resized: Size | None = None
    window: Box = WHOLE
    output: Box = WHOLE
    visible: Box | None = None
    flip: bool = False
    swapped: bool = False
    count_holes: bool = False
    median_scaled: bool = False

    def describe(self) -> str:
        """One line for a table's caption."""
        top, bottom, left, right = self.crop
        crop = f'rows {top}:{bottom}, columns {left}:{right}'
        limits = 'every known depth' if self.valid is None else \
            f'{self.valid[0]:g} < depth < {self.valid[1]:g} m'
        low, high = self.clamp
        parts = [f'{self.ground_truth} ground truth', crop, limits,
                 f'prediction at least {low:g} m' if high is None
                 else f'prediction clamped to {low:g}..{high:g} m',
                 'averaged over all pixels' if self.averaging == 'pixels'
                 else 'per image, then averaged',
                 'with its mirror image' if self.flip else 'no test-time augmentation']
        options = {'swapped': self.swapped, 'holes counted': self.count_holes,
                   'scaled to the median': self.median_scaled}
        return f'{self.name}: ' + ', '.join(parts + [text for text, on in options.items() if on])


#: The NYU toolbox's valid region, as BTS crops it.
_TOOLBOX = Box(45, 471, 41, 601)
#: Where colour and depth overlap, as the official split is written.
_OFFICIAL = Box(7, 474, 7, 632)
_SMALLEST = 1e-3

_TABLE = (
    Protocol('harsanyi', 'paper 003 and its Laina row', 'filled', 'pixels',
             crop=Box(7, 473, 29, 611), clamp=(_SMALLEST, None),
             resized=(264, 352), window=Box(4, 260, 16, 336), output=Box(7, 473, 29, 611)),
    Protocol('laina', 'Laina et al. 2016 (0.127 / 0.573 / 0.055)', 'filled', 'pixels',
             crop=WHOLE, clamp=(_SMALLEST, None),
             resized=(240, 320), window=Box(6, 234, 8, 312)),
    Protocol('eigen_bts', 'paper 001; BTS, GLPDepth, AdaBins', 'raw', 'images',
             crop=_TOOLBOX, clamp=(_SMALLEST, 10.0), valid=(_SMALLEST, 10.0), visible=_OFFICIAL),
    Protocol('densedepth', 'paper 004', 'filled', 'pixels',
             crop=Box(20, 460, 24, 616), clamp=(0.1, 10.0), flip=True),
    Protocol('plain', 'papers 000 and 002, which do not say', 'filled', 'pixels',
             crop=_TOOLBOX, clamp=(_SMALLEST, 10.0), valid=(_SMALLEST, 10.0)),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _TABLE}

#: No paper's: all of the picture that the network is used on. The bundled network's model card.
WHOLE_FRAME = Protocol('whole_frame', 'the model card', 'raw', 'pixels', crop=WHOLE,
                       clamp=(_SMALLEST, 10.0), valid=(_SMALLEST, 10.0))


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROTOCOLS:
        raise ValueError(f'unknown protocol {name!r}: choose one of {", ".join(PROTOCOLS)}')
    return PROTOCOLS[name]


def counting_holes(protocol: Protocol) -> Protocol:
    """The protocol as paper 002 must have used it: raw truth, with every hole counted as 0 m."""
    return replace(protocol, ground_truth='raw', count_holes=True)


def model_input(protocol: Protocol, rgb: Image, own_size: Size | None = None) -> Image:
    """What the network sees of a frame, uint8 (h, w, 3).

    Args:
        protocol: the protocol.
        rgb: uint8 (H, W, 3).
        own_size: height and width the network was trained at; None = the protocol's own. Where
            they differ, the part of the frame that the protocol shows is brought to `own_size`
            (bilinearly, with anti-aliasing).
    """
    if protocol.visible is not None:
        rgb = _blackened(rgb, protocol.visible.scaled(rgb.shape[:2]))
    frame = protocol.resized or rgb.shape[:2]
    window = protocol.window if protocol.resized else protocol.window.scaled(rgb.shape[:2])
    if own_size is None or own_size == window.size:
        return np.ascontiguousarray(window.of(_nearest(rgb, frame)))
    seen = window.scaled(rgb.shape[:2], frame).of(rgb)
    return _smooth(seen, own_size)


def predict(protocol: Protocol, image: Image, network: Callable[[Image], Depth]) -> Depth:
    """The network's depth (h, w) of an input, averaged with its mirror where asked for."""
    depth = network(image)
    if not protocol.flip:
        return depth
    mirrored = network(np.ascontiguousarray(image[:, ::-1]))
    return (depth + mirrored[:, ::-1]) / 2


def to_frame(protocol: Protocol, prediction: Depth, size: Size) -> Depth:
    """A prediction (h, w) of any size laid on the frame: (H, W), NaN where there is none."""
    box = protocol.output.scaled(size)
    resized = F.interpolate(_as_tensor(prediction), box.size, mode='bilinear', align_corners=False)
    frame = np.full(size, np.nan, np.float32)
    frame[box.top:box.bottom, box.left:box.right] = resized[0, 0].numpy()
    return frame


def clamped(protocol: Protocol, depth: Depth) -> tuple[Depth, int]:
    """Depth within the protocol's limits, and how many pixels were not.

    A NaN becomes the smallest depth, an infinity the largest (GLPDepth).
    """
    low, high = protocol.clamp
    bounded = np.nan_to_num(depth, nan=low, posinf=high, neginf=low)
    bounded = np.clip(bounded, low, high)
    return bounded, int((bounded != depth).sum())


def valid_pixels(protocol: Protocol, truth: Depth) -> NDArray[np.bool_]:
    """Which pixels of the frame (H, W) count."""
    inside = np.zeros(truth.shape, bool)
    box = protocol.crop.scaled(truth.shape)
    inside[box.top:box.bottom, box.left:box.right] = True
    if protocol.count_holes:
        return inside
    low, high = protocol.valid or (0.0, np.inf)
    return inside & (truth > low) & (truth < high)


def judge(protocol: Protocol, prediction: Depth, truth: Depth, metrics: Metrics) -> None:
    """Add one image to the metrics.

    Args:
        protocol: the protocol.
        prediction: metres (h, w), what the network said of `model_input`, at any size.
        truth: metres (H, W), 0 = unknown.
        metrics: what to add to; read `metrics.scores(protocol.averaging)` in the end.
    """
    metrics.add(*counted(protocol, prediction, truth))


def counted(protocol: Protocol, prediction: Depth, truth: Depth) -> tuple[Depth, Depth, int]:
    """Depth and truth (N,) of the pixels that count, and how many were clamped; see `judge`."""
    valid = valid_pixels(protocol, truth)
    depth = to_frame(protocol, prediction, truth.shape)[valid]
    if protocol.median_scaled and depth.size:
        depth = depth * (np.median(truth[valid]) / max(float(np.median(depth)), _SMALLEST))
    depth, count = clamped(protocol, depth)
    known = np.maximum(truth[valid], HOLE_DEPTH) if protocol.count_holes else truth[valid]
    if protocol.swapped:
        depth, known = known, depth
    return depth, known, count


def _blackened(rgb: Image, visible: Box) -> Image:
    black = np.zeros_like(rgb)
    visible.of(black)[:] = visible.of(rgb)
    return black


def _nearest(rgb: Image, size: Size) -> Image:
    """Nearest-neighbour resize; pixel i takes floor(i * scale), as OpenCV's INTER_NEAREST."""
    rows = np.arange(size[0]) * rgb.shape[0] // size[0]
    columns = np.arange(size[1]) * rgb.shape[1] // size[1]
    return rgb[rows[:, None], columns]


def _smooth(rgb: Image, size: Size) -> Image:
    tensor = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(tensor, size, mode='bilinear', align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def _as_tensor(depth: Depth) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(depth, np.float32))[None, None]
