# SPDX-License-Identifier: Apache-2.0
"""`train --resume`: a run goes on with its own options, and says what differs."""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from depth_training.ranges import option
from depth_training.train import checkpoint, run_folder
from depth_training.train.options import TrainingError, TrainOptions, chosen

#: Options that may differ from one start of a run to the next: they change no step of it, or are
#: read at its first start alone, or are files, which may have moved (data is compared by content).
FREE = frozenset((
    'out', 'resume', 'data', 'validation_data', 'list_file', 'start_from', 'encoder_weights',
    'from_scratch', 'perceptual_weights', 'time_limit', 'licence', 'precision', 'device',
    'local_batch_norm', 'workers', 'log_every', 'checkpoint_every', 'tensorboard'))
#: Options whose effect is in the recipe, where they are compared.
_IN_RECIPE = frozenset(('recipe', 'set', 'epochs', 'steps', 'batch', 'learning_rate',
                        'encoder_factor', 'freeze_batch_norm', 'loss'))


def completed(options: TrainOptions, read: Callable[..., TrainOptions]) -> TrainOptions:
    """The options of a run that goes on: its own, but for those that are given now.

    Args:
        options: as given.
        read: reads the command line again, with the keyword `default` in place of defaults.

    Raises:
        TrainingError: there is no run to go on with, or it was started with other options that
            cannot change.
    """
    if options.resume is None:
        return options
    folder = folder_of(options)
    if not checkpoint.exists(folder):
        raise TrainingError(f'{folder} holds no {checkpoint.FILE} to go on with: leave --resume '
                            'out to start a run there')
    own = own_options(folder)
    if own is None:
        return options
    merged = read(default=own)
    # --set is appended to the run's own: the last one of each field counts.
    fields = {word.partition('=')[0]: word for word in merged.set}
    merged = dataclasses.replace(merged, resume=(folder,), out=folder, set=tuple(fields.values()))
    _refuse_other_options(folder, own, merged)
    return merged


def folder_of(options: TrainOptions) -> Path:
    """Where the run's files are.

    Raises:
        TrainingError: --resume has several folders, or another one than --out, or none is given.
    """
    given = options.resume or ()
    if len(given) > 1:
        raise TrainingError('--resume takes one folder')
    if given and options.out not in (None, given[0]):
        raise TrainingError(f'--resume {given[0]} and --out {options.out} are two folders: '
                            'leave one out')
    if given:
        return given[0]
    if options.out:
        return options.out
    if not options.recipe:
        raise TrainingError('name the folder of the run: --resume FOLDER')
    return Path('runs', chosen(options).name)


def differing(own: TrainOptions, now: TrainOptions) -> Iterator[str]:
    """The options that differ, in words: `--workers 0 (was 4)`."""
    for field in dataclasses.fields(TrainOptions):
        values = [getattr(one, field.name) for one in (now, own)]
        # A file may be given by its whole path or not.
        if _absolute(values[0]) != _absolute(values[1]) and field.name not in ('out', 'resume'):
            yield f'{option(field.name)} {_plain(values[0])} (was {_plain(values[1])})'


def as_json(options: TrainOptions) -> dict[str, Any]:
    """Plain values, existing files by their whole path: a run may go on from another folder."""
    return {name: _absolute(value) for name, value in dataclasses.asdict(options).items()}


def check_settings(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with another recipe, seed or data, naming what differs.

    Raises:
        TrainingError: something does.
    """
    for name, value in now.items():
        was = before.get(name)
        if was == value:
            continue
        if isinstance(was, Mapping) and isinstance(value, Mapping):
            keys = [key for key in {**was, **value} if was.get(key) != value.get(key)]
            value = ', '.join(f'{key} {value.get(key)!r}' for key in keys)
            was = ', '.join(f'{key} {was.get(key)!r}' for key in keys)
        raise TrainingError(f'{folder} was started with another {name} ({was}; now {value}): '
                            'resume with --resume alone, or start another run with --out')


def own_options(folder: Path) -> TrainOptions | None:
    """The options that the run in a folder was started with; None where it does not tell."""
    file = folder / run_folder.FILE
    if not file.exists():
        return None
    values = run_folder.read_run(folder).description.options
    hints = get_type_hints(TrainOptions)
    return TrainOptions(**{name: _typed(hints[name], value) for name, value in values.items()
                           if name in hints and name != 'resume'})


def _typed(hint: Any, value: Any) -> Any:
    """What JSON made of a path, or of several values, as it was."""
    parts = {hint, *get_args(hint)}
    if isinstance(value, list):
        paths = any(Path in get_args(part) for part in parts)
        return tuple(Path(item) if paths else item for item in value)
    return Path(value) if isinstance(value, str) and Path in parts else value


def _refuse_other_options(folder: Path, own: TrainOptions, now: TrainOptions) -> None:
    fixed = [field.name for field in dataclasses.fields(TrainOptions)
             if field.name not in FREE | _IN_RECIPE]
    others = [name for name in fixed if getattr(own, name) != getattr(now, name)]
    if others:
        said = ', '.join(f'{option(name)} {_plain(getattr(own, name))}, not '
                         f'{_plain(getattr(now, name))}' for name in others)
        raise TrainingError(f'{folder} was started with {said}: leave it out, or start another '
                            'run with --out')


def _plain(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ' '.join(map(str, value)) or 'none'
    return 'none' if value is None else str(value)


def _absolute(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_absolute(item) for item in value]
    if isinstance(value, Path):
        return str(value.absolute() if value.exists() else value)
    return json.loads(json.dumps(value))
