# SPDX-License-Identifier: Apache-2.0
"""Augment whole batches of RGB-D views on their device: the torch version of `pipelines.bundled`.

A GPU trains faster than processes can augment images one by one. Here every step works on a batch
of tensors and never waits for a result from the device. All randomness comes from one
`torch.Generator`.

Each view is resampled to the training's focal length in pixels (that of one canonical camera), so
a long lens gives a small image and a wide one a large image, as at inference. A view too narrow to
fill the training size is enlarged further and its depth divided by the same factor (Metric3D, Yin
et al. 2023, section 3.1).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Exponent of a power law between light and pixel value that approximates sRGB's curve.
_GAMMA = 2.2
#: Pixels over which the normal of a surface is measured, and its largest relative unevenness.
_REACH, _FLAT = 6, 0.008
#: Side of the blur kernels in pixels.
_KERNEL = 9
#: JPEG's standard quantisation tables (ITU-T T.81, annex K), luminance and chrominance.
_LUMINANCE = (
    16,
    11,
    10,
    16,
    24,
    40,
    51,
    61,
    12,
    12,
    14,
    19,
    26,
    58,
    60,
    55,
    14,
    13,
    16,
    24,
    40,
    57,
    69,
    56,
    14,
    17,
    22,
    29,
    51,
    87,
    80,
    62,
    18,
    22,
    37,
    56,
    68,
    109,
    103,
    77,
    24,
    35,
    55,
    64,
    81,
    104,
    113,
    92,
    49,
    64,
    78,
    87,
    103,
    121,
    120,
    101,
    72,
    92,
    95,
    98,
    112,
    100,
    103,
    99,
)
_CHROMINANCE = (
    17,
    18,
    24,
    47,
    99,
    99,
    99,
    99,
    18,
    21,
    26,
    66,
    99,
    99,
    99,
    99,
    24,
    26,
    56,
    99,
    99,
    99,
    99,
    99,
    47,
    66,
    99,
    99,
    99,
    99,
    99,
    99,
    *([99] * 32),
)


@dataclass
class Views:
    """A batch of views on one device.

    Attributes:
        rgb: float32 (B, 3, H, W), 0 to 255.
        depth: float32 (B, 1, H, W), metres, 0 = unknown.
        fx, cx: focal length and column of the optical axis in pixels, float32 (B,).
    """

    rgb: Tensor
    depth: Tensor
    fx: Tensor
    cx: Tensor


class Draw:
    """Draw random numbers for each element of a batch from one generator."""

    def __init__(self, generator: torch.Generator, batch: int) -> None:
        self.generator, self.device, self.batch = generator, generator.device, batch

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        """Draw (B, *shape), uniformly distributed."""
        values = torch.rand((self.batch, *shape), generator=self.generator, device=self.device)
        return low + (high - low) * values

    def normal(self, deviation: float = 1.0, *shape: int) -> Tensor:
        """Draw (B, *shape), normally distributed about 0."""
        return deviation * torch.randn(
            (self.batch, *shape), generator=self.generator, device=self.device
        )

    def noise(self, like: Tensor) -> Tensor:
        """Draw standard normal noise of the shape of `like`."""
        return torch.randn(like.shape, generator=self.generator, device=self.device)

    def chance(self, probability: float) -> Tensor:
        """Draw booleans (B,)."""
        return self.uniform() < probability


def augment(
    views: Views,
    size: tuple[int, int],
    focal: float,
    generator: torch.Generator,
    decal_probability: float = 0.35,
) -> Views:
    """Turn views into random views by other cameras, all of one size.

    Args:
        views: views as stored.
        size: height and width of the result, multiples of 8.
        focal: focal length of the canonical camera in pixels of the result.
        generator: source of all randomness, on the views' device.
        decal_probability: probability of flat patches on the surfaces of an image.

    Returns:
        Views with the depth of the canonical camera: `fx` is `focal`.
    """
    draw = Draw(generator, len(views.rgb))
    rgb = decals(views, draw, decal_probability)
    views = resample(Views(rgb, views.depth, views.fx, views.cx), size, focal, draw)
    rgb = light(views.rgb, draw)
    rgb = blur(rgb, draw)
    rgb, depth = frame(rgb, views.depth, draw)
    rgb = sensor_noise(rgb, draw)
    rgb = jpeg(rgb, draw)
    return Views(rgb.clamp(0, 255).round(), depth, views.fx, views.cx)


def resample(views: Views, size: tuple[int, int], focal: float, draw: Draw) -> Views:
    """Mirror, rotate by up to 4 degrees, and resample to the canonical focal length."""
    rows, columns = views.rgb.shape[-2:]
    height, width = size
    angle = draw.normal(math.radians(2)).clamp(-math.radians(4), math.radians(4))
    cos, sin = angle.cos(), angle.sin()
    # Half the extent of the rotated result in its own pixels.
    half_x = (width * cos + height * sin.abs()) / 2
    half_y = (height * cos + width * sin.abs()) / 2
    wanted = focal * _mismatch(draw).exp() / views.fx
    scale = torch.maximum(wanted, torch.maximum(2 * half_x / columns, 2 * half_y / rows))
    slack_x, slack_y = columns / 2 - half_x / scale, rows / 2 - half_y / scale
    # The optical axis of a real camera is near the image centre.
    shift_x = slack_x * draw.normal(0.5).clamp(-1, 1)
    shift_y = slack_y * draw.normal(0.5).clamp(-1, 1)
    mirror = torch.where(draw.chance(0.5), -1.0, 1.0)
    # From the result's centred pixels to the source's, both in grid_sample's -1..1.
    matrix = torch.stack(
        [
            torch.stack(
                [
                    mirror * cos * width / columns / scale,
                    -sin * height / columns / scale,
                    2 * shift_x / columns,
                ],
                -1,
            ),
            torch.stack(
                [
                    mirror * sin * width / rows / scale,
                    cos * height / rows / scale,
                    2 * shift_y / rows,
                ],
                -1,
            ),
        ],
        1,
    )
    grid = F.affine_grid(matrix, [len(scale), 1, height, width], align_corners=False)
    rgb = F.grid_sample(views.rgb, grid, 'bilinear', 'border', align_corners=False)
    depth = F.grid_sample(views.depth, grid, 'nearest', 'zeros', align_corners=False)
    seen = views.fx * scale
    return Views(
        rgb,
        depth * (focal / seen).view(-1, 1, 1, 1),
        torch.full_like(seen, focal),
        torch.full_like(seen, (width - 1) / 2),
    )


def _mismatch(draw: Draw) -> Tensor:
    """Draw the log ratio of the images' focal length to the canonical one, (B,).

    Usually about 0. At inference, the image of a wide camera is enlarged only so far, since the
    network's time grows with it, and an uncalibrated camera is assumed to be the training camera.
    """
    small = draw.normal(0.08).clamp(-0.2, 0.2)
    return torch.where(draw.chance(0.6), small, draw.uniform(-0.5, 0.0))


def decals(views: Views, draw: Draw, probability: float, most: int = 3) -> Tensor:
    """Lay flat patches on planes of the scene; return images (B, 3, H, W), see `augment.decals`."""
    wanted = draw.chance(probability)
    if views.rgb.device.type == 'cpu':
        return _decals_of_some(views, draw, wanted, most)
    return _decals(views, draw, wanted, most)


def _decals_of_some(views: Views, draw: Draw, wanted: Tensor, most: int) -> Tensor:
    """Return all images after working on the wanted ones alone: on a CPU nothing waits for it."""
    rgb, some = views.rgb.clone(), wanted.nonzero()[:, 0]
    if len(some):
        part = Views(*(tensor[some] for tensor in (views.rgb, views.depth, views.fx, views.cx)))
        rgb[some] = _decals(part, Draw(draw.generator, len(some)), wanted[some], most)
    return rgb


def _decals(views: Views, draw: Draw, wanted: Tensor, most: int) -> Tensor:
    points = _points(views)
    rgb = views.rgb
    for number in range(most):
        cover = _cover(points, draw) & (wanted & draw.chance(1 - number / most)).view(-1, 1, 1, 1)
        rgb = _laid(rgb, cover.float(), draw)
    return rgb


def _points(views: Views) -> Tensor:
    """Return camera coordinates (B, 3, H, W); square pixels, optical axis in the middle row."""
    rows, columns = views.depth.shape[-2:]
    y = torch.arange(rows, device=views.depth.device) - (rows - 1) / 2
    x = torch.arange(columns, device=views.depth.device)[None] - views.cx[:, None]
    fx = views.fx.view(-1, 1, 1, 1)
    return torch.cat(
        [x[:, None, None] * views.depth / fx, y.view(1, 1, -1, 1) * views.depth / fx, views.depth],
        1,
    )


def _cover(points: Tensor, draw: Draw) -> Tensor:
    """Choose a patch; return the mask of its pixels (B, 1, H, W), empty if no plane was found."""
    rows, columns = points.shape[-2:]
    # The maximum of two random numbers prefers low rows, which show most floors and tables.
    row = (draw.uniform(0, 1, 2).amax(1) * (rows - 2 * _REACH)).long() + _REACH
    column = (draw.uniform() * (columns - 2 * _REACH)).long() + _REACH

    def at(down: int, right: int) -> Tensor:
        place = (row + down) * columns + column + right
        return points.flatten(2).gather(2, place.view(-1, 1, 1).expand(-1, 3, 1))[..., 0]

    here, around = at(0, 0), [at(0, _REACH), at(0, -_REACH), at(_REACH, 0), at(-_REACH, 0)]
    normal = F.normalize(torch.linalg.cross(around[0] - around[1], around[2] - around[3]), dim=1)
    flat = torch.stack(
        [((point - here) * normal).sum(1).abs() < _FLAT * here[:, 2] for point in around]
    ).all(0) & (here[:, 2] > 0)
    turn = draw.uniform(0, math.pi)
    along = torch.stack([turn.cos(), turn.sin(), torch.full_like(turn, 0.35)], 1)
    across = F.normalize(torch.linalg.cross(normal, along), dim=1)
    half = draw.uniform(math.log(0.12), math.log(1.2), 2).exp()
    axes = torch.stack(
        [across / half[:, :1], torch.linalg.cross(normal, across) / half[:, 1:], normal], 1
    )
    place = torch.einsum('bij,bjhw->bihw', axes, points - here[..., None, None]).abs()
    u, v, above = place.unbind(1)
    round_one = draw.chance(0.25).view(-1, 1, 1)
    inside = torch.where(round_one, u * u + v * v < 1, torch.maximum(u, v) < 1)
    near = above < _FLAT * torch.maximum(points[:, 2], here[:, 2].view(-1, 1, 1))
    return (inside & near & flat.view(-1, 1, 1))[:, None]


def _laid(rgb: Tensor, share: Tensor, draw: Draw) -> Tensor:
    """Recolour the covered pixels with a new colour in the same light, or tint their own."""
    colour = draw.normal(0.15, 3).exp().view(-1, 3, 1, 1)
    tint = rgb * colour * draw.uniform(-0.9, 0.6).exp().view(-1, 1, 1, 1)
    grey = rgb.mean(1, keepdim=True)
    lit = _smooth(grey * share) / _smooth(share).clamp_min(1e-3)
    mean = (lit * share).sum((1, 2, 3)) / share.sum((1, 2, 3)).clamp_min(1)
    target = draw.uniform(0.12, 0.95) * grey.flatten(1).mean(1).mul(1.6).clamp(30, 255)
    grain = 1 + draw.normal(0.05).abs().view(-1, 1, 1, 1) * draw.noise(grey)
    painted = lit * grain * (target / mean.clamp_min(1)).view(-1, 1, 1, 1) * colour
    tinted = draw.chance(0.4).view(-1, 1, 1, 1)
    soft = F.avg_pool2d(share, 3, 1, 1)
    return rgb + soft * (torch.where(tinted, tint, painted).clamp(0, 255) - rgb)


def _smooth(image: Tensor) -> Tensor:
    # Rows and columns separately: the same mean, and several times as fast on a CPU.
    for _ in range(2):
        image = F.avg_pool2d(F.avg_pool2d(image, (13, 1), 1, (6, 0)), (1, 13), 1, (0, 6))
    return image


def light(rgb: Tensor, draw: Draw) -> Tensor:
    """Vary exposure, white balance, light, gamma, contrast and saturation, and mix channels."""
    rows, columns = rgb.shape[-2:]
    stops = draw.normal(0.7) - 0.15
    gain = ((stops[:, None] + draw.normal(0.2, 3)) / _GAMMA).exp2().view(-1, 3, 1, 1)
    x = torch.linspace(-1, 1, columns, device=rgb.device).view(1, 1, 1, -1)
    y = torch.linspace(-1, 1, rows, device=rgb.device).view(1, 1, -1, 1)
    slope = draw.normal(0.2, 2) * draw.chance(0.5)[:, None]
    vignette = draw.uniform(0, 0.25) * draw.chance(0.5)
    uneven = (
        slope[:, 0].view(-1, 1, 1, 1) * x
        + slope[:, 1].view(-1, 1, 1, 1) * y
        - vignette.view(-1, 1, 1, 1) * (x * x + y * y)
    )
    rgb = (rgb * gain * uneven.exp()).clamp(0, 255)
    rgb = 255 * (rgb / 255).clamp_min(1e-4) ** draw.uniform(0.7, 1.4).view(-1, 1, 1, 1)
    rgb = rgb * (1 + draw.uniform(-0.3, 0.3)).view(-1, 1, 1, 1)
    grey = rgb.mean(1, keepdim=True)
    rgb = grey + (rgb - grey) * (1 + draw.uniform(-0.6, 0.5)).view(-1, 1, 1, 1)
    mix = torch.eye(3, device=rgb.device) + draw.normal(0.05, 3, 3)
    return torch.einsum('bij,bjhw->bihw', mix, rgb).clamp(0, 255)


def blur(rgb: Tensor, draw: Draw) -> Tensor:
    """Blur some images by defocus and others by motion, with one kernel per image."""
    reach = _KERNEL // 2
    offset = torch.arange(-reach, reach + 1, device=rgb.device, dtype=rgb.dtype)
    x, y = offset.view(1, 1, -1), offset.view(1, -1, 1)
    width = draw.uniform(0.3, 2.0).view(-1, 1, 1)
    # Too narrow to blur anything.
    width = torch.where(draw.chance(0.3).view(-1, 1, 1), width, 0.1)
    round_one = (-(x * x + y * y) / (2 * width * width)).exp()
    angle, length = draw.uniform(0, math.pi).view(-1, 1, 1), draw.uniform(1, reach).view(-1, 1, 1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    line = (1 - across.abs()).clamp_min(0) * ((length + 0.5 - along.abs()).clamp(0, 1))
    kernel = torch.where(draw.chance(0.15).view(-1, 1, 1), line, round_one)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    batch, channels = rgb.shape[:2]
    weight = kernel[:, None].expand(-1, channels, -1, -1).reshape(-1, 1, _KERNEL, _KERNEL)
    padded = F.pad(rgb.reshape(1, -1, *rgb.shape[-2:]), (reach,) * 4, mode='replicate')
    return F.conv2d(padded, weight, groups=batch * channels).view_as(rgb)


def frame(
    rgb: Tensor,
    depth: Tensor,
    draw: Draw,
    probability: float = 0.06,
) -> tuple[Tensor, Tensor]:
    """Give some images a white or black frame, as NYU's images have; depth there is unknown."""
    rows, columns = rgb.shape[-2:]
    edge = draw.uniform(0.008, 0.04, 4) * columns
    y = torch.arange(rows, device=rgb.device).view(1, -1, 1)
    x = torch.arange(columns, device=rgb.device).view(1, 1, -1)
    left, right, top, bottom = (edge[:, i].view(-1, 1, 1) for i in range(4))
    outside = (x < left) | (x >= columns - right) | (y < top) | (y >= rows - bottom)
    outside = (outside & draw.chance(probability).view(-1, 1, 1))[:, None]
    value = torch.where(draw.chance(0.7), draw.uniform(235, 255), draw.uniform(0, 20))
    return torch.where(outside, value.view(-1, 1, 1, 1), rgb), depth.masked_fill(outside, 0)


