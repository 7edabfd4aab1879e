# SPDX-License-Identifier: Apache-2.0
"""`train --seeds`: train a recipe several times, to report a standard deviation with each score."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from depth_perception.io.files import write_atomically
from depth_training.recipes.targets import COLUMNS
from depth_training.train import checkpoint, resume, run_folder
from depth_training.train.options import TrainingError, TrainOptions

FILE = 'seeds.json'


def train_each(options: TrainOptions, train: Callable[[TrainOptions], int]) -> int:
    """Train every seed that is not trained yet; return the exit code of the first stopped run.

    Raises:
        TrainingError: --resume is given, --out contains a single run, or torchrun started this.
    """
    out = resume.folder_of(options)
    if int(os.environ.get('WORLD_SIZE', '1')) > 1:
        raise TrainingError(
            '--seeds trains the seeds one after the other in a single process: '
            'with torchrun, start a run for each --seed'
        )
    if options.resume is not None:
        raise TrainingError(
            '--seeds resumes by itself: omit --resume, or resume a single seed '
            'with --resume FOLDER alone'
        )
    if checkpoint.exists(out):
        raise TrainingError(f'{out} already contains a run of one seed: choose another --out')
    folders = {
        seed: out / f'seed_{seed}' for seed in range(options.seed, options.seed + options.seeds)
    }
    for seed, folder in folders.items():
        started = checkpoint.exists(folder)
        if started and _is_done(folder):
            sys.stderr.write(f'{folder} is done\n')
            continue
        one = dataclasses.replace(
            options, seed=seed, seeds=1, out=folder, resume=(folder,) if started else None
        )
        if code := train(one):
            return code
    sys.stderr.write(_summary(out, list(folders.values())) + '\n')
    return 0


def _is_done(folder: Path) -> bool:
    run = run_folder.read_run(folder)
    return run.step >= run.description.steps


def _summary(out: Path, folders: list[Path]) -> str:
    """Compute mean and deviation of the last validation scores; also write `seeds.json`."""
    rows = [run.validation[-1] for run in map(run_folder.read_run, folders) if run.validation]
    columns = {name: np.array([row[name] for row in rows], float) for name in (*COLUMNS, 'loss')}
    values = {
        name: {
            'mean': float(column.mean()),
            'deviation': float(column.std(ddof=1)),
            'each': column.tolist(),
        }
        for name, column in columns.items()
    }
    write_atomically(out / FILE, [json.dumps(values, indent=1).encode()])
    said = ', '.join(
        f'{name} {value["mean"]:.4f} ± {value["deviation"]:.4f}' for name, value in values.items()
    )
    return f'{len(rows)} seeds, validation after the last epoch: {said}'
