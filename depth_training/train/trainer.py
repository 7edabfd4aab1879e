# SPDX-License-Identifier: Apache-2.0
"""Train a recipe: a plain PyTorch loop that can be killed at any time and resumed exactly.

A step depends only on its number: order, augmentation, dropout and learning rate are functions of
seed, epoch and step. A checkpoint therefore only needs weights, optimizer state and a few numbers.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import time
from typing import Any

import torch
from torch.utils.data import DataLoader

from depth_perception.io.weights import save_weights
from depth_perception.termination import leave_terminal, stopping_signals
from depth_training.data import DepthDataset, evenly, open_dataset
from depth_training.data.joined import open_joined
from depth_training.data.raycast_rooms import with_raycast
from depth_training.evaluate import protocols
from depth_training.evaluate.evaluation import Predictor
from depth_training.failures import check_shared_memory
from depth_training.recipes import Recipe
from depth_training.recipes.schedule import Place
from depth_training.train import build, checkpoint, resume, run_folder, seeds
from depth_training.train.distributed import Processes, local_device, processes
from depth_training.train.options import (
    TrainingError,
    TrainOptions,
    check_parts,
    check_weights,
    chosen,
    initial,
    notices,
)
from depth_training.train.progress import ProgressDisplay
from depth_training.train.run_folder import RunDescription
from depth_training.train.run_log import Journal
from depth_training.train.sampler import BatchOrder
from depth_training.train.step import Learner, StepResult
from depth_training.train.training_data import Batch, start_worker
from depth_training.train.validation import Validation
from depth_training.train.writing import writing

#: Exit code of a run that was ended by its time limit.
TIME_IS_UP = 3


def train(options: TrainOptions) -> int:
    """Run; return 0 when done, 3 at the time limit, 128 + signal if stopped by one.

    Raises:
        TrainingError, DataError, ValueError, OSError: the message is one sentence about the cause.
    """
    if options.seeds > 1:
        return seeds.train_each(options, train)
    device = local_device(options.device)
    with processes(device.type) as group:
        trainer = Trainer(options, device, group)
        try:
            return trainer.run()
        finally:
            trainer.close()


class Trainer:
    """A training run: its parts, its loop, its files."""

    def __init__(self, options: TrainOptions, device: torch.device, group: Processes) -> None:
        self.options, self.device, self.group = options, device, group
        self.recipe = chosen(options)
        self.out = resume.folder_of(options)
        self.resumed = self._prepare_folder()
        before = resume.own_options(self.out) if self.resumed else None
        self._differs = list(resume.differing(before, options)) if before else []
        self.dataset, self.validation_pairs = _open(self.recipe, options)
        self.focal = build.canonical_focal(self.recipe, self.dataset)
        # A checkpoint replaces the initial weights, whose file may no longer exist.
        network = (
            build.network(self.recipe, options.seed)
            if self.resumed
            else build.network(
                self.recipe, options.seed, options.start_from, options.encoder_weights
            )
        )
        self.data = build.training_data(
            self.recipe, self.dataset, network, self.focal, options.seed
        )
        self.info = build.weights_info(self.recipe, self.dataset, self.focal, options.licence)
        self.order = BatchOrder(
            len(self.data), self.recipe.batch, options.seed, group.rank, group.count
        )
        self.learner = Learner(
            self.recipe,
            network,
            build.loss(self.recipe, options.perceptual_weights),
            device,
            group,
            options.precision,
            options.seed,
            options.local_batch_norm,
        )
        self.state = self._start_or_resume()
        self.steps = (
            2
            if options.fast_dev_run
            else self.recipe.steps or self.recipe.epochs * self.order.per_epoch
        )
        self._signal = 0
        self._deadline = (
            math.inf if options.time_limit is None else time.monotonic() + 60 * options.time_limit
        )
        self.display = ProgressDisplay(self.recipe.name, self.state.step, self.steps, group.first)
        self._open_record()
        self._say_what_runs()

    def run(self) -> int:
        """Train until the last epoch, or until a signal requests a stop."""
        for number in stopping_signals():
            signal.signal(number, self._on_signal)
        while self.state.step < self.steps:
            if not self._epoch():
                self._save()
                self.display.say(f'stopped at step {self.state.step}: continue with --resume')
                return self._exit_code()
        if self.group.first and not (self.out / run_folder.WEIGHTS).exists():
            self._write_weights()
        self.display.say(f'done: {self.out / run_folder.WEIGHTS}')
        return 0

    def close(self) -> None:
        """Restore the terminal and close the files."""
        self.display.close()
        if self.journal:
            self.journal.close()

    def _epoch(self) -> bool:
        """Finish the current epoch; return False if a signal or the time limit stops it."""
        self._spoke = (self.state.step, time.monotonic())
        self.data.set_epoch(self.state.epoch)
        self.order.start(self.state.epoch, self.state.position)
        if not self._steps():
            return False
        self._finish_epoch()
        return True

    def _steps(self) -> bool:
        """Run the epoch's steps; return False if a signal or the time limit stops them."""
        batches = iter(self._loader())
        try:
            for batch in batches:
                self._step(batch)
                stop = bool(self._signal) or time.monotonic() > self._deadline
                if self.state.step >= self.steps:
                    break
                if self.group.any(stop, self.device):
                    return False
                if (
                    self.state.step % self.options.checkpoint_every == 0
                    and self.state.position < self.order.per_epoch
                ):
                    self._save()
        finally:
            del batches  # ends the workers, even if an error's traceback is kept
        return True

    def _exit_code(self) -> int:
        """Return the exit code of a run that stopped early."""
        if self._signal or self.options.time_limit is None:
            return 128 + (self._signal or signal.SIGTERM)
        return TIME_IS_UP

    def _loader(self) -> DataLoader[Batch]:
        if self.options.workers:
            row = self.data.to_tensors.bytes_of(self.recipe.height, self.recipe.width)
            # Each worker keeps two batches ready, and one is in use.
            batches = self.options.workers * self.group.count * 2 + 1
            check_shared_memory(row * -(-self.recipe.batch // self.group.count) * batches)
        return DataLoader(
            self.data,
            batch_sampler=self.order,
            num_workers=self.options.workers,
            worker_init_fn=start_worker,
            pin_memory=self.device.type == 'cuda',
        )

    def _step(self, batch: Batch) -> None:
        place = Place(self.state.step, self.steps, self.state.scores, self.order.per_epoch)
        result = self.learner.learn(batch, place)
        self.state.step += 1
        self.state.position += 1
        if self.state.step % self.options.log_every == 0 or self.state.step == self.steps:
            self._log(result)
        elif self.display.is_due:
            step, since = self._spoke
            seconds = max(time.monotonic() - since, 1e-6)
            speed = self.recipe.batch * (self.state.step - step) / seconds
            self.display.step(self.state.step, result.loss.item(), speed)

    def _log(self, result: StepResult) -> None:
        loss = result.loss.item()
        if not math.isfinite(loss):
            raise TrainingError(
                f'the loss is {loss} at step {self.state.step}: lower the '
                'learning rate, or use --precision fp32'
            )
        speed = self._speed()
        self.display.step(self.state.step, loss, speed)
        if self.journal:
            self.journal.write(
                self.state.step,
                'train',
                {
                    'epoch': self.state.epoch,
                    'loss': loss,
                    'learning_rate': result.learning_rate,
                    'gradient_norm': result.gradient_norm.item(),
                    'images_per_second': speed,
                },
            )

    def _speed(self) -> float:
        """Return images/s since the last call, including data loading."""
        (step, then), now = self._spoke, time.monotonic()
        self._spoke = (self.state.step, now)
        return self.recipe.batch * (self.state.step - step) / max(now - then, 1e-6)

    def _finish_epoch(self) -> None:
        """Validate, log and save; other processes wait and receive the score."""
        scores = torch.zeros(2, dtype=torch.float64, device=self.device)
        if self.group.first:
            scores.copy_(torch.tensor(self._validate(), dtype=torch.float64))
        if self.group.count > 1:
            torch.distributed.broadcast(scores, 0)
        loss, error = scores.tolist()
        self.state.scores.append(loss)
        self.state.errors.append(error)
        self.state.epoch, self.state.position = self.state.epoch + 1, 0
        if self.group.first:  # before the checkpoint: what is killed in between is repeated
            self._write_weights()
        self._save()

    def _write_weights(self) -> None:
        """Write the weights of the last epoch, and separately those with the smallest RMSE."""
        errors = [error for error in self.state.errors if math.isfinite(error)]
        best = not errors or self.state.errors[-1] <= min(errors)
        for name in (run_folder.WEIGHTS, *([run_folder.BEST] if best else [])):
            with writing('weights', self.out):
                save_weights(self.out / name, self.learner.result, self.info)

    def _validate(self) -> tuple[float, float]:
        """Return loss and RMSE, by the recipe's protocol, of the validation images; draw some."""
        assert self.validation is not None
        predictor = Predictor(self.learner.result, self.info, self.device)
        place = (self.state.step, self.state.epoch)
        result, loss = self.validation.judge(
            predictor, *place, {'bad_pairs': len(self.data.pairs.bad_pairs)}
        )
        self.info = dataclasses.replace(
            self.info,
            scores=({'data': result.data, 'protocol': result.description, **result.scores},),
        )
        with writing('pictures', self.out):
            self.validation.show(predictor, *place)
        return loss, result.scores['RMSE']

    def _save(self) -> None:
        if self.group.first:
            with writing('checkpoint', self.out):
                checkpoint.save(
                    self.out,
                    self.learner.network,
                    self.learner.optimizer,
                    self.state,
                    self.learner.averaged,
                )
        self.group.wait()

    def _prepare_folder(self) -> bool:
        """Create the folder; return True if a run in it is resumed."""
        try:
            str(self.out).encode()
        except UnicodeEncodeError as error:
            raise TrainingError(
                f'--out {str(self.out)!a} is no UTF-8, which checkpoints and TensorBoard '
                'need: choose another name'
            ) from error
        if self.options.resume is None:
            checkpoint.refuse_run(self.out)
        exists = checkpoint.exists(self.out)
        check_weights(self.recipe, self.options, resumed=exists)
        if self.group.first:
            self.out.mkdir(parents=True, exist_ok=True)
            checkpoint.remove_leftovers(self.out)
        self.group.wait()
        return exists

    def _start_or_resume(self) -> checkpoint.Progress:
        recipe = dataclasses.asdict(self.recipe)
        for name in ('warning', 'title', 'base'):
            del recipe[name]
        settings = json.loads(
            json.dumps(
                {'recipe': recipe, 'seed': self.options.seed, 'data': self.dataset.describe()}
            )
        )
        if not self.resumed:
            return checkpoint.Progress(settings)
        state = checkpoint.load(
            self.out, self.learner.network, self.learner.optimizer, self.learner.averaged
        )
        resume.check_settings(self.out, state.settings, settings)
        return state

    def _open_record(self) -> None:
        """Write log, description and validation in the first process only."""
        self.journal: Journal | None = None
        self.validation: Validation | None = None
        if self.group.first:
            self.journal = Journal(self.out, self.state.step, self.options.tensorboard)
            self.validation = Validation(
                self.validation_pairs,
                self.recipe,
                self.learner.loss,
                self.out,
                self.journal,
                self.display,
            )
            description = self._description()
            self.info = dataclasses.replace(
                self.info, training_data=f'{description.training}; from {description.initial}'
            )
            with writing('description', self.out):
                run_folder.write_description(self.out, description)

    def _description(self) -> RunDescription:
        resumed = self.resumed and (self.out / run_folder.FILE).exists()
        return RunDescription(
            recipe=dataclasses.asdict(self.recipe),
            options=resume.as_json(self.options),
            parameters=sum(weight.numel() for weight in self.learner.network.parameters()),
            pairs=len(self.dataset),
            training=self.dataset.describe(),
            validation=self.validation_pairs.describe(),
            steps=self.steps,
            precision=self.learner.precision,
            machine=run_folder.machine(self.device),
            processes=self.group.count,
            initial=run_folder.read_run(self.out).description.initial
            if resumed
            else initial(self.options),
        )

    def _say_what_runs(self) -> None:
        for text in (
            f'{self.recipe.name}: {self.recipe.title}',
            f'training: {self.dataset.describe()}',
            f'validation: {self.validation_pairs.describe()}',
            *notices(self.recipe, self.options),
            *build.camera_notices(self.recipe, self.dataset, self.focal),
            *build.head_notices(None if self.resumed else self.options.start_from),
            f'{self.steps} steps of {self.recipe.batch} images on {self.device}, '
            f'{self.options.workers} processes load data',
            *(f'other than before: {text}' for text in self._differs),
            *([f'resumed at step {self.state.step} of {self.steps}'] if self.resumed else []),
        ):
            self.display.say(text)

    def _on_signal(self, number: int, frame: Any) -> None:
        leave_terminal(number)
        self._signal = number


def _open(recipe: Recipe, options: TrainOptions) -> tuple[DepthDataset, DepthDataset]:
    """Open training and validation pairs."""
    check_parts(options)
    whole = open_joined(
        options.data,
        options.split,
        options.hold_out,
        ground_truth=recipe.truth,
        list_file=options.list_file,
        depth_scale=options.depth_scale,
    )
    truth = protocols.get_protocol(recipe.protocol).ground_truth
    test = (
        open_dataset(options.validation_data, 'test', ground_truth=truth)
        if options.validation_data
        else open_joined(
            options.data,
            'test',
            options.hold_out,
            ground_truth=truth,
            depth_scale=options.depth_scale,
        )
    )
    images = 1 if options.fast_dev_run else options.validation_images
    training = whole if recipe.pairs is None else evenly(whole, recipe.pairs)
    training = with_raycast(training, options.raycast_share, options.seed)
    return training, evenly(test, max(1, min(images, len(test))))


__all__ = ['TrainOptions', 'Trainer', 'TrainingError', 'train']
