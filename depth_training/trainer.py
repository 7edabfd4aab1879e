# SPDX-License-Identifier: Apache-2.0
"""Train a recipe: a plain PyTorch loop that can be killed at any moment and goes on exactly.

What a step does depends on its number alone: order, augmentation, dropout and learning rate are
functions of seed, epoch and step. A checkpoint therefore needs weights, optimizer state and a few
numbers.
"""
from __future__ import annotations

import dataclasses
import json
import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from depth_perception.files import write_atomically
from depth_perception.weights import save_weights
from depth_training import build, checkpoint, pictures, protocols
from depth_training.batch_norm import normalise_across_processes
from depth_training.data import DepthDataset, evenly, open_dataset
from depth_training.data.training import Batch, start_worker
from depth_training.distributed import Processes, local_device, processes
from depth_training.evaluation import Predictor, evaluate
from depth_training.journal import Journal
from depth_training.losses import valid_mask
from depth_training.order import BatchOrder
from depth_training.progress import ProgressDisplay
from depth_training.recipes import Recipe, get_recipe
from depth_training.run_folder import RunDescription, machine, write_description
from depth_training.schedule import Place


class TrainingError(ValueError):
    """A run that cannot start or go on; the text says why and what to do."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a recipe on a folder or file of RGB-D pairs."""

    recipe: Annotated[str, tyro.conf.Positional]
    """Name of the recipe, such as paper_003."""
    data: Path
    """File or folder; its layout is recognised."""
    out: Path | None = None
    """Folder of the run (default: runs/RECIPE)."""
    resume: bool = False
    """Go on with the run in that folder."""
    epochs: int | None = None
    """Instead of the recipe's."""
    batch: int | None = None
    """Images a step over all processes, instead of the recipe's."""
    learning_rate: float | None = None
    """Instead of the recipe's."""
    loss: Literal['mse', 'l1', 'berhu', 'silog', 'densedepth'] | None = None
    """Instead of the recipe's."""
    start_from: Path | None = None
    """Weights file of the same network to start from."""
    encoder_weights: Path | None = None
    """ImageNet weights of the encoder (.safetensors or .pth); nothing is downloaded."""
    perceptual_weights: Path | None = None
    """ImageNet weights of ResNet-50 for paper 001's loss network."""
    hold_out: tuple[str, ...] = ()
    """Scenes to validate on, of data without an official split."""
    list_file: Path | None = None
    """Rows `rgb depth` that choose the training pairs."""
    validation_images: int = 64
    """Equally spaced images of the test part, judged after every epoch."""
    precision: Literal['auto', 'fp32', 'bf16'] = 'auto'
    """auto: bf16 on CUDA, fp32 on a CPU."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    workers: int = 4
    """Processes that load data, for each training process."""
    seed: int = 0
    log_every: int = 10
    """Steps between lines of the log."""
    checkpoint_every: int = 500
    """Steps between checkpoints; there is one after every epoch too."""
    tensorboard: bool = True
    fast_dev_run: bool = False
    """Two steps and one validation image: does everything work?"""


def train(options: TrainOptions) -> int:
    """Run; 0 when done, 128 + signal when stopped by one.

    Raises:
        TrainingError, DataError, ValueError, OSError: one sentence says what is wrong.
    """
    device = local_device(options.device)
    with processes(device.type) as group:
        trainer = Trainer(options, device, group)
        try:
            return trainer.run()
        finally:
            trainer.close()


class Trainer:
    """One run: its parts, its loop, its files."""

    def __init__(self, options: TrainOptions, device: torch.device, group: Processes) -> None:
        self.options, self.device, self.group = options, device, group
        self.recipe = adapted(get_recipe(options.recipe), options)
        self.out = options.out or Path('runs', options.recipe)
        self._prepare_folder()
        self.dataset, self.validation = _open(self.recipe, options)
        self.focal = build.canonical_focal(self.recipe, self.dataset)
        self.network = build.network(
            self.recipe, options.seed, options.start_from, options.encoder_weights)
        self.data = build.training_data(
            self.recipe, self.dataset, self.network, self.focal, options.seed)
        self.info = build.weights_info(self.recipe, self.dataset, self.focal)
        self.order = BatchOrder(
            len(self.dataset), self.recipe.batch, options.seed, group.rank, group.count)
        self._place_on_device()
        self.state = self._start_or_resume()
        self.steps = 2 if options.fast_dev_run else self.recipe.epochs * self.order.per_epoch
        self.display = ProgressDisplay(self.recipe.name, self.state.step, self.steps, group.first)
        self.journal = Journal(self.out, self.state.step, options.tensorboard) \
            if group.first else None
        self._signal = 0
        if group.first:
            self._write('description', lambda: write_description(self.out, self._description()))
        self._say_what_runs()

    def run(self) -> int:
        """Train until the last epoch, or until a signal asks to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        while self.state.step < self.steps:
            if not self._epoch():
                self._save()
                self.display.say(f'stopped at step {self.state.step}: go on with --resume')
                return 128 + (self._signal or signal.SIGTERM)
        self.display.say(f'done: {self.out / "weights.safetensors"}')
        return 0

    def close(self) -> None:
        """Leave terminal and files in order."""
        self.display.close()
        if self.journal:
            self.journal.close()

    def _epoch(self) -> bool:
        """The rest of the epoch that runs; False if a signal asked to stop."""
        self._spoke = (self.state.step, time.monotonic())
        self.data.set_epoch(self.state.epoch)
        self.order.start(self.state.epoch, self.state.position)
        for batch in self._loader():
            self._step(batch)
            if self.group.any(bool(self._signal), self.device):
                return False
            if self.state.step >= self.steps:
                break
            if self.state.step % self.options.checkpoint_every == 0 \
                    and self.state.position < self.order.per_epoch:
                self._save()
        self._finish_epoch()
        return True

    def _loader(self) -> DataLoader[Batch]:
        return DataLoader(
            self.data, batch_sampler=self.order, num_workers=self.options.workers,
            worker_init_fn=start_worker, pin_memory=self.device.type == 'cuda')

    def _step(self, batch: Batch) -> None:
        # Dropout differs by step and process, and needs no saved generator.
        torch.manual_seed(hash((self.options.seed, self.state.step, self.group.rank)))
        rate = self._set_learning_rate()
        self.model.train()
        self.optimizer.zero_grad()
        image, depth = (part.to(self.device, non_blocking=True) for part in batch)
        with self.group.global_sums():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
                prediction = self.model(image)
            valid = valid_mask(depth, self.recipe.min_depth, self.recipe.max_depth)
            loss = self.loss(prediction, depth, valid)
            loss.backward()
        norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self.recipe.clip_gradient or math.inf)
        self.optimizer.step()
        self.state.step += 1
        self.state.position += 1
        if self.state.step % self.options.log_every == 0 or self.state.step == self.steps:
            self._log(loss.item(), rate, norm.item())

    def _set_learning_rate(self) -> float:
        place = Place(self.state.step, self.steps, self.state.scores)
        rate = self.recipe.learning_rate * self.recipe.schedule.factor(place)
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['factor']
        return rate

    def _log(self, loss: float, rate: float, norm: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(f'the loss is {loss} at step {self.state.step}: lower the '
                                'learning rate, or use --precision fp32')
        speed = self._speed()
        self.display.step(self.state.step, loss, speed)
        if self.journal:
            self.journal.write(self.state.step, 'train', {
                'epoch': self.state.epoch, 'loss': loss, 'learning_rate': rate,
                'gradient_norm': norm, 'images_per_second': speed})

    def _speed(self) -> float:
        """Images/s since the last call, time for data included."""
        (step, then), now = self._spoke, time.monotonic()
        self._spoke = (self.state.step, now)
        return self.recipe.batch * (self.state.step - step) / max(now - then, 1e-6)

    def _finish_epoch(self) -> None:
        """Judge, show, and save; the other processes wait and get the score."""
        score = torch.zeros((), dtype=torch.float64, device=self.device)
        if self.group.first:
            score.fill_(self._validate())
        if self.group.count > 1:
            torch.distributed.broadcast(score, 0)
        self.state.scores.append(score.item())
        self.state.epoch, self.state.position = self.state.epoch + 1, 0
        self._save()
        if self.group.first:
            self._write('weights', lambda: save_weights(
                self.out / 'weights.safetensors', self.network, self.info))

    def _validate(self) -> float:
        """RMSE of the validation images by the recipe's protocol; also writes pictures."""
        protocol = protocols.get_protocol(self.recipe.protocol)
        predictor = Predictor(self.network, self.info, self.device)
        result = evaluate(predictor, self.validation, protocol)
        scores = {**result.scores, 'bad_pairs': len(self.data.pairs.bad_pairs)}
        self.display.say(f'epoch {self.state.epoch + 1}: ' + ', '.join(
            f'{name} {result.scores[name]:.4f}' for name in ('AbsRel', 'RMSE', 'delta1')))
        self.info = dataclasses.replace(self.info, scores=({
            'data': result.data, 'protocol': result.description, **result.scores},))
        assert self.journal is not None
        self.journal.write(self.state.step, 'validation', {'epoch': self.state.epoch, **scores})
        self._write('pictures', lambda: self._write_pictures(predictor, protocol))
        return result.scores['RMSE']

    def _write_pictures(self, predictor: Predictor, protocol: protocols.Protocol) -> None:
        picture = pictures.of_predictor(
            predictor, evenly(self.validation, min(4, len(self.validation))), protocol)
        if picture is not None and self.journal:
            folder = self.out / 'pictures'
            folder.mkdir(exist_ok=True)
            write_atomically(folder / f'epoch_{self.state.epoch + 1:03d}.png',
                             [pictures.png(picture)])
            self.journal.picture(self.state.step, 'validation', picture)

    def _save(self) -> None:
        if self.group.first:
            self._write('checkpoint', lambda: checkpoint.save(
                self.out, self.network, self.optimizer, self.state))
        self.group.wait()

    def _write(self, what: str, action: Any) -> None:
        try:
            action()
        except OSError as error:
            raise TrainingError(
                f'cannot write the {what} to {self.out}: {error.strerror}; the checkpoint before '
                'is complete, so free space and go on with --resume') from error

    def _prepare_folder(self) -> None:
        if checkpoint.exists(self.out) and not self.options.resume:
            raise TrainingError(f'{self.out} already holds a run: add --resume to go on with it, '
                                'or choose another --out')
        if self.group.first:
            self.out.mkdir(parents=True, exist_ok=True)
            checkpoint.remove_leftovers(self.out)
        self.group.wait()

    def _place_on_device(self) -> None:
        precision = self.options.precision
        self._half = precision == 'bf16' or (precision == 'auto' and self.device.type == 'cuda')
        self.network.to(self.device)
        self.loss = build.loss(self.recipe, self.options.perceptual_weights)
        if isinstance(self.loss, nn.Module):
            self.loss.to(self.device)
        self.optimizer = build.optimizer(self.recipe, self.network)
        self.model: nn.Module = self.network
        if self.group.count > 1:
            normalise_across_processes(self.network)
            self.model = DistributedDataParallel(self.network, broadcast_buffers=False)

    def _start_or_resume(self) -> checkpoint.Progress:
        settings = json.loads(json.dumps({
            'recipe': dataclasses.asdict(self.recipe), 'seed': self.options.seed,
            'pairs': len(self.dataset)}))
        if not self.options.resume or not checkpoint.exists(self.out):
            return checkpoint.Progress(settings)
        state = checkpoint.load(self.out, self.network, self.optimizer)
        for name, value in settings.items():
            if state.settings.get(name) != value:
                raise TrainingError(f'{self.out} was started with another {name}: resume with '
                                    'the same recipe, options and data')
        return state

    def _description(self) -> RunDescription:
        return RunDescription(
            recipe=dataclasses.asdict(self.recipe), options=dataclasses.asdict(self.options),
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            pairs=len(self.dataset), training=self.dataset.describe(),
            validation=self.validation.describe(), steps=self.steps,
            precision='bf16' if self._half else 'fp32', machine=machine(self.device),
            processes=self.group.count, initial=self._initial())

    def _initial(self) -> str:
        """What the network starts from, in words."""
        if self.options.start_from:
            return self.options.start_from.name
        return 'ImageNet encoder' if self.options.encoder_weights else 'random weights'

    def _say_what_runs(self) -> None:
        self.display.say(f'{self.recipe.name}: {self.recipe.title}')
        self.display.say(f'training: {self.dataset.describe()}')
        self.display.say(f'validation: {self.validation.describe()}')
        if self.recipe.pretrained and not (
                self.options.encoder_weights or self.options.start_from):
            self.display.say('the paper starts from ImageNet, this run from random weights: give '
                             '--encoder-weights FILE')
        if self.recipe.perceptual_weight and not self.options.perceptual_weights:
            self.display.say('the loss network is random, for tests alone: give '
                             '--perceptual-weights FILE')

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signal = number


def adapted(recipe: Recipe, options: TrainOptions) -> Recipe:
    """The recipe with what the command line changes."""
    names = ('epochs', 'batch', 'learning_rate', 'loss')
    changes = {name: getattr(options, name) for name in names
               if getattr(options, name) is not None}
    if options.loss is not None and options.loss != recipe.loss:
        changes['loss_arguments'] = {}
    return dataclasses.replace(recipe, **changes)


def _open(recipe: Recipe, options: TrainOptions) -> tuple[DepthDataset, DepthDataset]:
    """Training and validation pairs."""
    whole = open_dataset(options.data, 'train', ground_truth=recipe.truth,
                         hold_out=options.hold_out, list_file=options.list_file)
    truth = protocols.get_protocol(recipe.protocol).ground_truth
    test = open_dataset(options.data, 'test', ground_truth=truth, hold_out=options.hold_out)
    images = 1 if options.fast_dev_run else options.validation_images
    training = whole if recipe.pairs is None else evenly(whole, recipe.pairs)
    return training, evenly(test, max(1, min(images, len(test))))


__all__ = ['TrainOptions', 'Trainer', 'TrainingError', 'adapted', 'train']
