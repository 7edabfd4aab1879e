# SPDX-License-Identifier: Apache-2.0
"""Mix batch-norm statistics of real, unlabelled images into a network (AdaBN, Li et al. 2017).

    python -m depth_training.convert.mix_statistics weights.safetensors PICTURES --share 0.3 \
        --out mixed.safetensors

A network trained on rendered rooms normalises real images by the statistics of rendered ones. The
running statistics become (1 - share) * old + share * those of the images. That changes the scale of
depth as well, so the bias of the last convolution is moved until the mean log depth of the images
is what it was. Use images that vary as much as those of the later use: a few dozen images of one
building made the bundled network worse (the notes on the bundled network in the repository).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depth_perception.inference.estimator import network_size
from depth_perception.io.files import files_below
from depth_perception.io.weights import (
    LoadedWeights,
    WeightsError,
    WeightsInfo,
    load_weights,
    save_weights,
)
from depth_training.convert.heads import depth_alone
from depth_training.data.image_files import decode_rgb, read_bytes
from depth_training.data.sample import DataError

#: File name endings of images.
ENDINGS = ('.jpg', '.jpeg', '.png', '.webp')
#: Mean and variance of a layer's input, each (C,).
Statistics = dict[str, tuple[Tensor, Tensor]]


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder and its subfolders.

    Raises:
        ValueError: there are none.
    """
    files = sorted(f for f in files_below(folder, '*') if f.suffix.lower() in ENDINGS)
    if not files:
        raise ValueError(f'{folder} contains no images ({", ".join(ENDINGS)})')
    return files


def statistics(network: nn.Module, images: Sequence[Tensor]) -> Statistics:
    """Return mean and variance of the input of each BatchNorm2d over images (1, 3, h, w).

    Every image counts equally, whatever its size.
    """
    sums: dict[str, list[Tensor]] = {}

    def add(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments = torch.stack([inputs[0].mean((0, 2, 3)), inputs[0].square().mean((0, 2, 3))])
        sums.setdefault(name, []).append(moments.double())

    hooks = [layer.register_forward_pre_hook(partial(add, name)) for name, layer in _norms(network)]
    try:
        _outputs(network, images)
    finally:
        for hook in hooks:
            hook.remove()
    result = {}
    for name, moments in sums.items():
        mean, square = torch.stack(moments).mean(0)
        result[name] = mean.float(), (square - mean.square()).clamp_min(0).float()
    return result


def mix(weights: LoadedWeights, images: Sequence[Tensor], share: float) -> LoadedWeights:
    """Mix the statistics of normalised images into a network, in place; keep its scale.

    Args:
        weights: a network whose last convolution is `head[-1]`, followed by a sigmoid.
        images: float32 (1, 3, h, w) each, normalised, at the size of the network's input.
        share: share of the images, 0 to 1.

    Raises:
        ValueError: the share is outside 0 to 1, there are no images, or the network has no
            statistics or another head.
    """
    network = weights.network.eval()
    if not 0 <= share <= 1:
        raise ValueError(f'the share is {share:g}: give a number from 0 to 1')
    if not images:
        raise ValueError('there are no images')
    found = statistics(network, images)
    head = getattr(network, 'head', None)
    if not found or not isinstance(head, nn.Sequential) or not hasattr(network, 'max_depth'):
        raise ValueError(
            f'{weights.path} is a {weights.info.network}: only efficientnet_sff can be changed'
        )
    before = _logits(network, images)
    for name, layer in _norms(network):
        for running, new in zip((layer.running_mean, layer.running_var), found[name]):
            assert running is not None
            running.lerp_(new, share)
    with torch.no_grad():
        bias: Any = head[-1].bias
        bias += _shift(_logits(network, images), before)
    info = dataclasses.replace(
        weights.info,
        scores=(),
        recipe_name='',
        recipe=f'{weights.info.recipe}; then {100 * share:g} % of the batch-norm statistics of '
        f'{len(images)} real images (depth_training.convert.mix_statistics)',
    )
    return dataclasses.replace(weights, info=info)


def prepared(file: Path, info: WeightsInfo) -> Tensor:
    """Read an image as a network's input, float32 (1, 3, h, w).

    Raises:
        DataError: the file is not an image.
    """
    rgb = decode_rgb(read_bytes(file), str(file))
    height, width = network_size(info, rgb.shape[0], rgb.shape[1], None)
    resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    return (tensor - mean) / std


def _norms(network: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    return [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]


@torch.no_grad()
def _outputs(network: nn.Module, images: Sequence[Tensor]) -> list[Tensor]:
    return [network(image) for image in images]


def _logits(network: Any, images: Sequence[Tensor]) -> list[Tensor]:
    """Return what goes into the last sigmoid, for each image."""
    return [torch.logit(depth / network.max_depth, 1e-6) for depth in _outputs(network, images)]


def _shift(now: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """Return the shift of the logits that restores the mean of the log depth, by bisection."""

    def mean_log(logits: Sequence[Tensor], shift: float) -> float:
        return float(np.mean([nn.functional.logsigmoid(x + shift).mean().item() for x in logits]))

    wanted, low, high = mean_log(before, 0.0), -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_log(now, middle) < wanted else (low, middle)
    return (low + high) / 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('weights', help='weights file, or "default"')
    parser.add_argument('pictures', type=Path, help='folder of real images')
    parser.add_argument('--share', type=float, default=0.3, help='share of their statistics')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--half', action='store_true', help='store in half precision')
    options = parser.parse_args(arguments)
    try:
        weights = depth_alone(load_weights(options.weights))
        images = [prepared(file, weights.info) for file in image_files(options.pictures)]
        mixed = mix(weights, images, options.share)
        save_weights(
            options.out, mixed.network, mixed.info, torch.float16 if options.half else None
        )
    except (DataError, WeightsError, ValueError, OSError) as error:
        sys.stderr.write(f'mix_statistics: {error}\n')
        return 1
    sys.stderr.write(f'{len(images)} images; wrote {options.out}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
