# SPDX-License-Identifier: Apache-2.0
"""Train the bundled network on rendered rooms: EfficientNet-Lite2 + SFF, a quick recipe.

Depth is learnt as seen by one canonical camera (Metric3D, Yin et al. 2023, section 3.1): a view
of focal length f pixels trains on depth x canonical f / f, so that one network serves every
camera; the estimator undoes it with the camera's own focal length.

With --boxes half of every batch comes from the raycaster. Off by default: 1000 views of boxes, at
192x256 and 1800 steps, helped on the bundled clip (AbsRel 0.29 instead of 0.38) and hurt on the
rendered room held out (0.34 instead of 0.28) and on real Kinect images of a kitchen (0.30 instead
of 0.20; all metric, without alignment).

    python -m depth_training.bundled --rooms ROOMS --hold-out scene_1 --out default.safetensors
"""
from __future__ import annotations

import argparse
import copy
import functools
import json
import math
import multiprocessing
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_perception.networks import create_network
from depth_perception.weights import WeightsInfo, save_weights
from depth_training.data.rooms import read_room
from depth_training.data.sample import Sample
from depth_training.imagenet import load_lite2
from depth_training.raycaster import make_textures, render_views

HEIGHT, WIDTH = 240, 320
#: Focal length, in pixels at WIDTH, of the camera in whose terms depth is learnt (63 degrees).
CANONICAL_FOCAL = 0.81 * WIDTH
MAX_DEPTH = 10.0
#: EfficientNet-Lite's own normalisation.
MEAN = STD = (0.5, 0.5, 0.5)
ENCODER = 'tf_efficientnet_lite2'


class Views(NamedTuple):
    """Views of equal size: rgb uint8 (N, 3, H, W), depth (N, 1, H, W) metres, fx (N,) pixels."""

    rgb: Tensor
    depth: Tensor
    fx: Tensor


def stack_views(views: list[Sample]) -> Views:
    """Views as three tensors, at the training size."""
    views = [_resized(view) for view in views]
    rgb = torch.from_numpy(np.stack([view.rgb for view in views])).permute(0, 3, 1, 2)
    depth = torch.from_numpy(np.stack([view.depth for view in views]))[:, None]
    return Views(rgb.contiguous(), depth, torch.tensor([view.fx for view in views]))


def _resized(view: Sample) -> Sample:
    size, scale = (WIDTH, HEIGHT), WIDTH / view.rgb.shape[1]
    return Sample(cv2.resize(view.rgb, size, interpolation=cv2.INTER_AREA),
                  cv2.resize(view.depth, size, interpolation=cv2.INTER_NEAREST),
                  view.id, view.fx * scale)


def raycast_views(count: int, seed: int, pictures: np.ndarray) -> list[Sample]:
    """Views of random boxes, with textures cut from the training rooms; on every core."""
    textures = make_textures(np.random.default_rng(seed), 300, pictures)
    part = functools.partial(render_views, seed, count=10, textures=textures, height=HEIGHT,
                             width=WIDTH)
    with multiprocessing.get_context('spawn').Pool() as pool:
        return [view for views in pool.map(part, range(0, count, 10)) for view in views]


def draw(sources: list[Views], batch: int, rng: np.random.Generator) -> Views:
    """A batch with an equal share of each source."""
    shares = np.array_split(np.arange(batch), len(sources))
    parts = [_pick(source, len(share), rng) for source, share in zip(sources, shares)]
    return Views(*(torch.cat(tensors) for tensors in zip(*parts)))


def _pick(source: Views, count: int, rng: np.random.Generator) -> Views:
    chosen = torch.from_numpy(rng.choice(len(source.fx), count, replace=False))
    return Views(*(tensor[chosen] for tensor in source))


def canonical_depth(depth: Tensor, fx: Tensor) -> Tensor:
    """Depth (N, 1, H, W) as the canonical camera would see it; 0 where unknown or too far."""
    depth = depth * (CANONICAL_FOCAL / fx).view(-1, 1, 1, 1)
    return torch.where(depth < MAX_DEPTH, depth, 0.0)


