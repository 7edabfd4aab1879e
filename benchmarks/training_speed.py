# SPDX-License-Identifier: Apache-2.0
"""Measure the training speed of each paper's recipe, and project it to the whole run.

Prints Markdown tables for docs/reproducing.md. With DATA, also measures images per second of
reading and augmenting; if that is less than the training steps need, the GPU waits for data:

    python -m benchmarks.training_speed --data DATA --workers 8

With --plain, also the speed-up of a step over that of a plain loop in float32
(benchmarks/plain_loop.py), alternating.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data_loading import images_per_second
from benchmarks.plain_loop import PlainLoop, ratio
from benchmarks.results import write_json
from depth_training.data import DepthDataset, open_dataset
from depth_training.ranges import Range, number
from depth_training.recipes import Recipe, get_recipe
from depth_training.recipes.schedule import Place
from depth_training.train import build
from depth_training.train.distributed import Processes, local_device
from depth_training.train.run_folder import machine
from depth_training.train.step import Learner
from depth_training.train.training_data import Batch

#: Training pairs of each paper's data set, see docs/reproducing.md.
PAIRS = {
    'paper_000': 795,
    'paper_001_m1': 24_231,
    'paper_001_m4': 24_231,
    'paper_001_m5': 24_231,
    'paper_002_cnn_fc': 50_688,
    'paper_002_cnn': 50_688,
    'paper_002_cnn_transpose': 50_688,
    'paper_002_cnn_residual': 50_688,
    'paper_003': 48_000,
    'paper_003_laina': 48_000,
    'paper_004': 50_688,
    'paper_004_kitti': 26_000,
}
_PRECISIONS = ('fp32', 'bf16')
_HEAD = (
    'recipe',
    'input',
    'batch',
    'precision',
    'images/s',
    'memory, GiB',
    'one epoch',
    'epochs',
    'whole recipe',
    'x plain loop',
)


@dataclass(frozen=True)
class Speed:
    """Images per second of training steps without data loading, and the peak memory in GiB."""

    rate: float
    memory: float


def measure(
    recipe: Recipe, device: torch.device, precision: Literal['fp32', 'bf16'], batch: int, steps: int
) -> Speed:
    """Train steps on one synthetic batch: forward, loss, backward, optimizer.

    Raises:
        torch.cuda.OutOfMemoryError: the batch does not fit into memory.
    """
    learner, rows = _learner(recipe, device, precision, batch)
    for step in range(2):  # the first steps plan and allocate
        learner.learn(rows, Place(step, steps + 2))
    _finish(device)
    start = time.perf_counter()
    for step in range(steps):
        learner.learn(rows, Place(step + 2, steps + 2))
    _finish(device)
    return Speed(batch * steps / (time.perf_counter() - start), _peak(device))


def times_plain(
    recipe: Recipe, device: torch.device, precision: Literal['fp32', 'bf16'], batch: int, steps: int
) -> float:
    """Return the speed-up of our step over the plain loop's, with the same network and loss."""
    learner, rows = _learner(recipe, device, precision, batch)
    loss = build.loss(recipe)
    if isinstance(loss, torch.nn.Module):
        loss.to(device)
    plain = PlainLoop(build.network(recipe, seed=0).to(device), loss)
    return ratio(learner, plain, rows, steps)


