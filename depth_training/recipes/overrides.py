# SPDX-License-Identifier: Apache-2.0
"""User-defined recipes: an existing recipe with some fields changed.

A file such as

    base: paper_003
    optimizer: adam
    learning_rate: 1e-4
    schedule: {kind: OneCycle, rise: 0.3}
    network_arguments: {decoder_init_std: 0.001}

or `--set FIELD=VALUE`, with a dot before part of a field: `--set schedule.rise=0.3`.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import shlex
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from depth_perception.reading import read_text
from depth_training import ranges
from depth_training.recipes import schedule
from depth_training.recipes.recipe import Recipe

#: Fields defined by the recipe's own name, file or base.
_FIXED = ('name', 'title', 'warning', 'base')
#: Arguments that are specific to one network, augmentation or loss.
_ARGUMENTS = {
    'network': 'network_arguments',
    'augment': 'augment_arguments',
    'loss': 'loss_arguments',
}
_SCHEDULES = {kind.__name__: kind for kind in get_args(schedule.Schedule)}


class OverrideError(ValueError):
    """An impossible change of a recipe; the message names field, value and remedy."""


def parse(words: Iterable[str]) -> dict[str, Any]:
    """Parse `FIELD=VALUE`s to a dictionary; values are YAML.

    Raises:
        OverrideError: one is not `FIELD=VALUE`, or a field is given twice.
    """
    changes: dict[str, Any] = {}
    for word in words:
        field, equals, text = word.partition('=')
        if not equals or not field:
            raise OverrideError(f'--set {word}: write FIELD=VALUE, such as --set batch=4')
        if field in changes:
            raise OverrideError(f'--set {field} is given twice')
        changes[field] = _yaml(text, f'--set {word}')
    return changes


def read(file: Path) -> tuple[str, dict[str, Any]]:
    """Read the base and the changes of a recipe file.

    Raises:
        OverrideError: the file is not a recipe.
        NotTextError: the file is not text.
        OSError: the file cannot be read.
    """
    content = _yaml(read_text(file), str(file))
    if not isinstance(content, dict) or not isinstance(content.get('base'), str):
        raise OverrideError(
            f'{file} is not a recipe: its first line must name the recipe that it '
            'changes, such as `base: paper_003`'
        )
    return content['base'], {str(key): value for key, value in content.items() if key != 'base'}


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Apply changes, by field or by `field.part` of a field that has parts, to a recipe.

    Raises:
        OverrideError: a field is unknown, or cannot have such a value.
    """
    whole = {key: value for key, value in changes.items() if '.' not in key}
    for kind, arguments in _ARGUMENTS.items():
        if whole.get(kind, getattr(recipe, kind)) != getattr(recipe, kind):
            none: dict[str, Any] = {arguments: {}}
            recipe = dataclasses.replace(recipe, **none)
    before = recipe
    for key, value in {**whole, **changes}.items():
        field, _, part = key.partition('.')
        recipe = dataclasses.replace(recipe, **{field: _value(recipe, field, part, value)})
    if before.focal is not None and 'focal' not in changes:  # focal is in pixels of that width
        recipe = dataclasses.replace(
            recipe, focal=before.focal * recipe.test_width / before.test_width
        )
    check(recipe)
    return recipe


def check(recipe: Recipe) -> None:
    """Refuse a recipe with impossible values.

    Raises:
        OverrideError, ValueError: a number is out of range, a name unknown, or a named part does
            not take the given arguments.
    """
    from depth_perception.networks import network_arguments, network_names
    from depth_training.augment import pipelines as augment
    from depth_training.evaluate.geometry import GEOMETRIES
    from depth_training.evaluate.protocols import KITTI, PROTOCOLS
    from depth_training.losses import losses

    ranges.check(recipe)
    for field, known in (
        ('network', network_names()),
        ('protocol', PROTOCOLS | KITTI),
        ('augment', augment.NAMES),
        ('test_geometry', GEOMETRIES),
    ):
        if getattr(recipe, field) not in known:
            raise OverrideError(
                f'{field} {getattr(recipe, field)!r} is unknown: choose one of {", ".join(known)}'
            )
    try:
        getattr(augment, recipe.augment)(recipe.height, recipe.width, **recipe.augment_arguments)
    except TypeError as error:
        raise OverrideError(
            f'augment_arguments {dict(recipe.augment_arguments)} do not fit '
            f'{recipe.augment}: {error}'
        ) from error
    _refuse_others(
        'network', recipe.network, recipe.network_arguments, network_arguments(recipe.network)
    )
    # The first three arguments are prediction, target and mask.
    _refuse_others(
        'loss',
        recipe.loss,
        recipe.loss_arguments,
        list(inspect.signature(getattr(losses, recipe.loss)).parameters)[3:],
    )


def _refuse_others(kind: str, name: str, given: Mapping[str, Any], known: list[str]) -> None:
    if unknown := sorted(given.keys() - set(known)):
        raise OverrideError(
            f'{kind} {name} does not take {", ".join(unknown)}; it takes '
            f'{", ".join(known) or "no arguments"}'
        )


