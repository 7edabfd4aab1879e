# SPDX-License-Identifier: Apache-2.0
"""Losses: pure functions of prediction, target and a mask of the pixels with known depth.

All take (B, 1, H, W) tensors and a boolean `valid` of the same shape and compute in float32 or
better (also under autocast). Invalid pixels affect neither value nor gradient, whatever they
contain; without valid pixels the loss is 0. Means run over the valid pixels of the whole batch;
inside `across_processes`, over the batches of all processes together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_training.losses.masked import (
    across_processes,
    count,
    in_full_precision,
    maximum,
    mean,
    total,
)

__all__ = [
    'Loss',
    'ReciprocalLoss',
    'WeightedSum',
    'abs_rel',
    'abs_rel_gradient',
    'across_processes',
    'berhu',
    'densedepth',
    'from_reciprocal',
    'gradient',
    'l1',
    'log_gradient',
    'log_l1',
    'log_l1_gradient',
    'mse',
    'reciprocal',
    'scale',
    'shape',
    'silog',
    'silog_gradient',
    'ssim',
    'valid_mask',
]

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

#: Smallest depth in metres before taking a logarithm: a ReLU head can predict exactly 0.
SMALLEST_DEPTH = 1e-3


def valid_mask(
    target: Tensor,
    min_depth: float = 1e-3,
    max_depth: float = 10.0,
    beyond: Literal['masked', 'clipped'] = 'masked',
) -> Tensor:
    """Return the mask of pixels to learn from: known depth within the range (BTS, GLPDepth).

    `clipped`: all known depth, for losses that clip the target themselves (DenseDepth).
    """
    if beyond == 'clipped':
        return target > 0
    return (target > min_depth) & (target < max_depth)


@in_full_precision
def mse(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean squared error, mean of (p - t)^2: paper 002."""
    return mean(_difference(pred, target, valid).square(), valid)


