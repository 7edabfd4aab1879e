# SPDX-License-Identifier: Apache-2.0
"""The packages of a borrowed GPU machine: PyTorch, timm, OpenCV, safetensors, pytest."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INSTALLED = ('torch', 'timm', 'opencv-python-headless', 'opencv-python', 'safetensors', 'pytest')
#: PathFinder finds nothing of these names; a partial does not become a method where it is a member.
_HIDE = """import functools, importlib.machinery
_HIDDEN = set({hidden!r})
_find = importlib.machinery.PathFinder.find_spec
def _found(name, path=None, target=None):
    return None if name.partition('.')[0] in _HIDDEN else _find(name, path, target)
importlib.machinery.PathFinder.find_spec = functools.partial(_found)
"""


def bare_environment(folder: Path) -> dict[str, str]:
    """Return variables for processes that cannot import what such a machine lacks.

    Args:
        folder: an empty folder, for the file that hides the other packages.
    """
    needed = _with_requirements(_INSTALLED)
    hidden = {
        module
        for module, owners in metadata.packages_distributions().items()
        if not needed & {_normal(owner) for owner in owners}
    }
    hidden -= {'depth_perception', 'depth_training', *sys.stdlib_module_names}
    (folder / 'sitecustomize.py').write_text(_HIDE.format(hidden=sorted({*hidden, 'rclpy'})))
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': path}


def _with_requirements(names: tuple[str, ...]) -> set[str]:
    """Return the names of distributions and of all that they need, as far as installed."""
    found: set[str] = set()
    waiting = [_normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            wanted = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        waiting += [
            _normal(re.split(r'[ ;<>=!~(\[]', one)[0]) for one in wanted if 'extra' not in one
        ]
    return found


def _normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()
