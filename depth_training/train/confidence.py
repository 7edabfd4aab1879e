# SPDX-License-Identifier: Apache-2.0
"""Add a head that estimates the error of a trained network, whose depth stays bit for bit.

    python -m depth_training.train.confidence weights.safetensors rooms.zip --out new.safetensors

The network is frozen. Its features for some views of the file by `depth_training.data.pack_rooms`,
augmented as in training, are computed once and kept in memory (8 bytes a pixel); then the head is
trained on them in minutes: by the likelihood of a Laplace distribution of log prediction - log
truth, whose scale is the head's output (Kendall and Gal 2017, section 3.1). Half of the held-out
rooms give one factor on the scale, because errors in rooms of the training are smaller; the tables
that the command prints are those of the other half (`depth_training.evaluate.sparsification`).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from depth_perception.inference.backends.torch_eager import has_bfloat16
from depth_perception.inference.estimator import WITHIN
from depth_perception.io.files import check_writable
from depth_perception.io.weights import (
    UNCERTAINTY,
    LoadedWeights,
    WeightsError,
    load_weights,
    save_weights,
)
from depth_perception.networks import create_network, network_arguments
from depth_perception.networks.uncertainty import STRIDE, UncertaintyHead
from depth_perception.progress import Progress
from depth_training.augment.batch import Views, augment
from depth_training.convert.heads import without_head, without_head_recipe
from depth_training.data.layouts.packed import PackedViews
from depth_training.data.sample import DataError
from depth_training.evaluate.sparsification import Sparsification, described
from depth_training.losses.losses import valid_mask

#: Number of views of a batch.
BATCH = 4
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3


@dataclasses.dataclass
class Seen:
    """What the head sees of a batch of views, and what it must tell.

    Attributes:
        features: of each decoder stage, half precision, not finer than the head's result.
        depth: prediction (B, 1, H, W), metres.
        errors: log prediction - log truth (B, 1, H / 4, W / 4).
        known: where the truth is known, of that shape.
    """

    features: list[Tensor]
    depth: Tensor
    errors: Tensor
    known: Tensor


def with_head(loaded: LoadedWeights) -> LoadedWeights:
    """Return the network with a new head, all else frozen and unchanged.

    Raises:
        WeightsError: such a network can have no head, or gives no metres for a known focal length.
    """
    info = loaded.info
    can = UNCERTAINTY in network_arguments(info.network)
    if not can or info.output != 'metres' or not info.training_focal_length:
        raise WeightsError(
            f'{loaded.path} contains {info.network}: only efficientnet_sff with metres and a '
            'known focal length can have an uncertainty head'
        )
    arguments = {**info.network_arguments, UNCERTAINTY: True}
    network = create_network(info.network, **arguments).eval().requires_grad_(False)
    kept = without_head(loaded.network.state_dict())
    network.load_state_dict({**network.state_dict(), **kept})
    return dataclasses.replace(
        loaded, network=network, info=dataclasses.replace(info, network_arguments=arguments)
    )


@torch.no_grad()
def see(network: Any, image: Tensor, truth: Tensor) -> Seen:
    """Run the frozen network on normalised images (B, 3, H, W) with truth (B, 1, H, W)."""
    with torch.autocast('cpu', torch.bfloat16, enabled=has_bfloat16()):
        depth, features = network.features(image)
    depth = depth.float()
    size = (depth.shape[-2] // STRIDE, depth.shape[-1] // STRIDE)
    small = [
        F.interpolate(part.float(), size, mode='bilinear') if part.shape[-1] > size[1] else part
        for part in features
    ]
    middle = slice(STRIDE // 2, None, STRIDE)
    predicted, true = (one[..., middle, middle] for one in (depth, truth))
    known = valid_mask(true)
    errors = predicted.clamp(min=1e-3).log() - true.clamp(min=1e-3).log()
    return Seen([part.half() for part in small], depth, errors, known)


def views(pack: Path, count: int, info: Any, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of augmented training views: normalised images and depth for its camera."""
    packed = PackedViews(pack, 'train')
    chosen = [index * len(packed) // count for index in range(min(count, len(packed)))]
    generator = torch.Generator()
    focal = info.focal_length_at(info.input_width)
    for number, first in enumerate(range(0, len(chosen), BATCH)):
        samples = [packed.read(index) for index in chosen[first : first + BATCH]]
        generator.manual_seed(seed * 1_000_003 + number)
        batch = Views(
            torch.from_numpy(np.stack([sample.rgb for sample in samples]))
            .permute(0, 3, 1, 2)
            .float(),
            torch.from_numpy(np.stack([sample.depth for sample in samples]))[:, None],
            torch.tensor([float(sample.fx or 0) for sample in samples]),
            torch.tensor([float(sample.cx or 0) for sample in samples]),
        )
        batch = augment(batch, (info.input_height, info.input_width), focal, generator)
        yield _normalised(batch.rgb, info), batch.depth


def held_out(pack: Path, count: int) -> tuple[list[Any], list[Any]]:
    """Return samples of one half of the held-out rooms, and of the other half.

    Raises:
        DataError: fewer than two rooms are held out, or all views are of one half.
    """
    packed = PackedViews(pack, 'test')
    rooms = sorted({view['name'].partition('/')[0] for view in packed.views})
    if len(rooms) < 2:
        raise DataError(f'{pack} holds out {len(rooms)} room; two are needed, to calibrate on one')
    count = min(count, len(packed))
    halves: tuple[list[Any], list[Any]] = ([], [])
    for index in (number * len(packed) // count for number in range(count)):
        room = packed.views[index]['name'].partition('/')[0]
        halves[rooms.index(room) % 2].append(packed.read(index))
    if not all(halves):
        raise DataError(
            f'--held-out {count}: all of these views are in one half of the rooms, so none is left '
            'to judge the head by; give a larger number'
        )
    return halves


def whole(network: Any, sample: Any, info: Any) -> Seen:
    """Run the network on a whole view, resized to its input, as in use."""
    size = (info.input_height, info.input_width)
    rgb = torch.from_numpy(sample.rgb).permute(2, 0, 1)[None].float()
    rgb = F.interpolate(rgb, size, mode='bilinear', antialias=True)
    factor = sample.fx * size[1] / sample.depth.shape[1] / info.focal_length_at(size[1])
    truth = F.interpolate(torch.from_numpy(sample.depth)[None, None], size, mode='nearest')
    return see(network, _normalised(rgb, info), truth / factor)


def fit(head: UncertaintyHead, seen: list[Seen], epochs: int, seed: int) -> float:
    """Train the head; return the mean loss of the last epoch."""
    head.requires_grad_(True)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=epochs * len(seen)
    )
    losses: list[float] = []
    with Progress('head', epochs * len(seen), ' batches') as progress:
        for _ in range(epochs):
            losses = []
            for index in torch.randperm(len(seen)).tolist():
                loss = laplace(_scale(head, seen[index]), seen[index])
                if not loss.isfinite():
                    raise ValueError('the loss is not finite: the data or the weights are broken')
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                progress.step()
    head.requires_grad_(False)
    return float(np.mean(losses))


def laplace(log_scale: Tensor, seen: Seen) -> Tensor:
    """Return the mean negative log likelihood of the errors, less a constant."""
    scale, errors = log_scale[seen.known], seen.errors[seen.known].abs()
    return (scale + errors * torch.exp(-scale)).mean() if len(errors) else log_scale.sum() * 0


@torch.no_grad()
def calibrate(head: UncertaintyHead, seen: list[Seen]) -> float:
    """Multiply the head's scale by the most likely factor for these views; return it."""
    ratios = []
    for one in seen:
        scale = _scale(head, one)
        ratios.append((one.errors.abs() * torch.exp(-scale))[one.known])
    factor = float(torch.cat(ratios).mean())
    last = head.mix[-1]
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    last.bias += math.log(factor)
    return factor


@torch.no_grad()
def judge(head: UncertaintyHead, seen: list[Seen]) -> Sparsification:
    """Return how the head ranks errors, and how reliable it is."""
    found = Sparsification()
    for one in seen:
        # The ranking needs only the ratio of depth and truth.
        errors = one.errors[one.known]
        confidence = 1 - torch.exp(-math.log(WITHIN) * torch.exp(-_scale(head, one)[one.known]))
        found.add(np.exp(errors.numpy()), np.ones(len(errors), np.float32), confidence.numpy())
    return found


def _scale(head: UncertaintyHead, seen: Seen) -> Tensor:
    result: Tensor = head([part.float() for part in seen.features], seen.depth)
    return result


def _normalised(rgb: Tensor, info: Any) -> Tensor:
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    return (rgb - mean) / std


def _is_half(loaded: LoadedWeights) -> bool:
    """Return whether half precision stores the network without loss, as its file does."""
    return all(
        torch.equal(tensor.half().float(), tensor)
        for tensor in loaded.network.state_dict().values()
        if tensor.is_floating_point()
    )


def train(options: argparse.Namespace) -> str:
    """Train, calibrate and judge a head, and write the new file; return a text about it."""
    check_writable(options.out)
    loaded = load_weights(None if options.weights == 'default' else options.weights)
    is_half = _is_half(loaded)
    torch.manual_seed(options.seed)
    loaded = with_head(loaded)
    network, info, started = loaded.network, loaded.info, time.monotonic()
    head = network.uncertainty
    assert isinstance(head, UncertaintyHead)
    halves = held_out(options.pack, options.held_out)
    training = []
    total = min(options.views, len(PackedViews(options.pack, 'train')))
    with Progress('features', total, ' views') as progress:
        for image, depth in views(options.pack, total, info, options.seed):
            training.append(see(network, image, depth))
            for _ in range(len(image)):
                progress.step()
    loss = fit(head, training, options.epochs, options.seed)
    seen = [[whole(network, sample, info) for sample in half] for half in halves]
    factor = calibrate(head, seen[0])
    about = (
        f'uncertainty head: {options.epochs} epochs of {total} views of {options.pack.name}, '
        f'Laplace likelihood, scale times {factor:.3f} by {len(seen[0])} views of held-out rooms'
    )
    recipe = without_head_recipe(info.recipe)
    info = dataclasses.replace(info, recipe=f'{recipe}; {about}' if recipe else about)
    checksum = save_weights(options.out, network, info, torch.float16 if is_half else None)
    seconds = time.monotonic() - started
    return (
        f'{options.out}: {about}; loss {loss:.3f}; {seconds:.0f} s; checksum {checksum}\n'
        + described({'confidence': judge(head, seen[1])})
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog='python -m depth_training.train.confidence',
        description=(__doc__ or '').splitlines()[0],
    )
    add = parser.add_argument
    add('weights', help='weights file, or "default" for the bundled network; a head is replaced')
    add('pack', type=Path, help='file written by depth_training.data.pack_rooms')
    add('--out', type=Path, required=True, help='weights file to write')
    add('--views', type=int, default=1000, help='training views (default: %(default)s)')
    add('--epochs', type=int, default=6, help='passes over them (default: %(default)s)')
    add('--held-out', type=int, default=320, help='held-out views (default: %(default)s)')
    add('--threads', type=int, default=0, help="PyTorch's threads (default: one per core)")
    add('--seed', type=int, default=0)
    options = parser.parse_args(arguments)
    for name in ('views', 'epochs', 'held_out'):
        if getattr(options, name) < 1:
            parser.error(f'--{name.replace("_", "-")} is {getattr(options, name)}: give 1 or more')
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    try:
        sys.stdout.write(f'{train(options)}\n')
    except (DataError, WeightsError, ValueError, OSError) as error:
        sys.stderr.write(f'confidence: {error}\n')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