@in_full_precision
def l1(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean absolute error, mean of |p - t|: paper 004's depth term."""
    return mean(_difference(pred, target, valid).abs(), valid)


@in_full_precision
def berhu(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the reverse Huber loss; papers 000, 003 (Laina 2016, eq. 2).

    |d| up to c, (d^2 + c^2) / 2c beyond, with c = max |d| / 5 over all valid pixels of the batch,
    without gradient. If the prediction is exact, c and the loss are 0.
    """
    error = _difference(pred, target, valid).abs()
    threshold = 0.2 * maximum(error.detach())
    # If c is 0, so is every error, and any divisor gives the right result.
    beyond = (error.square() + threshold.square()) / (2 * threshold).clamp_min(1e-12)
    return mean(torch.where(error <= threshold, error, beyond), valid)


@in_full_precision
def silog(
    pred: Tensor,
    target: Tensor,
    valid: Tensor,
    lam: float = 0.5,
    base: Literal['e', '10'] = 'e',
    root: bool = False,
    scale: float = 1.0,
) -> Tensor:
    """Return the scale-invariant log loss: scale * (mean d^2 - lam (mean d)^2), d = log p - log t.

    Sources: Eigen et al. 2014, eq. 4. Paper 001, eq. 5: base 10, lam 0.5, no root. GLPDepth: base
    e, root, lam 0.5. BTS: base e, root, lam 0.85, scale 10. Base 10 without root is ln(10)^2 =
    5.302 times smaller than base e.

    Args:
        pred, target, valid: as in all losses; depths below 1 mm count as 1 mm.
        lam: 0 gives the mean square, 1 the variance.
        base: base of the logarithm.
        root: take the square root of the bracket.
        scale: factor of the result.
    """
    error = (_safe_log(pred, valid) - _safe_log(target, valid)) / _LOG_OF[base]
    value = mean(error.square(), valid) - lam * mean(error, valid).square()
    return scale * (_safe_sqrt(value) if root else value)


@in_full_precision
def log_l1(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of |log p - log t| (natural logarithm), which is robust to outliers."""
    return mean((_safe_log(pred, valid) - _safe_log(target, valid)).abs(), valid)


@in_full_precision
def abs_rel(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of |p - t| / t, as in the metric; it penalises overestimates more."""
    nearest = torch.where(valid, target, 1).clamp_min(SMALLEST_DEPTH)
    return mean(_difference(pred, target, valid).abs() / nearest, valid)


@in_full_precision
def gradient(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the sum of |dy p - dy t| + |dx p - dx t| per valid pixel: DenseDepth's edge term.

    Forward differences between two valid neighbours only; as in DenseDepth's loss.py, the sum is
    divided by the number of pixels, not of differences.
    """
    error = _difference(pred, target, valid)
    differences = pred.new_zeros(())
    for axis in (-2, -1):
        pairs = error.shape[axis] - 1
        both = valid.narrow(axis, 1, pairs) & valid.narrow(axis, 0, pairs)
        differences = differences + torch.where(both, error.diff(dim=axis).abs(), 0).sum()
    return total(differences) / count(valid, differences)


@in_full_precision
def log_gradient(pred: Tensor, target: Tensor, valid: Tensor, scales: int = 4) -> Tensor:
    """Return the mean |difference of log errors of neighbours| at strides 1, 2, 4 ...: MegaDepth.

    Li & Snavely 2018, eq. 3, sum over pixels; here each scale and direction is a mean over its
    pairs of valid neighbours; the two directions are summed, the scales averaged.
    """
    error = _safe_log(pred, valid) - _safe_log(target, valid)
    result = pred.new_zeros(())
    for stride in (2**scale for scale in range(scales)):
        e, v = error[..., ::stride, ::stride], valid[..., ::stride, ::stride]
        for axis in (-2, -1):
            pairs = v.shape[axis] - 1
            both = v.narrow(axis, 1, pairs) & v.narrow(axis, 0, pairs)
            result = result + mean(torch.where(both, e.diff(dim=axis).abs(), 0), both)
    return result / scales


@in_full_precision
def ssim(pred: Tensor, target: Tensor, valid: Tensor, max_val: float = 100.0) -> Tensor:
    """Return the structural dissimilarity, mean of (1 - SSIM) / 2: DenseDepth's loss.py.

    SSIM (Wang et al. 2004) with an 11x11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, dynamic
    range `max_val` (DenseDepth: 1000 / 10). Only windows inside the image and without invalid
    pixels count. DenseDepth also clips the result to 0..1, which has no effect.

    Raises:
        ValueError: the image is smaller than the window.
    """
    if min(pred.shape[-2:]) < _WINDOW:
        raise ValueError(
            f'SSIM needs images of at least {_WINDOW}x{_WINDOW} pixels, '
            f'got {tuple(pred.shape[-2:])}'
        )
    p, t = torch.where(valid, pred, 0), torch.where(valid, target, 0)
    # The smallest weight in the window is 1e-6.
    whole = _blur((~valid).to(p.dtype)) < 5e-7
    return mean(torch.where(whole, (1 - _ssim_map(p, t, max_val)) / 2, 0), whole)


def silog_gradient(
    pred: Tensor,
    target: Tensor,
    valid: Tensor,
    lam: float = 0.5,
    gradient_weight: float = 0.5,
    ssim_weight: float = 0.0,
) -> Tensor:
    """Return `silog` with root + `shape`."""
    return silog(pred, target, valid, lam=lam, root=True) + shape(
        pred, target, valid, gradient_weight, ssim_weight
    )


def log_l1_gradient(
    pred: Tensor,
    target: Tensor,
    valid: Tensor,
    gradient_weight: float = 0.5,
    ssim_weight: float = 0.0,
) -> Tensor:
    """Return `log_l1` + `shape`."""
    return log_l1(pred, target, valid) + shape(pred, target, valid, gradient_weight, ssim_weight)


def abs_rel_gradient(
    pred: Tensor,
    target: Tensor,
    valid: Tensor,
    gradient_weight: float = 0.5,
    ssim_weight: float = 0.0,
    scale_weight: float = 0.0,
) -> Tensor:
    """Return `abs_rel` + `shape` + scale_weight * `scale`."""
    value = abs_rel(pred, target, valid) + shape(pred, target, valid, gradient_weight, ssim_weight)
    return value + scale_weight * scale(pred, target, valid) if scale_weight else value


@in_full_precision
def scale(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return the error of each image's scale: mean over images of |mean of log p - log t|.

    An image without valid pixels contributes 0.
    """
    error = torch.where(valid, _safe_log(pred, valid) - _safe_log(target, valid), 0)
    pixels = valid.flatten(1).sum(1).clamp_min(1)
    images = error.new_full((), len(error))  # new_tensor would copy from the CPU
    return total((error.flatten(1).sum(1) / pixels).abs().sum()) / total(images)


def shape(
    pred: Tensor, target: Tensor, valid: Tensor, gradient_weight: float, ssim_weight: float
) -> Tensor:
    """Return gradient_weight * `log_gradient` + ssim_weight * `ssim` of metres in 0 to 10."""
    value = gradient_weight * log_gradient(pred, target, valid)
    return value + ssim_weight * ssim(pred, target, valid, max_val=10.0) if ssim_weight else value


def densedepth(
    pred: Tensor, target: Tensor, valid: Tensor, l1_weight: float = 0.1, max_val: float = 100.0
) -> Tensor:
    """Return SSIM term + edge term + 0.1 L1, all on `reciprocal` depth: paper 004, eq. 1."""
    structure = ssim(pred, target, valid, max_val=max_val)
    return structure + gradient(pred, target, valid) + l1_weight * l1(pred, target, valid)


def reciprocal(
    depth: Tensor, scale: float = 10.0, min_depth: float = 0.1, max_depth: float = 10.0
) -> Tensor:
    """Return DenseDepth's target, scale / clip(depth, min, max): 1 to 100 for 10 m to 0.1 m."""
    return scale / depth.clamp(min_depth, max_depth)


def from_reciprocal(
    output: Tensor, scale: float = 10.0, min_depth: float = 0.1, max_depth: float = 10.0
) -> Tensor:
    """Convert predicted reciprocal depth to metres, clipped to min_depth and max_depth."""
    return scale / output.clamp(scale / max_depth, scale / min_depth)


class ReciprocalLoss(nn.Module):
    """A loss on reciprocal depth; the target is in metres, the prediction in reciprocal depth."""

    def __init__(
        self,
        loss: Loss = densedepth,
        scale: float = 10.0,
        min_depth: float = 0.1,
        max_depth: float = 10.0,
    ) -> None:
        super().__init__()
        self.loss, self.limits = loss, (scale, min_depth, max_depth)

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of pred (scale / metres) and target (metres)."""
        return self.loss(pred, reciprocal(target.float(), *self.limits), valid)


class WeightedSum(nn.Module):
    """Sum of weight * loss, such as paper 001's silog + 0.5 * perceptual."""

    def __init__(self, *terms: tuple[float, Loss]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in terms]
        self.losses = [loss for _, loss in terms]
        # Registered as modules as well, so that a loss with tensors moves with .to(device).
        self.modules_of_terms = nn.ModuleList(x for x in self.losses if isinstance(x, nn.Module))

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the weighted sum."""
        # There is at least one term, so that the sum is a tensor.
        return sum(
            weight * loss(pred, target, valid)  # type: ignore[return-value]
            for weight, loss in zip(self.weights, self.losses)
        )


_LOG_OF = {'e': 1.0, '10': math.log(10)}
_WINDOW = 11
_SIGMA = 1.5


def _difference(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return prediction - target, 0 where invalid; mask before subtracting: inf - inf is NaN."""
    return torch.where(valid, pred, 0) - torch.where(valid, target, 0)


def _safe_log(depth: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, depth, 1).clamp_min(SMALLEST_DEPTH).log()


def _safe_sqrt(value: Tensor) -> Tensor:
    """Return the square root with gradient 0, not infinite, at 0 (or below, by rounding)."""
    positive = value > 0
    return torch.where(positive, torch.where(positive, value, 1).sqrt(), 0)


def _ssim_map(p: Tensor, t: Tensor, max_val: float) -> Tensor:
    """Return the SSIM of each window: (B, 1, H - 10, W - 10)."""
    c1, c2 = (0.01 * max_val) ** 2, (0.03 * max_val) ** 2
    mean_p, mean_t = _blur(p), _blur(t)
    var_p = _blur(p * p) - mean_p.square()
    var_t = _blur(t * t) - mean_t.square()
    covariance = _blur(p * t) - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + c1) / (mean_p.square() + mean_t.square() + c1)
    return luminance * (2 * covariance + c2) / (var_p + var_t + c2)


def _blur(image: Tensor) -> Tensor:
    """Return the Gaussian mean of each 11x11 window: (B, 1, H, W) -> (B, 1, H - 10, W - 10)."""
    offset = torch.arange(_WINDOW, dtype=image.dtype, device=image.device) - _WINDOW // 2
    kernel = torch.softmax(-offset.square() / (2 * _SIGMA**2), 0)
    # Batch as channels of a grouped convolution: 23 times faster on a CPU.
    channels = image.transpose(0, 1)
    for size in ((_WINDOW, 1), (1, _WINDOW)):
        weight = kernel.view(1, 1, *size).expand(len(image), 1, *size)
        channels = F.conv2d(channels, weight, groups=len(image))
    return channels.transpose(0, 1)
