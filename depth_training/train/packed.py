# SPDX-License-Identifier: Apache-2.0
"""Train the bundled network on one GPU or CPU core, from views packed by `pack_rooms`.

    python -m depth_training.train.packed rooms.zip --out run --start-from default --minutes 7

`depth_training.data.pack_rooms` writes the file. Everything is on the device: all views, the
augmentation (`depth_training.augment.batch`), and the step itself as a CUDA graph. Only PyTorch,
timm, OpenCV and safetensors are needed. A step depends only on its number and on its position in
the run; `--resume` continues a stopped run, with `--other-views` on a file with more rooms.
`--mix-with` takes a share of every batch from a second file, such as real pictures beside rendered
ones; `--mix-style` exchanges the style of features between pictures
(`depth_training.augment.mix_style`). The folder contains `weights.safetensors` (the moving average,
half precision), `checkpoint.safetensors` and `training.json` (settings, speed, the learning curve).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from depth_perception.errors import first_line
from depth_perception.inference.backends.graphs import release_generator
from depth_perception.inference.device import resolve_device
from depth_perception.io.files import write_atomically
from depth_perception.io.weights import WeightsError, WeightsInfo, save_weights, weights_path
from depth_perception.reading import read_text
from depth_perception.termination import leave_terminal, stopping_signals
from depth_training.augment import mix_style
from depth_training.augment.batch import Views, augment
from depth_training.data.layouts.packed import PackedViews
from depth_training.data.sample import DataError
from depth_training.losses.losses import valid_mask
from depth_training.recipes import Recipe, get_recipe
from depth_training.recipes.schedule import Place
from depth_training.train import build, checkpoint
from depth_training.train.commit import commit
from depth_training.train.distributed import Processes
from depth_training.train.sampler import BatchOrder
from depth_training.train.step import Learner
from depth_training.train.training_data import Batch

#: Sizes relative to the recipe's, with their share of steps; small images imitate long lenses.
SIZES = ((1.0, 0.5), (0.8, 0.3), (0.6, 0.2))
#: Positions in a run of a given duration: millionths of the time.
WHOLE = 10**6
#: Number of views evaluated together.
JUDGED = 32
WEIGHTS, CURVE = 'weights.safetensors', 'training.json'
#: A CUDA graph, its image and depth, and the loss and the gradients that it computes.
Recorded = tuple[Any, Tensor, Tensor, Tensor, list[Tensor | None]]


@dataclass(frozen=True)
class Options:
    """Options of the command line, see `main`."""

    pack: Path
    out: Path
    recipe: str
    start_from: str | None
    minutes: float | None
    steps: int | None
    batch: int
    device: str
    precision: Literal['auto', 'fp32', 'bf16']
    resume: bool
    other_views: bool
    graphs: bool
    seed: int
    mix_with: Path | None
    mix_share: float
    mix_style: float
    validation_views: int
    log_every: int
    validate_every: int
    checkpoint_minutes: float


class DeviceViews:
    """All views of one split on a device.

    Args:
        pack: packed file.
        split: `train` or `test`.
        device: device of the views.
        limit: use at most this many, equally spaced; None = all.
    """

    def __init__(
        self, pack: Path, split: str, device: torch.device, limit: int | None = None
    ) -> None:
        views = PackedViews(pack, split)
        rgb, numbers = views.read_all()
        count = len(views) if limit is None else min(limit, len(views))
        # Complete batches only, since cuDNN selects its algorithms again for each shape.
        count -= count % JUDGED if limit is not None and count > JUDGED else 0
        chosen = [index * len(views) // count for index in range(count)]
        self.description = f'{views.describe()}, {count} used'
        self._rgb = torch.from_numpy(rgb[chosen]).to(device).permute(0, 3, 1, 2).contiguous()
        # Signed, since torch supports few unsigned types; the mask below restores all 16 bits.
        self._numbers = torch.from_numpy(numbers[chosen].astype(np.int16)).to(device)
        self._table = torch.from_numpy(views.code.table).to(device)
        self.device, self.size = device, views.size
        self._fx = torch.tensor([views.views[i]['fx'] for i in chosen], device=device)
        self._cx = torch.tensor([views.views[i]['cx'] for i in chosen], device=device)

    def __len__(self) -> int:
        return len(self._fx)

    def batch(self, indices: Tensor) -> Views:
        """Return the views with these indices, as float32."""
        depth = self._table[self._numbers[indices].long() & 0xFFFF][:, None]
        return Views(self._rgb[indices].float(), depth, self._fx[indices], self._cx[indices])


class ShuffledViews:
    """Views in random order, a function of the step alone.

    Args:
        views: the views.
        count: views a step.
        seed: seed of the order.

    Raises:
        ValueError: there are fewer views than one step needs.
    """

    def __init__(self, views: DeviceViews, count: int, seed: int) -> None:
        self.views, self.count, self._order = views, count, BatchOrder(len(views), count, seed)

    _indices: Tensor | None = None

    def batch(self, step: int) -> Views:
        """Return the views of a step."""
        epoch, position = divmod(step, self._order.per_epoch)
        if epoch != self._order.epoch or self._indices is None:
            self._order.start(epoch, 0)
            self._indices = torch.tensor(list(self._order), device=self.views.device)
        return self.views.batch(self._indices[position])


class GraphedLearner(Learner):
    """A Learner whose forward and backward pass is a CUDA graph.

    There is one for each image size, and others once batch normalisation is frozen.
    """

    _graphs: dict[tuple[Any, ...], Recorded] | None = None

    def gradients(self, image: Tensor, depth: Tensor) -> Tensor:
        """Compute the parameters' gradients; return the loss."""
        recorded = self.prepare(image, depth)
        if recorded is None:
            return super().gradients(image, depth)
        graph, static_image, static_depth, loss, gradients = recorded
        static_image.copy_(image)
        static_depth.copy_(depth)
        graph.replay()
        for parameter, gradient in zip(self.network.parameters(), gradients):
            parameter.grad = gradient
        return loss

    def prepare(self, image: Tensor, depth: Tensor) -> Recorded | None:
        """Return the graph for such images, recorded if it is new; None if CUDA cannot record."""
        self._graphs = {} if self._graphs is None else self._graphs
        kind = (*image.shape, self.frozen)
        if kind not in self._graphs and not self.problem:
            try:
                self._graphs[kind] = self._record(image, depth)
            except RuntimeError as error:
                self.problem = f'no CUDA graph, so training is slower: {first_line(error)}'
                release_generator(self.device)
                self.optimizer.zero_grad(set_to_none=True)
        return None if self.problem else self._graphs[kind]

    def _record(self, image: Tensor, depth: Tensor) -> Recorded:
        static_image = torch.empty_like(image, memory_format=torch.channels_last).copy_(image)
        static_depth = depth.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.optimizer.zero_grad(set_to_none=True)
                super().gradients(static_image, static_depth)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = super().gradients(static_image, static_depth)
        return (
            graph,
            static_image,
            static_depth,
            loss,
            [parameter.grad for parameter in self.network.parameters()],
        )


