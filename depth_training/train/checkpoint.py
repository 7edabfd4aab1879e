# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: one safetensors file with tensors and, in its header, the rest as JSON; no pickle.

A new file is written next to the old one and replaces it atomically, so there is always a complete
checkpoint, even if the process is killed.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_perception.io.files import write_atomically

FILE = 'checkpoint.safetensors'
_KEY = 'depth_training'


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


@dataclass
class Progress:
    """The state of a run except for tensors.

    Attributes:
        step: completed training steps.
        epoch: completed epochs.
        position: completed steps of the current epoch.
        scores: validation loss of each epoch, for the schedule.
        errors: validation RMSE after each epoch, to choose the best epoch.
        settings: settings of the run; it can only be resumed with the same.
    """

    settings: dict[str, Any]
    step: int = 0
    epoch: int = 0
    position: int = 0
    scores: list[float] = dataclasses.field(default_factory=list)
    errors: list[float] = dataclasses.field(default_factory=list)


def save(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    average: nn.Module | None = None,
) -> None:
    """Write the run's checkpoint; `average` is the network's moving average.

    Raises:
        OSError: it cannot be written, for example on a full disk; the previous one stays.
    """
    from safetensors.torch import save as serialise

    state = optimizer.state_dict()
    tensors = {
        f'{part}.{name}': tensor
        for part, module in _parts(network, average)
        for name, tensor in module.state_dict().items()
    }
    plain: dict[str, dict[str, Any]] = {}
    for index, values in state['state'].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f'optimizer.{index}.{name}'] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    document = {'progress': dataclasses.asdict(progress), 'optimizer': plain}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(folder / FILE, [serialise(tensors, {_KEY: json.dumps(document)})])


def load(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> Progress:
    """Load a checkpoint's tensors into network, optimizer and moving average.

    Raises:
        CheckpointError: it is missing, damaged or of another network.
    """
    tensors, document = _read(folder / FILE)
    groups = optimizer.state_dict()['param_groups']
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in document['optimizer'].items()
    }
    for name, tensor in tensors.items():
        kind, _, rest = name.partition('.')
        if kind == 'optimizer':
            index, _, key = rest.partition('.')
            state.setdefault(int(index), {})[key] = tensor
    try:
        for part, module in _parts(network, average):
            module.load_state_dict(
                {
                    name.partition('.')[2]: tensor
                    for name, tensor in tensors.items()
                    if name.startswith(f'{part}.')
                }
            )
    except RuntimeError as error:
        raise CheckpointError(f'{folder / FILE} belongs to another network') from error
    optimizer.load_state_dict({'state': state, 'param_groups': groups})
    return Progress(**document['progress'])


def exists(folder: Path) -> bool:
    """Tell if the folder contains a run."""
    return (folder / FILE).exists()


def refuse_run(folder: Path) -> None:
    """Raise CheckpointError if the folder contains a run, which a new one would replace."""
    if exists(folder):
        raise CheckpointError(
            f'{folder} already contains a run: add --resume to continue it, or choose another --out'
        )


def remove_leftovers(folder: Path) -> None:
    """Delete partial files of a process that was killed while writing."""
    for file in folder.glob('.*.part'):
        file.unlink(missing_ok=True)


def _parts(network: nn.Module, average: nn.Module | None) -> list[tuple[str, nn.Module]]:
    return [('network', network)] + ([] if average is None else [('average', average)])


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, 'pt') as content:
            document = json.loads((content.metadata() or {})[_KEY])
            return {name: content.get_tensor(name) for name in content.keys()}, document  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f'{file} is not a complete checkpoint ({error}): take it from a backup, or start a new '
            'run, which can begin with the weights of this one by --start-from'
        ) from error
