# SPDX-License-Identifier: Apache-2.0
"""The options of `import-model` in a YAML file, by the same names."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from depth_perception.errors import UsageError, first_line
from depth_perception.reading import NotTextError, read_text

Declare = Callable[[argparse.ArgumentParser], None]


def read_settings(path: Path, declare: Declare) -> dict[str, Any]:
    """Return the values in a YAML file by name, such as `max_depth`.

    Args:
        path: the file, with lines such as `max_depth: 10`.
        declare: declares the options of which the file may hold the values.

    Raises:
        UsageError: the file cannot be read, or a name or a value is wrong; one sentence.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    declare(parser)
    known = [name for name in vars(parser.parse_args([])) if name != 'settings']
    found = {}
    for key, value in _mapping(path).items():
        name = str(key).replace('-', '_')
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f'did you mean {near[0]}?' if near else f'known are {", ".join(known)}'
            raise UsageError(f'{path} has an unknown key {key!r}: {hint}')
        if name in found:
            raise UsageError(f'{path} has the key {name} twice')
        try:
            options, rest = parser.parse_known_args(_words(name, value))
            if rest:
                raise argparse.ArgumentError(None, f'{value!r} must be one value')
            found[name] = getattr(options, name)
        except argparse.ArgumentError as error:
            raise UsageError(f'{path}: {name}: {error.message}') from error
    return found


def _words(name: str, value: Any) -> list[str]:
    """Return the words of the command line that mean the same."""
    option = '--' + name.replace('_', '-')
    if isinstance(value, list):
        return [option, *map(str, value)]
    if value is None or isinstance(value, (bool, dict)):
        raise argparse.ArgumentError(None, f'{value!r} is neither text nor a number')
    return [f'{option}={value}']


def _mapping(path: Path) -> dict[Any, Any]:
    """Return the keys and values of the file; refuse a key that stands there twice."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no type hints
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise UsageError(f'{path} has the key {twice} twice')
            return super().construct_mapping(node, deep)

    try:
        values = yaml.load(read_text(path), Loader)
    except OSError as error:
        raise UsageError(f'cannot read --settings {path}: {error.strerror}') from error
    except UsageError:
        raise
    except NotTextError as error:
        raise UsageError(f'--settings {error}') from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise UsageError(f'--settings {path} is not YAML: {first_line(error)}') from error
    if not isinstance(values, dict):
        raise UsageError(f'--settings {path} must hold lines such as "max_depth: 10"')
    return values
