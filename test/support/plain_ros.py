# SPDX-License-Identifier: Apache-2.0
"""Evaluate launch files with only the modules of a plain ROS 2 installation.

    python -m test.support.plain_ros LAUNCH_FILE name:=value ...

prints the actions of a launch file, one per line, without starting anything.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ament_index_python.packages  # noqa: F401 - what a launch file may use is imported before
import launch
import launch.event_handlers
import launch.events.process
import launch.launch_description_sources
import launch_ros.actions
import launch_ros.descriptions  # noqa: F401
import yaml  # noqa: F401

#: The package itself is installed with its launch files; its requirements may not be.
ALLOWED = ('launch', 'launch_ros', 'ament_index_python', 'yaml', 'depth_perception')


class Blocked(importlib.abc.MetaPathFinder):
    """Refuse all modules but Python's own, ALLOWED ones, and those that they have imported."""

    def __init__(self) -> None:
        self._known = {name.partition('.')[0] for name in sys.modules}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Return None for allowed modules, to leave them to other finders."""
        top = name.partition('.')[0]
        if top not in (*ALLOWED, *self._known, *sys.stdlib_module_names):
            raise ModuleNotFoundError(f'a plain ROS 2 has no {name}', name=name)


def actions(entity: Any, context: launch.LaunchContext) -> Iterator[Any]:
    """Yield the actions of an entity without starting a process."""
    if isinstance(entity, launch.actions.ExecuteLocal):
        yield entity
        return
    for child in entity.visit(context) or []:
        yield from actions(child, context)


def main(launch_file: Path, arguments: list[str]) -> None:
    """Evaluate a launch file and print its actions."""
    context = launch.LaunchContext(argv=arguments)
    source = launch.launch_description_sources.PythonLaunchDescriptionSource(str(launch_file))
    pairs = [tuple(word.split(':=', 1)) for word in arguments]
    include = launch.actions.IncludeLaunchDescription(source, launch_arguments=pairs)
    for action in actions(include, context):
        sys.stdout.write(f'{type(action).__name__} {getattr(action, "node_executable", "")}\n')


if __name__ == '__main__':
    sys.meta_path.insert(0, Blocked())
    main(Path(sys.argv[1]), sys.argv[2:])