def augment(views: Views, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch for training: image in 0..1 (N, 3, H, W) and canonical depth (N, 1, H, W)."""
    pairs = [_zoom(views, index, rng) for index in range(len(views.fx))]
    image = torch.stack([_recolour(rgb, rng) for rgb, _ in pairs])
    return image, torch.stack([depth for _, depth in pairs])


def _zoom(views: Views, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random crop enlarged to full size, random mirror: the focal length grows with the zoom."""
    scale = float(np.exp(rng.uniform(0, math.log(1.6))))
    height, width = round(HEIGHT / scale), round(WIDTH / scale)
    top = int(rng.integers(0, HEIGHT - height + 1))
    left = int(rng.integers(0, WIDTH - width + 1))
    window = np.s_[index:index + 1, :, top:top + height, left:left + width]
    rgb = F.interpolate(views.rgb[window].float() / 255, (HEIGHT, WIDTH), mode='bilinear',
                        align_corners=False)
    depth = F.interpolate(views.depth[window], (HEIGHT, WIDTH), mode='nearest')
    depth = canonical_depth(depth, views.fx[index:index + 1] * scale)
    if rng.random() < 0.5:
        rgb, depth = rgb.flip(-1), depth.flip(-1)
    return rgb[0], depth[0]


def _recolour(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """Exposure, white balance, gamma, contrast, saturation, blur and sensor noise."""
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.1, 3))
    rgb = rgb * torch.tensor(gain, dtype=torch.float32).view(3, 1, 1)
    rgb = rgb.clamp(0, 1) ** float(np.exp(rng.normal(0, 0.2)))
    grey = rgb.mean(0, keepdim=True)
    rgb = grey + (rgb - grey) * float(rng.uniform(0.4, 1.5))
    rgb = rgb.mean() + (rgb - rgb.mean()) * float(rng.uniform(0.7, 1.3))
    if rng.random() < 0.3:
        factor = float(rng.uniform(0.4, 0.9))
        small = F.interpolate(rgb[None], scale_factor=factor, mode='area')
        rgb = F.interpolate(small, (HEIGHT, WIDTH), mode='bilinear', align_corners=False)[0]
    noise = float(abs(rng.normal(0, 0.02)))
    return (rgb + noise * torch.randn_like(rgb)).clamp(0, 1)


def normalise(image: Tensor) -> Tensor:
    """Image in 0..1 -> the network's input."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((image - mean) / std).contiguous(memory_format=torch.channels_last)


def depth_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant log loss (Eigen et al. 2014, eq. 4, rooted) and log-gradient loss."""
    valid = target > 0
    error = torch.where(valid, prediction.clamp_min(1e-3).log() - target.clamp_min(1e-3).log(), 0)
    count = valid.sum().clamp_min(1)
    mean_square, mean = error.square().sum() / count, error.sum() / count
    silog = (mean_square - 0.5 * mean.square()).clamp_min(1e-8).sqrt()
    return silog + 0.5 * _gradient_loss(error, valid)


def _gradient_loss(error: Tensor, valid: Tensor) -> Tensor:
    """Mean |difference| of the log error between neighbours, at four scales (MegaDepth, eq. 3)."""
    total = error.new_zeros(())
    for step in (1, 2, 4, 8):
        e, v = error[..., ::step, ::step], valid[..., ::step, ::step]
        for axis in (-1, -2):
            both = v.narrow(axis, 1, v.shape[axis] - 1) & v.narrow(axis, 0, v.shape[axis] - 1)
            total = total + (e.diff(dim=axis).abs() * both).sum() / both.sum().clamp_min(1)
    return total / 4


@torch.no_grad()
def evaluate(network: nn.Module, views: Views, batch: int = 10) -> dict[str, float]:
    """Metric scores without any alignment, over all pixels with a depth up to MAX_DEPTH."""
    network.eval()
    sums = np.zeros(4)
    for start in range(0, len(views.fx), batch):
        part = Views(*(tensor[start:start + batch] for tensor in views))
        prediction = network(normalise(part.rgb.float() / 255)).float()
        prediction = prediction * (part.fx / CANONICAL_FOCAL).view(-1, 1, 1, 1)
        sums += _error_sums(prediction, part.depth)
    return {'AbsRel': sums[0] / sums[3], 'RMSE': math.sqrt(sums[1] / sums[3]),
            'delta1': sums[2] / sums[3], 'pixels': int(sums[3])}