def differences(recipe: Recipe, base: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return fields that differ, each with the recipe's and the base's value."""
    pairs = {
        field.name: (getattr(recipe, field.name), getattr(base, field.name))
        for field in dataclasses.fields(recipe)
        if field.name not in _FIXED
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def as_words(recipe: Recipe, base: Recipe) -> list[str]:
    """Return the `--set` options that make the recipe from its base."""
    return [
        shlex.quote(f'{field}={_text(value)}')
        for field, (value, _) in differences(recipe, base).items()
    ]


def _text(value: Any) -> str:
    """Return a field's value as YAML text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {'kind': type(value).__name__, **dataclasses.asdict(value)}
    return value if isinstance(value, str) else json.dumps(value)


def _yaml(text: str, source: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OverrideError(f'{source} is not YAML: {" ".join(str(error).split())}') from error


def _value(recipe: Recipe, field: str, part: str, value: Any) -> Any:
    """Return the new value of the field."""
    names = [item.name for item in dataclasses.fields(Recipe) if item.name not in _FIXED]
    if field not in names:
        raise OverrideError(f'a recipe has no field {field!r}: choose one of {", ".join(names)}')
    hint, before = get_type_hints(Recipe)[field], getattr(recipe, field)
    if field == 'schedule':
        return _schedule(before, {part: value} if part else value, whole=not part)
    if isinstance(before, Mapping):
        if part:
            return {**before, part: _plain(value)}
        if not isinstance(value, Mapping):
            raise OverrideError(f'{field} {value!r} is not a mapping: write {field}.NAME=VALUE')
        return {**before, **{str(key): _plain(item) for key, item in value.items()}}
    if part:
        raise OverrideError(f'{field} has no parts: write {field}=VALUE')
    return _of_type(hint, value, field)


def _schedule(before: schedule.Schedule, value: Any, whole: bool) -> schedule.Schedule:
    """Return another kind with its arguments, or the given schedule with some changed."""
    values = {'kind': value} if isinstance(value, str) else value
    if not isinstance(values, Mapping):
        raise OverrideError(f'{value!r} is not a schedule: choose one of {", ".join(_SCHEDULES)}')
    values = dict(values)
    name = values.pop('kind', type(before).__name__)
    if name not in _SCHEDULES:
        raise OverrideError(f'schedule {name!r} is unknown: choose one of {", ".join(_SCHEDULES)}')
    kind = _SCHEDULES[name]
    arguments = dataclasses.asdict(before) if not whole or kind is type(before) else {}
    known = get_type_hints(kind)
    for key, item in values.items():
        if key not in known:
            raise OverrideError(
                f'schedule {name} has no {key!r}: choose one of {", ".join(known) or "none"}'
            )
        arguments[key] = _of_type(known[key], item, f'schedule.{key}')
    try:
        made = kind(**arguments)
    except TypeError as error:
        raise OverrideError(f'schedule {name} needs {", ".join(known)}') from error
    ranges.check(made, lambda field: f'schedule.{field}')
    return made


def _of_type(hint: Any, value: Any, field: str) -> Any:
    """Convert a value to the type of a field."""
    fitting = _fitting(hint, value)
    if fitting is _UNFIT:
        raise OverrideError(f'{field} {value!r} is invalid: give {_in_words(hint)}')
    return fitting


_UNFIT = object()


def _fitting(hint: Any, value: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fitting(parts[0], value)
    if origin in (Union, types.UnionType):
        found = [made for part in parts if (made := _fitting(part, value)) is not _UNFIT]
        return found[0] if found else _UNFIT
    if origin is Literal or hint is str:
        return value if isinstance(value, str) and value in (parts or (value,)) else _UNFIT
    if origin is tuple:
        return _tuple(parts, value)
    if hint is type(None):
        return None if value is None else _UNFIT
    value = _plain(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if type(value) is hint else _UNFIT


def _tuple(parts: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return _UNFIT
    kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
    made = [_fitting(*pair) for pair in zip(kinds, value)]
    return _UNFIT if len(kinds) != len(value) or _UNFIT in made else tuple(made)


def _plain(value: Any) -> Any:
    """Convert numbers such as 1e-3, which YAML reads as text because they lack a dot."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _in_words(hint: Any) -> str:
    """Describe a type for users: `a whole number`, `one of adam, adamw, sgd`."""
    if get_origin(hint) is Literal:
        return f'one of {", ".join(map(str, get_args(hint)))}'
    if get_origin(hint) in (Union, types.UnionType):
        return ' or '.join(_in_words(part) for part in get_args(hint))
    if get_origin(hint) is Annotated:
        return _in_words(get_args(hint)[0])
    names = {
        int: 'a whole number',
        float: 'a number',
        str: 'a name',
        bool: 'true or false',
        type(None): 'null',
    }
    return names.get(hint, 'a list of numbers')