class PackedTrainer:
    """A training run on packed views."""

    def __init__(self, options: Options) -> None:
        self.options, self.device = options, torch.device(str(resolve_device(options.device)))
        if self.device.type == 'cuda':
            torch.cuda.set_device(self.device)
        if not options.resume:
            checkpoint.refuse_run(options.out)
        self.recipe = dataclasses.replace(get_recipe(options.recipe), batch=options.batch)
        if self.recipe.focal is None:
            raise ValueError(
                f'{self.recipe.name} has no focal length: choose a recipe of the bundled network'
            )
        started = time.monotonic()
        self.training = DeviceViews(options.pack, 'train', self.device)
        self.validation = DeviceViews(options.pack, 'test', self.device, options.validation_views)
        self.decode_seconds = time.monotonic() - started
        start = None if options.start_from is None else weights_path(options.start_from)
        network = build.network(self.recipe, options.seed, start)
        self._notices = [] if options.resume else list(build.head_notices(start))
        self.learner = learner_kind(options, self.device)(
            self.recipe,
            network.to(memory_format=torch.channels_last),
            build.loss(self.recipe),
            self.device,
            Processes(),
            options.precision,
            options.seed,
        )
        self._attach_mix_style()
        self.sources = self._sources()
        self.generator = torch.Generator(self.device)
        self._mean, self._std = _normalisation(self.recipe, self.device)
        self.curve: list[dict[str, Any]] = []
        #: Of the parts of the last step that was timed.
        self.milliseconds: dict[str, float] = {}
        self.state = checkpoint.Progress(self._settings())
        self.seconds = 0.0
        if options.resume:
            self._resume()
        self._signal = 0

    def _attach_mix_style(self) -> None:
        """Mix styles in the network that is trained, not in its average, which is saved."""
        if not self.options.mix_style:
            return
        mix_style.attach(self.learner.network, self.options.mix_style)
        if self.device.type == 'cuda' and self.options.graphs:
            self._notices.append(
                'no CUDA graphs, so training is slower: they would repeat the same random numbers '
                'of --mix-style in every step'
            )

    def _settings(self) -> dict[str, Any]:
        """Return what a resumed run must share with its start."""
        settings: dict[str, Any] = {'recipe': self.recipe.name, 'pack': self.description}
        if self.options.mix_style:  # absent otherwise, as in runs of older versions
            settings['mix_style'] = self.options.mix_style
        return settings

    def _on_signal(self, number: int, frame: Any) -> None:
        leave_terminal(number)
        self._signal = number

    def run(self) -> int:
        """Train; return 0, or 128 + signal if stopped by a signal."""
        for number in stopping_signals():
            signal.signal(number, self._on_signal)
        self._say(f'{self.description}; decoded in {self.decode_seconds:.1f} s')
        for text in self._notices:
            self._say(text)
        if self.options.resume and self._is_over():
            self._say(f'nothing is left to train: {self.options.out} is at step {self.state.step}')
            return 0
        self._note(None)
        self._began = time.monotonic() - self.seconds
        self._prepare()
        self._spoke = (self.state.step, time.monotonic())
        saved = time.monotonic()
        while not self._signal and self.place().step < self.place().steps:
            loss = self._loss = self._step()
            if self.state.step % self.options.log_every == 0:
                self._log(loss)
            if self.state.step % self.options.validate_every == 0:
                self._note(loss)
            if time.monotonic() - saved > 60 * self.options.checkpoint_minutes:
                self._save()
                saved = time.monotonic()
        self._note(None)
        self._save()
        return 128 + self._signal if self._signal else 0

    def _is_over(self) -> bool:
        """Tell if the run had reached its end when `seconds` was set."""
        place = self._place()
        return place.step >= place.steps

    def place(self) -> Place:
        """Return the position in the run, by steps or by the time available."""
        self.seconds = time.monotonic() - self._began
        return self._place()

    def _place(self) -> Place:
        if self.options.minutes is None:
            return Place(self.state.step, self.options.steps or self.recipe.steps or 1)
        left = 60 * self.options.minutes - self.prepare_seconds
        share = (self.seconds - self.prepare_seconds) / max(left, 1e-9)
        return Place(min(int(share * WHOLE), WHOLE), WHOLE)

    def _prepare(self) -> None:
        """Record the CUDA graphs.

        That takes most of a minute, in which the learning rate would rise without any training.
        """
        if not isinstance(self.learner, GraphedLearner):
            return
        self.learner.set_mode(self.place())
        for factor, _ in SIZES:
            batch = self._batch(self.state.step, self._size(factor))
            self.learner.prepare(*batch)
        self.prepare_seconds = time.monotonic() - self._began - self.seconds
        self._say(f'recorded CUDA graphs in {self.prepare_seconds:.0f} s')

    prepare_seconds = 0.0

    def _batch(self, step: int, size: tuple[int, int]) -> Batch:
        """Return the augmented images of a step, normalised, and their depth."""
        self.generator.manual_seed(self.options.seed * 1_000_003 + step)
        views = augment(
            _joined([source.batch(step) for source in self.sources]),
            size,
            self._focal,
            self.generator,
        )
        return Batch((views.rgb - self._mean) / self._std, views.depth)

    def _step(self) -> Tensor:
        step = self.state.step
        factors, shares = zip(*SIZES)
        rng = np.random.default_rng((self.options.seed, step))
        with self._timed('augment_ms'):
            batch = self._batch(step, self._size(rng.choice(factors, p=shares)))
        with self._timed('learn_ms'):
            result = self.learner.learn(batch, self.place())
        self.state.step += 1
        return result.loss

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Time a part of the steps that are logged, which alone wait for the device."""
        if (self.state.step + 1) % self.options.log_every:
            yield
            return
        start = self._settled()
        yield
        self.milliseconds[part] = round(1000 * (self._settled() - start), 2)

    def _settled(self) -> float:
        """Return the time when the device has done all its work."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    #: Loss of the last step.
    _loss: Tensor | None = None

    @property
    def description(self) -> str:
        """What is trained on."""
        first, *others = self.sources
        return '; '.join(
            [first.views.description]
            + [
                f'{other.count} of {self.recipe.batch} of each batch: {other.views.description}'
                for other in others
            ]
        )

    def _sources(self) -> list[ShuffledViews]:
        """Return the files of views with the number of views that each gives to a batch."""
        options, batch = self.options, self.recipe.batch
        if options.mix_with is None:
            return [ShuffledViews(self.training, batch, options.seed)]
        other = DeviceViews(options.mix_with, 'train', self.device)
        if other.size != self.training.size:
            sizes = ['x'.join(map(str, views.size[::-1])) for views in (other, self.training)]
            raise ValueError(
                f'the views of {options.mix_with} are {sizes[0]}, those of {options.pack} '
                f'{sizes[1]}: pack them with depth_training.data.pack_rooms --size {sizes[1]}'
            )
        count = round(batch * options.mix_share)
        if not 0 < count < batch:
            raise ValueError(
                f'--mix-share {options.mix_share:g} of a batch of {batch} is {count} views: '
                f'choose {1 / batch:.3g} to {1 - 1 / batch:.3g}'
            )
        return [
            ShuffledViews(self.training, batch - count, options.seed),
            ShuffledViews(other, count, options.seed),
        ]

    @property
    def _focal(self) -> float:
        assert self.recipe.focal is not None
        return self.recipe.focal

    def _size(self, factor: float) -> tuple[int, int]:
        """Return height and width of images, multiples of 16."""
        return tuple(
            16 * round(float(side * factor) / 16)  # type: ignore[return-value]
            for side in (self.recipe.height, self.recipe.width)
        )

    def _log(self, loss: Tensor) -> None:
        value, (step, then), now = loss.item(), self._spoke, time.monotonic()
        self._refuse(value)
        self.speed = self.recipe.batch * (self.state.step - step) / max(now - then, 1e-6)
        self._spoke = (self.state.step, now)
        if problem := self.learner.problem:
            self._say(problem)
        self._say(
            f'step {self.state.step}, {self.seconds:.0f} s: loss {value:.4f}, '
            f'{self.speed:.0f} pictures/s, '
            + ', '.join(f'{part} {value:.1f}' for part, value in self.milliseconds.items())
        )

    speed = 0.0

    def _refuse(self, loss: float) -> None:
        """Raise an error if a loss is not finite: the files keep the last good weights."""
        if not math.isfinite(loss):
            raise ValueError(
                f'the loss is {loss} at step {self.state.step}: lower the learning '
                'rate or use --precision fp32'
            )

    def _note(self, loss: Tensor | None) -> None:
        """Evaluate the moving average and write the learning curve."""
        self._refuse(0.0 if self._loss is None else self._loss.item())
        scores = validate(self.learner.result, self.validation, self.recipe, self.device)
        self.curve.append(
            {
                'step': self.state.step,
                'seconds': round(self.seconds, 1),
                'loss': None if loss is None else loss.item(),
                'pictures_per_second': round(self.speed),
                **self.milliseconds,
                **scores,
            }
        )
        self._say(
            f'step {self.state.step}: held-out AbsRel {scores["AbsRel"]:.4f}, aligned '
            f'{scores["aligned AbsRel"]:.4f}, delta1 {scores["delta1"]:.4f}'
        )
        self.options.out.mkdir(parents=True, exist_ok=True)
        write_atomically(
            self.options.out / CURVE,
            [
                json.dumps(
                    {
                        'options': {k: str(v) for k, v in dataclasses.asdict(self.options).items()},
                        'training': self.description,
                        'validation': self.validation.description,
                        'decode_seconds': self.decode_seconds,
                        'machine': _machine(self.device),
                        'precision': self.learner.precision,
                        'problem': self.learner.problem,
                        'curve': self.curve,
                    },
                    indent=1,
                ).encode()
            ],
        )
        self._spoke = (self.state.step, time.monotonic())

    def _save(self) -> None:
        self._refuse(0.0 if self._loss is None else self._loss.item())
        average = self.learner.averaged
        self.state.settings['seconds'] = self.seconds
        checkpoint.save(
            self.options.out, self.learner.network, self.learner.optimizer, self.state, average
        )
        save_weights(self.options.out / WEIGHTS, self.learner.result, self._info(), torch.float16)
        self._say(f'wrote {self.options.out / WEIGHTS}')

    def _resume(self) -> None:
        if not checkpoint.exists(self.options.out):
            raise ValueError(f'{self.options.out} contains no run to resume')
        state = checkpoint.load(
            self.options.out, self.learner.network, self.learner.optimizer, self.learner.averaged
        )
        self.seconds = state.settings.pop('seconds')
        if self.options.other_views and state.settings['pack'] != self.state.settings['pack']:
            self._say(f'the views before were {state.settings["pack"]}')
            state.settings['pack'] = self.state.settings['pack']
        before = state.settings.get('mix_style', 0.0)
        if before != self.options.mix_style:
            raise ValueError(
                f'{self.options.out} was started with --mix-style {before:g}, not '
                f'{self.options.mix_style:g}: give the same value'
            )
        if state.settings != self.state.settings:
            raise ValueError(
                f'{self.options.out} was started with {state.settings}, not {self.state.settings}; '
                '--other-views allows another file of views'
            )
        self.state = state
        curve = json.loads(read_text(self.options.out / CURVE))['curve']
        self.curve = [row for row in curve if row['step'] <= state.step]

    def _info(self) -> WeightsInfo:
        last = self.curve[-1]
        pictures = self.state.step * self.recipe.batch
        start = self.options.start_from
        origin = f'the weights {Path(start).name}' if start else 'random weights'  # not its path
        share = self.options.mix_style
        style = f'; MixStyle in {share:g} of the batches' if share else ''
        return WeightsInfo(
            network=self.recipe.network,
            network_arguments=dict(self.recipe.network_arguments),
            input_height=self.recipe.test_height,
            input_width=self.recipe.test_width,
            mean=self.recipe.mean,
            std=self.recipe.std,
            output=self.recipe.output,
            min_depth=max(self.recipe.min_depth, 0.1),
            max_depth=self.recipe.max_depth,
            training_focal_length=self._focal,
            training_image_width=self.recipe.test_width,
            training_data=f'{self.description}; {pictures} pictures, starting from {origin}{style}',
            licence='Apache-2.0',
            name=self.recipe.name,
            recipe_name=self.recipe.name,
            origin='trained',
            test_geometry=self.recipe.test_geometry,
            recipe=f'python -m depth_training.train.packed, recipe {self.recipe.name}, '
            f'commit {commit() or "unknown"}',
            scores=(
                {
                    'data': self.validation.description,
                    'protocol': validate.__doc__ or '',
                    **{k: last[k] for k in ('AbsRel', 'aligned AbsRel', 'delta1')},
                },
            ),
        )

    @staticmethod
    def _say(text: str) -> None:
        sys.stderr.write(text + '\n')
        sys.stderr.flush()