def flops_per_image(recipe: Recipe) -> float:
    """Return the floating-point operations to train on one image; a multiply-add counts as two.

    The backward pass counts as two forward passes (torch's counter overstates it for depthwise
    convolutions), but as one in paper 001's frozen loss network, half of whose input is the truth.
    """
    learner, rows = _learner(recipe, torch.device('meta'), 'fp32', 2)
    with FlopCounterMode(display=False) as network:
        learner.model(rows.image)
    height, width = rows.depth.shape[-2:]
    # Losses need real tensors: a sixteenth of the area, as convolutions scale with it.
    depth = torch.rand(2, 1, height // 4, width // 4)
    with FlopCounterMode(display=False) as loss:
        build.loss(recipe)(depth, depth, depth > 0)
    return (3 * network.get_total_flops() + 1.5 * 16 * loss.get_total_flops()) / 2


def _learner(
    recipe: Recipe, device: torch.device, precision: Literal['fp32', 'bf16'], batch: int
) -> tuple[Learner, Batch]:
    with device:  # nothing is computed on `meta`
        network = build.network(recipe, seed=0)
        height, width = build.output_size(recipe, network)
    rows = Batch(
        torch.randn(batch, 3, recipe.height, recipe.width, device=device),
        torch.rand(batch, 1, height, width, device=device) * 8 + 1,
    )
    # Paper 001's loss network may be random here: its weights do not affect the speed.
    return Learner(recipe, network, build.loss(recipe), device, Processes(), precision), rows


def _finish(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _peak(device: torch.device) -> float:
    """Return peak GiB: of the GPU since the last reset, of a CPU since the process started."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _rows(options: argparse.Namespace, device: torch.device) -> Iterator[tuple[str, ...]]:
    for name in options.recipes:
        recipe = get_recipe(name)
        batch = options.batch or recipe.batch
        for precision in options.precisions:
            gc.collect()
            if device.type == 'cuda':
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
            head = (name, f'{recipe.width}x{recipe.height}', str(batch), precision)
            try:
                speed = measure(recipe, device, precision, batch, options.steps)
            except torch.cuda.OutOfMemoryError:
                yield *head, 'out of memory', '', '', str(recipe.epochs), '', ''
                continue
            epoch = PAIRS[name] * recipe.views / speed.rate
            times = (
                times_plain(recipe, device, precision, batch, options.steps)
                if options.plain
                else None
            )
            yield (
                *head,
                f'{speed.rate:.3g}',
                f'{speed.memory:.1f}',
                _time(epoch),
                str(recipe.epochs),
                _time(epoch * recipe.epochs),
                '' if times is None else f'{times:.2f}',
            )


def _flops(options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    for name in options.recipes:
        recipe = get_recipe(name)
        image = flops_per_image(recipe)
        images = PAIRS[name] * recipe.views * recipe.epochs
        total = image * images
        yield (
            name,
            f'{image / 1e9:.0f}',
            f'{images:,}',
            f'{total:.1e}',
            _time(total / (options.tflops * 1e12)),
        )


def _loading(dataset: DepthDataset, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Yield augmented tensors per second of each recipe's pipeline."""
    for name in options.recipes:
        recipe = get_recipe(name)
        data = build.training_data(recipe, dataset, build.network(recipe, 0), None, 0)
        for workers in options.workers:
            rate = images_per_second(data, workers, recipe.batch, options.images)
            yield name, str(workers), f'{rate:.0f}'


def _time(seconds: float) -> str:
    if seconds < 5400:
        return f'{seconds / 60:.1f} min'
    return f'{seconds / 3600:.1f} h' if seconds < 100 * 3600 else f'{seconds / 86400:.0f} days'


def _print(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Print each row immediately; return all rows."""
    print(f'| {" | ".join(head)} |\n|{" --- |" * len(head)}')
    printed = []
    for row in rows:
        print(f'| {" | ".join(row)} |', flush=True)
        printed.append(row)
    print()
    return printed


def arguments() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--recipes',
        nargs='+',
        choices=PAIRS,
        default=list(PAIRS),
        metavar='NAME',
        help=f'default: {" ".join(PAIRS)}',
    )
    parser.add_argument('--precisions', nargs='+', choices=_PRECISIONS, default=_PRECISIONS)
    parser.add_argument(
        '--batch', type=number(int, Range(1)), help="instead of each recipe's, for example on a CPU"
    )
    parser.add_argument(
        '--steps', type=number(int, Range(1)), default=20, help='steps to measure, after two others'
    )
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'), default='auto')
    parser.add_argument('--plain', action='store_true', help='compare with a plain loop')
    parser.add_argument('--out', type=Path, help='write the training steps as JSON, too')
    parser.add_argument(
        '--flops',
        action='store_true',
        help='count operations instead of measuring, and divide by --tflops',
    )
    parser.add_argument(
        '--tflops',
        type=number(float, Range(0, above=True)),
        default=10.0,
        help='assumed 10^12 operations/s of training (default: 10)',
    )
    parser.add_argument('--data', type=Path, help='also measure loading of these RGB-D pairs')
    parser.add_argument('--workers', type=number(int, Range(0)), nargs='+', default=[4])
    parser.add_argument('--images', type=number(int, Range(1)), default=200, help='images to load')
    return parser


def main() -> None:
    """Run the command line."""
    options = arguments().parse_args()
    if options.flops:
        _print(
            (
                'recipe',
                'GFLOP/image',
                'images',
                'FLOP of the recipe',
                f'at {options.tflops:g} TFLOP/s',
            ),
            _flops(options),
        )
        return
    device = local_device(options.device)
    where = f'{machine(device)}, PyTorch {torch.__version__}'
    print(f'Training steps, {where}:\n')
    rows = _print(_HEAD, _rows(options, device))
    if options.out:
        write_json(
            options.out,
            {
                'machine': where,
                'steps': options.steps,
                'rows': [dict(zip(_HEAD, row)) for row in rows],
            },
        )
    if options.data:
        dataset = open_dataset(options.data, 'all')
        print(f'Loading and augmenting ({dataset.describe()}):\n')
        _print(('recipe', 'workers', 'images/s'), _loading(dataset, options))


if __name__ == '__main__':
    main()
