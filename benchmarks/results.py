# SPDX-License-Identifier: Apache-2.0
"""Files of results that keep what is measured when a benchmark is stopped.

A benchmark of several parts writes its file after each. The entry `unfinished` names the parts that
are not measured yet; it is empty at the end. `failed` names those that could not be measured, and
their errors: one such part does not keep the others from being measured.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from depth_perception.errors import named
from depth_perception.io.files import write_atomically


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file; a file that is there stays complete until the new one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [(json.dumps(content, indent=1) + '\n').encode()])


@contextlib.contextmanager
def going_on(failed: dict[str, str], part: str) -> Iterator[None]:
    """Print an error of this block and add it to `failed`, instead of raising it."""
    try:
        yield
    except Exception as error:  # also of CUDA, of cuDNN or of a network
        traceback.print_exc()
        failed[part] = named(error)


def read_times(path: Path) -> dict[str, Any]:
    """Read a network.json.

    Raises:
        ValueError: it is missing, unreadable, or contains no times; the text names the remedy.
    """
    remedy = 'write it with python -m benchmarks.network'
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ValueError(f'there is no file {path}: {remedy}') from error
    except (OSError, ValueError) as error:
        raise ValueError(f'{path} cannot be read ({error}): {remedy}') from error
    if not isinstance(found, dict) or not found.get('rows'):
        raise ValueError(f'{path} contains no times of networks: {remedy}')
    return found


def has_matplotlib(picture: Path) -> bool:
    """Return whether pictures can be drawn; say on standard error which one is missing if not."""
    if importlib.util.find_spec('matplotlib') is not None:
        return True
    sys.stderr.write(f'{picture.name} is not drawn: matplotlib is not installed\n')
    return False
