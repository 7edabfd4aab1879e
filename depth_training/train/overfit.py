# SPDX-License-Identifier: Apache-2.0
"""Overfit a few pairs: the quickest test that network, loss and data work together.

A network that cannot reach a small error on eight pairs has a fault somewhere between pixels and
gradient; one that can may still generalise badly. Each network is trained with the loss, output and
normalisation of its paper's recipe, but with Adam, a cosine schedule and no augmentation. The head
starts at the mean depth of rooms, since a few hundred steps move it too little.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from depth_perception.io.files import write_atomically
from depth_perception.networks.up_projection_decoder import MEAN_INDOOR_DEPTH
from depth_training.augment.steps import Cover, RandomCrop
from depth_training.data import DataError, evenly, open_dataset
from depth_training.evaluate import pictures
from depth_training.evaluate.metrics import error_sums, scores_of
from depth_training.losses import losses
from depth_training.options import OverfitOptions
from depth_training.recipes import Recipe, get_recipe
from depth_training.train import build
from depth_training.train.distributed import local_device
from depth_training.train.training_data import Batch, ToTensors

#: Image sides are multiples of this, so the skips of every network align.
_MULTIPLE = 32
#: 1e-3 is unstable for DenseDepth's reciprocal depth and for CNN + FC with its dropout of 0.5.
_LEARNING_RATE = {'densedepth': 3e-4, 'cnn_fc': 3e-4}


@dataclass(frozen=True)
class Result:
    """Result of one network.

    Attributes:
        absrel: over all known pixels of all pairs, at the network's output size, in eval mode.
        steps: steps until the target was reached, or all steps.
        size: height and width of the images.
    """

    recipe: str
    network: str
    parameters: int
    loss: str
    size: tuple[int, int]
    precision: str
    steps: int
    seconds: float
    absrel: float
    learnt: bool


def overfit(options: OverfitOptions) -> int:
    """Train each network; return 0 if all learnt the pairs, otherwise 1.

    Raises:
        DataError, ValueError: the data or a recipe's name cannot be used.
    """
    device, results = local_device(options.device), []
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    recipes = [_resized(get_recipe(name), options.shrink) for name in options.recipes]
    for recipe in recipes:
        results.append(_learn(recipe, options, device))
        sys.stdout.write(_line(results[-1]) + '\n')
        sys.stdout.flush()
        if options.out:
            write_atomically(
                options.out / 'results.json',
                [json.dumps([asdict(result) for result in results], indent=1).encode()],
            )
    if options.out:
        sys.stderr.write(f'wrote results.json and pictures to {options.out}\n')
    return 0 if all(result.learnt for result in results) else 1


def _resized(recipe: Recipe, shrink: int) -> Recipe:
    """Return the recipe at a fraction of its whole frame, in multiples of 32 pixels."""
    height, width = (
        max(_MULTIPLE, round(side / shrink / _MULTIPLE) * _MULTIPLE)
        for side in (recipe.test_height, recipe.test_width)
    )
    arguments = dict(recipe.network_arguments)
    if 'head_bias' in arguments:
        arguments['head_bias'] = MEAN_INDOOR_DEPTH
    # Evaluation uses known pixels only, so training does, too.
    return replace(
        recipe,
        height=height,
        width=width,
        perceptual_weight=0.0,
        network_arguments=arguments,
        holes='left_out',
    )


def _learn(recipe: Recipe, options: OverfitOptions, device: torch.device) -> Result:
    network = build.network(recipe, options.seed).to(device)
    batch, samples = _batch(recipe, network, options, device)
    loss, valid = build.loss(recipe), build.to_learn(recipe, batch.depth)
    learning_rate = options.learning_rate or _LEARNING_RATE.get(recipe.network, 1e-3)
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    sys.stderr.write(
        f'{recipe.name}: at most {options.steps} steps of {options.pairs} pairs at '
        f'{recipe.height}x{recipe.width} on {device}\n'
    )
    started, step, error = time.monotonic(), 0, math.inf
    while step < options.steps and error > options.target:
        step += 1
        for group in optimizer.param_groups:
            group['lr'] = learning_rate * _cosine((step - 1) / options.steps)
        _step(network, optimizer, loss, batch, valid, options)
        if step % options.every == 0 or step == options.steps:
            error = _abs_rel(_depth(recipe, _settled(network, batch.image, options)), batch, valid)
            sys.stderr.write(f'{recipe.name}: step {step}, AbsRel {error:.4f}\n')
    if options.out:
        _write_picture(options.out, recipe, samples, batch, network)
    return Result(
        recipe.name,
        recipe.network,
        sum(p.numel() for p in network.parameters()),
        recipe.loss,
        (recipe.height, recipe.width),
        options.precision,
        step,
        time.monotonic() - started,
        error,
        error <= options.target,
    )


def _cosine(done: float) -> float:
    """Return the share of the initial learning rate, from 1 down to 0.01."""
    return max((1 + math.cos(math.pi * done)) / 2, 0.01)


def _batch(
    recipe: Recipe, network: nn.Module, options: OverfitOptions, device: torch.device
) -> tuple[Batch, list[np.ndarray]]:
    """Return all pairs as one batch on the device, and their images for the comparison."""
    dataset = evenly(
        open_dataset(options.data, 'all', depth_scale=options.depth_scale), options.pairs
    )
    if len(dataset) < options.pairs:
        raise DataError(
            f'{options.data} has {len(dataset)} pairs, fewer than the {options.pairs} of --pairs'
        )
    to_tensors = ToTensors(
        recipe.mean, recipe.std, build.output_size(recipe, network), recipe.reduce
    )
    rng = np.random.default_rng(options.seed)
    fitted = [
        RandomCrop(recipe.height, recipe.width)(
            Cover(recipe.height, recipe.width)(dataset[index], rng), rng
        )
        for index in range(options.pairs)
    ]
    rows = [to_tensors(sample) for sample in fitted]
    return Batch(*(torch.stack(parts).to(device) for parts in zip(*rows))), [
        sample.rgb for sample in fitted
    ]


def _step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: losses.Loss,
    batch: Batch,
    valid: Tensor,
    options: OverfitOptions,
) -> None:
    network.train()
    optimizer.zero_grad()
    with torch.autocast(
        batch.image.device.type, torch.bfloat16, enabled=options.precision == 'bf16'
    ):
        prediction = network(batch.image)
    loss(prediction, batch.depth, valid).backward()
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()


@torch.no_grad()
def _settled(network: nn.Module, image: Tensor, options: OverfitOptions) -> Tensor:
    """Return the output at inference, with batch statistics of the current weights.

    Running averages lag behind weights that change fast.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with _without_dropout(network):
        network(image)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    network.eval()
    return network(image).float()