def _error_sums(prediction: Tensor, truth: Tensor) -> np.ndarray:
    valid = (truth > 1e-3) & (truth < MAX_DEPTH)
    p, t = prediction[valid].double(), truth[valid].double()
    near = torch.maximum(p / t, t / p) < 1.25
    return np.array([((p - t).abs() / t).sum(), (p - t).square().sum(), near.sum(), valid.sum()])


class Average:
    """Exponential moving average of a network's state."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay, self.steps = copy.deepcopy(network).eval(), decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards `network`; faster at the start."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values()):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def train(sources: list[Views], held_out: Views, steps: int, batch: int, learning_rate: float,
          seed: int) -> nn.Module:
    """Train from ImageNet; returns the averaged network."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = create_network('efficientnet_sff', encoder=ENCODER, max_depth=MAX_DEPTH)
    load_lite2(network.encoder)
    network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, steps, pct_start=0.1)
    average = Average(network, 0.998)
    start = time.monotonic()
    for step in range(1, steps + 1):
        image, depth = augment(draw(sources, batch, rng), rng)
        network.train()
        with torch.autocast('cpu', torch.bfloat16):
            prediction = network(normalise(image))
        loss = depth_loss(prediction.float(), depth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update(network)
        if step % 100 == 0 or step == steps:
            scores = evaluate(average.network, held_out) if step % 500 == 0 else {}
            print(json.dumps({'step': step, 'loss': round(loss.item(), 4),
                              'seconds': round(time.monotonic() - start), **scores}), flush=True)
    return average.network


def weights_info(scores: dict[str, float], scenes: list[str], count: int, boxes: int,
                 held_out: str, steps: int) -> WeightsInfo:
    """What the file says of itself."""
    figures = {key: round(float(value), 4) for key, value in scores.items()}
    return WeightsInfo(
        network='efficientnet_sff',
        network_arguments={'encoder': ENCODER, 'max_depth': MAX_DEPTH},
        input_height=HEIGHT, input_width=WIDTH, mean=MEAN, std=STD, output='metres',
        min_depth=0.1, max_depth=MAX_DEPTH,
        training_focal_length=CANONICAL_FOCAL, training_image_width=WIDTH,
        training_data=f'{count} rendered views of rooms {", ".join(scenes)}'
                      + f' and {boxes} raycast views of textured boxes' * (boxes > 0)
                      + '; encoder from ImageNet. No real image with depth was used.',
        scores=({'data': f'rooms/{held_out}, rendered, never trained on',
                 'protocol': 'metric, no alignment, all pixels with 0 < depth < 10 m, '
                             'averaged over all pixels', **figures},),
        licence='Apache-2.0', name='efficientnet_lite2_sff_rooms',
        recipe=f'python -m depth_training.bundled --steps {steps} --boxes {boxes}',
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rooms', type=Path, required=True, nargs='+', action='extend',
                        help='folders that hold scene_* folders')
    parser.add_argument('--hold-out', default='scene_1', help='scene for validation only')
    parser.add_argument('--out', type=Path, required=True, help='weights file to write')
    parser.add_argument('--steps', type=int, default=4000)
    parser.add_argument('--boxes', type=int, default=0, help='raycast views to add')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--learning-rate', type=float, default=1e-3)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    scenes = sorted(path.parent for root in options.rooms for path in root.glob('*/cameras.csv'))
    held_out = stack_views(read_room(next(s for s in scenes if s.name == options.hold_out)))
    scenes = [scene for scene in scenes if scene.name != options.hold_out]
    views = stack_views([view for scene in scenes for view in read_room(scene)])
    sources = [views]
    if options.boxes:
        pictures = views.rgb.permute(0, 2, 3, 1).numpy()
        sources.append(stack_views(raycast_views(options.boxes, options.seed, pictures)))
    network = train(sources, held_out, options.steps, options.batch, options.learning_rate,
                    options.seed)
    info = weights_info(evaluate(network, held_out), [scene.name for scene in scenes],
                        len(views.fx), options.boxes, options.hold_out, options.steps)
    print(info.scores, save_weights(options.out, network, info, torch.float16))


if __name__ == '__main__':
    main()
