# SPDX-License-Identifier: Apache-2.0
"""`train --resume`: continue a run with its own options, and report changed ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from depth_training.ranges import option
from depth_training.train import checkpoint, run_folder
from depth_training.train.options import OF_RECIPE, TrainingError, TrainOptions, chosen

#: Options that may change between starts of a run, since they do not affect its steps, are only
#: read at the first start, or are files, which may have moved (data is compared by content).
FREE = frozenset(
    (
        'out',
        'resume',
        'data',
        'validation_data',
        'list_file',
        'start_from',
        'encoder_weights',
        'from_scratch',
        'perceptual_weights',
        'time_limit',
        'licence',
        'precision',
        'device',
        'local_batch_norm',
        'workers',
        'log_every',
        'checkpoint_every',
        'tensorboard',
    )
)
#: Options that change the recipe, where they are compared.
_IN_RECIPE = frozenset(('recipe', 'set', *OF_RECIPE))


def completed(options: TrainOptions, read: Callable[..., TrainOptions]) -> TrainOptions:
    """Return the options of a run to resume: its own, overridden by those given now.

    Args:
        options: as given.
        read: parses the command line again, with the keyword `default` instead of defaults.

    Raises:
        TrainingError: there is no run to resume, or an option that cannot change was changed.
    """
    if options.resume is None:
        return options
    folder = folder_of(options)
    if not checkpoint.exists(folder):
        raise TrainingError(
            f'{folder} contains no {checkpoint.FILE} to resume: omit --resume to start a run there'
        )
    own = own_options(folder)
    if own is None:
        if not options.recipe:
            raise TrainingError(
                f'{folder} has no {run_folder.FILE}, which names the options of its run: give them '
                f'again, beginning with the recipe, and --out {folder} --resume'
            )
        return options
    merged = read(default=own)
    # --set is appended to the run's own: the last value of each field wins.
    fields = {word.partition('=')[0]: word for word in merged.set}
    merged = dataclasses.replace(merged, resume=(folder,), out=folder, set=tuple(fields.values()))
    _refuse_other_options(folder, own, merged)
    return merged


def folder_of(options: TrainOptions) -> Path:
    """Return the folder of the run.

    Raises:
        TrainingError: --resume has several folders, or differs from --out, or no folder is given.
    """
    given = options.resume or ()
    if len(given) > 1:
        raise TrainingError('--resume takes one folder')
    if given and options.out not in (None, given[0]):
        raise TrainingError(
            f'--resume {given[0]} and --out {options.out} are different folders: omit one of them'
        )
    if given:
        return given[0]
    if options.out:
        return options.out
    if not options.recipe:
        raise TrainingError('give the folder of the run: --resume FOLDER')
    return Path('runs', chosen(options).name)


def differing(own: TrainOptions, now: TrainOptions) -> Iterator[str]:
    """Yield the options that differ, such as `--workers 0 (was 4)`."""
    for field in dataclasses.fields(TrainOptions):
        values = [getattr(one, field.name) for one in (now, own)]
        # A path may be given as absolute or relative.
        if _absolute(values[0]) != _absolute(values[1]) and field.name not in ('out', 'resume'):
            yield f'{option(field.name)} {_plain(values[0])} (was {_plain(values[1])})'


def as_json(options: TrainOptions) -> dict[str, Any]:
    """Return plain values, with absolute paths, so a run may be resumed from another folder."""
    return {name: _absolute(value) for name, value in dataclasses.asdict(options).items()}


def check_settings(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume with a different recipe, seed or data; name what differs.

    Raises:
        TrainingError: something differs.
    """
    for name, value in now.items():
        was = before.get(name)
        if was == value:
            continue
        if isinstance(was, Mapping) and isinstance(value, Mapping):
            keys = [key for key in {**was, **value} if was.get(key) != value.get(key)]
            value = ', '.join(f'{key} {value.get(key)!r}' for key in keys)
            was = ', '.join(f'{key} {was.get(key)!r}' for key in keys)
        raise TrainingError(
            f'cannot resume {folder}: its {name} has changed ({was}; now {value}): '
            'resume with --resume alone, or start a new run with --out'
        )


def own_options(folder: Path) -> TrainOptions | None:
    """Return the options of the run in a folder, or None if they are not recorded."""
    file = folder / run_folder.FILE
    if not file.exists():
        return None
    values = run_folder.read_run(folder).description.options
    hints = get_type_hints(TrainOptions)
    return TrainOptions(
        **{
            name: _typed(hints[name], value)
            for name, value in values.items()
            if name in hints and name != 'resume'
        }
    )


def _typed(hint: Any, value: Any) -> Any:
    """Convert a path, or several values, back from JSON."""
    parts = {hint, *get_args(hint)}
    if isinstance(value, list):
        paths = any(Path in get_args(part) for part in parts)
        return tuple(Path(item) if paths else item for item in value)
    return Path(value) if isinstance(value, str) and Path in parts else value


def _refuse_other_options(folder: Path, own: TrainOptions, now: TrainOptions) -> None:
    fixed = [
        field.name
        for field in dataclasses.fields(TrainOptions)
        if field.name not in FREE | _IN_RECIPE
    ]
    others = [name for name in fixed if getattr(own, name) != getattr(now, name)]
    if others:
        said = ', '.join(
            f'{option(name)} {_plain(getattr(own, name))}, not {_plain(getattr(now, name))}'
            for name in others
        )
        raise TrainingError(
            f'{folder} was started with {said}: omit it, or start a new run with --out'
        )


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