@contextmanager
def _without_dropout(network: nn.Module) -> Iterator[None]:
    layers = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    for layer in layers:
        layer.eval()
    yield
    for layer in layers:
        layer.train()


def _depth(recipe: Recipe, output: Tensor) -> Tensor:
    """Convert the network's output to metres, at least 1 mm."""
    if recipe.output == 'reciprocal':
        output = losses.from_reciprocal(
            output, recipe.max_depth, recipe.min_depth, recipe.max_depth
        )
    return output.clamp_min(1e-3)


def _abs_rel(depth: Tensor, batch: Batch, valid: Tensor) -> float:
    chosen = (part[valid].cpu().numpy() for part in (depth, batch.depth))
    return scores_of(error_sums(*chosen))['AbsRel']


@torch.no_grad()
def _write_picture(
    out: Path, recipe: Recipe, images: list[np.ndarray], batch: Batch, network: nn.Module
) -> None:
    network.eval()
    depth = _depth(recipe, network(batch.image).float())
    size = images[0].shape[:2]
    near = [
        nn.functional.interpolate(part, size, mode='nearest').cpu().numpy()[:, 0]
        for part in (batch.depth, depth)
    ]
    rows = [
        pictures.comparison(image, truth, found, recipe.max_depth)
        for image, truth, found in zip(images, *near)
    ]
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f'{recipe.name}.png', [pictures.png(pictures.stacked(rows, 960))])


def _line(result: Result) -> str:
    verdict = 'learnt' if result.learnt else 'NOT LEARNT'
    return (
        f'{result.recipe:<26}{result.network:<20}{result.parameters:>12,}  {result.loss:<12}'
        f'{result.size[0]}x{result.size[1]}  {result.steps:>4} steps  {result.seconds:6.0f} s'
        f'  AbsRel {result.absrel:.4f}  {verdict}'
    )
