# SPDX-License-Identifier: Apache-2.0
"""What the folder of a training run says of it: `run.json`, how it was set up, and the journal."""
from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depth_perception.io.files import write_atomically
from depth_training.train import run_log as journal
from depth_training.train.options import TrainingError

FILE = 'run.json'
#: Weights of the last finished epoch, and of the one with the least validation RMSE.
WEIGHTS, BEST = 'weights.safetensors', 'best.safetensors'
Row = dict[str, Any]


@dataclass(frozen=True)
class RunDescription:
    """How a run was set up.

    Attributes:
        recipe: all values of the recipe, with what the command line changed.
        options: of the command line.
        parameters: of the network.
        pairs: training pairs; `training` and `validation` describe the data in words.
        steps: of the whole run.
        precision: `fp32` or `bf16`.
        machine: what it ran on, when it was started last.
        processes: that trained together.
        initial: what the network started from.
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
    """A run as its folder tells it; rows are lines of the journal, in order of steps."""

    folder: Path
    description: RunDescription
    training: list[Row]
    validation: list[Row]

    @property
    def name(self) -> str:
        """Of the folder; of one of several seeds, with that of the folder around it."""
        folder = self.folder.resolve()
        return f'{folder.parent.name}/{folder.name}' if folder.name.startswith('seed_') \
            else folder.name

    @property
    def weights(self) -> Path:
        """File of the last finished epoch; may be missing."""
        return self.folder / WEIGHTS

    @property
    def step(self) -> int:
        """Training steps done, as far as they were logged."""
        return max((row['step'] for row in (*self.training, *self.validation)), default=0)

    @property
    def images(self) -> int:
        """Images seen, each as often as it was."""
        return self.step * self.description.recipe['batch']

    @property
    def seconds(self) -> float | None:
        """Time on the clock from start to end, validation included, pauses left out."""
        return max((row['seconds'] for row in (*self.training, *self.validation)
                    if 'seconds' in row), default=None)


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turns the failure to write into a sentence.

    Raises:
        TrainingError: an OSError came up inside.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f'cannot write the {what} to {folder}: {error.strerror}; the checkpoint before '
            'is complete, so free space and go on with --resume') from error


def write_description(folder: Path, description: RunDescription) -> None:
    """Write `run.json`.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(dataclasses.asdict(description), indent=1, default=str)
    write_atomically(folder / FILE, [text.encode()])


def read_run(folder: Path) -> Run:
    """A run from its folder.

    Raises:
        ValueError: the folder holds no run.
    """
    file = folder / FILE
    if not file.exists():
        raise ValueError(f'{folder} holds no {FILE}: it is not the folder of a training run '
                         '(train --resume writes the file of an older one)')
    try:
        description = RunDescription(**json.loads(file.read_text('utf-8')))
    except (ValueError, TypeError) as error:
        raise ValueError(f'{file} does not describe a training run') from error
    rows = journal.read(folder)
    training, validation = ([row for row in rows if row['kind'] == kind]
                            for kind in ('train', 'validation'))
    return Run(folder, description, training, validation)


def differing(runs: Sequence[Run]) -> list[str]:
    """What of data and budget is not the same in all runs, in words; empty if all is."""
    seen: dict[str, set[Any]] = {
        'training data': {run.description.training for run in runs},
        'validation data': {run.description.validation for run in runs},
        'images seen': {run.images for run in runs},
        'steps': {run.step for run in runs},
        'protocol': {run.description.recipe['protocol'] for run in runs},
    }
    return [name for name, values in seen.items() if len(values) > 1]


def machine(device: torch.device) -> str:
    """What a run runs on, such as `CPU, x86-64, 2 cores`."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    kind = platform.machine().replace('_', '-')
    return f'CPU, {kind}, {os.cpu_count()} cores, {torch.get_num_threads()} used'
