# SPDX-License-Identifier: Apache-2.0
"""Files in the folder of a training run: `run.json`, the run's description, and its log."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depth_perception.io.files import write_atomically
from depth_perception.reading import read_text
from depth_training.train import run_log as journal

FILE = 'run.json'
#: Weights of the last completed epoch, and of the epoch with the smallest validation RMSE.
WEIGHTS, BEST = 'weights.safetensors', 'best.safetensors'
Row = dict[str, Any]


@dataclass(frozen=True)
class RunDescription:
    """Setup of a run.

    Attributes:
        recipe: all values of the recipe, with the changes of the command line.
        options: options of the command line.
        parameters: number of the network's parameters.
        pairs: training pairs; `training` and `validation` describe the data.
        steps: steps of the whole run.
        precision: `fp32` or `bf16`.
        machine: machine at the last start.
        processes: number of processes that trained together.
        initial: initial weights of the network.
    """

    recipe: dict[str, Any]
    options: dict[str, Any]
    parameters: int
    pairs: int
    training: str
    validation: str
    steps: int
    precision: str
    machine: str
    processes: int
    initial: str


@dataclass(frozen=True)
class Run:
    """A run as recorded in its folder; rows are lines of its log, in order of steps."""

    folder: Path
    description: RunDescription
    training: list[Row]
    validation: list[Row]

    @property
    def name(self) -> str:
        """Name of the folder; for one of several seeds, after the name of its parent."""
        folder = self.folder.resolve()
        return (
            f'{folder.parent.name}/{folder.name}'
            if folder.name.startswith('seed_')
            else folder.name
        )

    @property
    def weights(self) -> Path:
        """File of the last completed epoch; may be missing."""
        return self.folder / WEIGHTS

    @property
    def step(self) -> int:
        """Completed training steps, as far as they were logged."""
        return max((row['step'] for row in (*self.training, *self.validation)), default=0)

    @property
    def images(self) -> int:
        """Number of images seen, counting repetitions."""
        return self.step * self.description.recipe['batch']

    @property
    def seconds(self) -> float | None:
        """Elapsed seconds, including validation, without pauses."""
        return max(
            (row['seconds'] for row in (*self.training, *self.validation) if 'seconds' in row),
            default=None,
        )


def write_description(folder: Path, description: RunDescription) -> None:
    """Write `run.json`.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(dataclasses.asdict(description), indent=1, default=str)
    write_atomically(folder / FILE, [text.encode()])


def read_run(folder: Path) -> Run:
    """Read a run from its folder.

    Raises:
        ValueError: the folder contains no run.
    """
    file = folder / FILE
    if not file.exists():
        raise ValueError(
            f'{folder} contains no {FILE}: it is not the folder of a training run '
            '(train --resume writes this file for an older run)'
        )
    try:
        description = RunDescription(**json.loads(read_text(file)))
    except (ValueError, TypeError) as error:
        raise ValueError(f'{file} does not describe a training run') from error
    rows = journal.read(folder)
    training, validation = (
        [row for row in rows if row['kind'] == kind] for kind in ('train', 'validation')
    )
    return Run(folder, description, training, validation)


def differing(runs: Sequence[Run]) -> list[str]:
    """Return which parts of data and budget differ between runs; empty if none."""
    seen: dict[str, set[Any]] = {
        'training data': {run.description.training for run in runs},
        'validation data': {run.description.validation for run in runs},
        'images seen': {run.images for run in runs},
        'steps': {run.step for run in runs},
        'protocol': {run.description.recipe['protocol'] for run in runs},
    }
    return [name for name, values in seen.items() if len(values) > 1]


def machine(device: torch.device) -> str:
    """Describe the machine, such as `CPU, x86-64, 2 cores`."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    kind = platform.machine().replace('_', '-')
    return f'CPU, {kind}, {os.cpu_count()} cores, {torch.get_num_threads()} used'