def learner_kind(options: Options, device: torch.device) -> type[Learner]:
    """Return the learner for these options: with CUDA graphs where they can be used."""
    # A graph would repeat the random numbers of its recording, and MixStyle draws anew each step.
    graphs = device.type == 'cuda' and options.graphs and not options.mix_style
    return GraphedLearner if graphs else Learner


@torch.no_grad()
def validate(
    network: torch.nn.Module, views: DeviceViews, recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """Evaluate whole images at the recipe's size, corrected for focal length; mean over images."""
    mean, std = _normalisation(recipe, device)
    totals: list[Tensor] = []
    training = network.training
    network.eval()
    for first in range(0, len(views), JUDGED):
        batch = views.batch(torch.arange(first, min(first + JUDGED, len(views)), device=device))
        size = (recipe.test_height, recipe.test_width)
        image = torch.nn.functional.interpolate(batch.rgb, size, mode='bilinear', antialias=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == 'cuda'):
            output = network((image - mean) / std).float()
        output = torch.nn.functional.interpolate(output, batch.depth.shape[-2:], mode='bilinear')
        assert batch.fx is not None and recipe.focal is not None
        factor = batch.fx * size[1] / batch.depth.shape[-1] / recipe.focal
        totals.append(_scores(output * factor.view(-1, 1, 1, 1), batch.depth))
    network.train(training)
    values = torch.cat(totals, 1).double().mean(1).tolist()
    return {
        name: round(value, 5) for name, value in zip(('AbsRel', 'aligned AbsRel', 'delta1'), values)
    }


def _joined(parts: list[Views]) -> Views:
    """Return one batch of several."""
    if len(parts) == 1:
        return parts[0]
    return Views(
        *(
            torch.cat([getattr(part, name) for part in parts])
            for name in ('rgb', 'depth', 'fx', 'cx')
        )
    )


def _normalisation(recipe: Recipe, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation for images of 0 to 255, (1, 3, 1, 1) each."""
    mean, std = (
        255 * torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (recipe.mean, recipe.std)
    )
    return mean, std


def _scores(pred: Tensor, truth: Tensor) -> Tensor:
    """Return AbsRel, AbsRel after scaling each image, and delta1: (3, B)."""
    rows = []
    for p, t in zip(pred, truth):
        known = valid_mask(t)
        p, t = p[known].clamp(1e-3, 10), t[known]
        if not len(t):
            continue
        ratio = p / t
        aligned = ratio * (t.median() / p.median())
        rows.append(
            torch.stack(
                [
                    (ratio - 1).abs().mean(),
                    (aligned - 1).abs().mean(),
                    (torch.maximum(ratio, 1 / ratio) < 1.25).float().mean(),
                ]
            )
        )
    return torch.stack(rows, 1)


def _machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    return f'{name}, torch {torch.__version__}'


def _add_mix_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--mix-with',
        type=Path,
        metavar='FILE',
        help='take a share of every batch from the training views of this file',
    )
    parser.add_argument(
        '--mix-share', type=float, default=0.3, help='share of a batch for --mix-with'
    )
    parser.add_argument(
        '--mix-style',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='mix the style of early features between pictures in this share of the batches, such '
        'as 0.5 (Zhou et al. 2021); without CUDA graphs, as they would repeat the random numbers',
    )


def _add_log_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--validation-views', type=int, default=512)
    parser.add_argument('--log-every', type=int, default=100, help='steps')
    parser.add_argument('--validate-every', type=int, default=1000, help='steps')
    parser.add_argument('--checkpoint-minutes', type=float, default=2.0)


def parse(arguments: list[str] | None = None) -> Options:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='train_packed', description=(__doc__ or '').splitlines()[0]
    )
    parser.add_argument('pack', type=Path, help='file written by depth_training.data.pack_rooms')
    parser.add_argument('--out', type=Path, required=True, help='folder of the run')
    parser.add_argument('--recipe', default='bundled_packed')
    parser.add_argument('--start-from', help='weights file of the same network, or "default"')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--minutes', type=float, help='length of the run by time')
    length.add_argument('--steps', type=int, help='length of the run in steps')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--precision', default='auto', choices=('auto', 'fp32', 'bf16'))
    parser.add_argument('--resume', action='store_true', help='resume the run in --out')
    parser.add_argument(
        '--other-views',
        action='store_true',
        help='with --resume: another file than at the start, such as one with more rooms',
    )
    _add_mix_arguments(parser)
    parser.add_argument(
        '--no-graphs',
        dest='graphs',
        action='store_false',
        help='launch each kernel separately instead of as a CUDA graph',
    )
    parser.add_argument('--seed', type=int, default=0)
    _add_log_arguments(parser)
    options = Options(**vars(parser.parse_args(arguments)))
    for name in (
        'minutes',
        'steps',
        'batch',
        'validation_views',
        'log_every',
        'validate_every',
        'checkpoint_minutes',
    ):
        value = getattr(options, name)
        if value is not None and not value > 0:
            parser.error(f'--{name.replace("_", "-")} is {value}: give a number above 0')
    if not 0 <= options.mix_style <= 1:
        parser.error(f'--mix-style is {options.mix_style:g}: give a share of 0 (off) to 1')
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 after one sentence, or 128 + signal if stopped by one."""
    options = parse(arguments)
    try:
        return PackedTrainer(options).run()
    except (DataError, WeightsError, checkpoint.CheckpointError, ValueError, OSError) as error:
        sys.stderr.write(f'train_packed: {error}\n')
        return 1


if __name__ == '__main__':
    sys.exit(main())