def sensor_noise(rgb: Tensor, draw: Draw, level: float = 0.03) -> Tensor:
    """Add Gaussian noise whose variance grows with the light (Foi et al. 2008, eq. 3)."""
    deviation = 255 * draw.normal(level).abs().view(-1, 1, 1, 1)
    rgb = rgb.clamp(0, 255)
    return rgb + draw.noise(rgb) * deviation * (0.5 + rgb / 255).sqrt()


def jpeg(
    rgb: Tensor, draw: Draw, probability: float = 0.5, low: float = 30.0, high: float = 95.0
) -> Tensor:
    """Compress as JPEG of random quality without chroma subsampling; sides are multiples of 8."""
    rgb = rgb.clamp(0, 255)
    quality = draw.uniform(low, high)
    # The scale of the tables, computed as in libjpeg.
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(-1, 1, 1, 1, 1, 1)
    tables, to_ycc, to_rgb, dct = _jpeg_constants(rgb.device)
    steps = (tables * scale).round().clamp(1, 255)
    ycc = torch.einsum('ij,bjhw->bihw', to_ycc, rgb - 128)
    batch, _, rows, columns = rgb.shape
    blocks = ycc.view(batch, 3, rows // 8, 8, columns // 8, 8)
    waves = torch.einsum('ui,bcyixj,vj->bcyuxv', dct, blocks, dct)
    waves = (waves / steps).round() * steps
    blocks = torch.einsum('ui,bcyuxv,vj->bcyixj', dct, waves, dct)
    coded = torch.einsum('ij,bjhw->bihw', to_rgb, blocks.reshape(batch, 3, rows, columns)) + 128
    return torch.where(draw.chance(probability).view(-1, 1, 1, 1), coded, rgb)


@functools.lru_cache(maxsize=8)
def _jpeg_constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the quantisation tables, JFIF's matrices from and to RGB, and the DCT, in float32.

    Cached, since copying them to a GPU, or inverting a matrix there, waits for all of its work.
    """
    tables = torch.tensor([_LUMINANCE, _CHROMINANCE, _CHROMINANCE], dtype=torch.float32)
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    constants = tables.view(1, 3, 1, 8, 1, 8), to_ycc, torch.linalg.inv(to_ycc), _dct()
    return tuple(tensor.to(device) for tensor in constants)  # type: ignore[return-value]


def _dct() -> Tensor:
    """Return the orthonormal 8-point DCT-II matrix; rows are frequencies."""
    number = torch.arange(8, dtype=torch.float32)
    waves = ((2 * number + 1)[None] * number[:, None] * math.pi / 16).cos() / 2
    waves[0] /= math.sqrt(2)
    return waves
