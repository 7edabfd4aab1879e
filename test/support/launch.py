# SPDX-License-Identifier: Apache-2.0
"""Run launch files like a user, even if no workspace with the package is sourced.

    python -m test.support.launch depth.launch.py name:=value ...

replaces `ros2 launch`, which is not on PyPI.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from ament_index_python import PackageNotFoundError, get_package_prefix

ROOT = Path(__file__).parents[2]
COMMANDS = {
    'depth_node': 'node.main',
    'replay_bag': 'replay.replay_bag',
    'process_bag': 'offline.process_bag',
    'replay_check': 'replay.replay_check',
}
#: Generous: a busy machine takes a minute to import torch.
PATIENCE = 240.0


def offer_package() -> None:
    """Add the package to the ament index, unless it is already there."""
    try:
        get_package_prefix('depth_perception')
        return
    except (PackageNotFoundError, OSError):  # the latter if ROS 2 is not sourced
        prefix = Path(tempfile.mkdtemp())
    for name, module in COMMANDS.items():
        script = prefix / name
        script.write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT}:$PYTHONPATH exec {sys.executable} '
            f'-m depth_perception.ros.{module} "$@"\n'
        )
        script.chmod(0o755)
        _install('depth_perception', script, prefix)
    paths = [str(prefix), *filter(None, [os.environ.get('AMENT_PREFIX_PATH')])]
    os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(paths)


def offer_command(package: str, *scripts: Path) -> Path:
    """Create a folder for AMENT_PREFIX_PATH with a package that has these commands."""
    prefix = Path(tempfile.mkdtemp())
    for script in scripts:
        _install(package, script, prefix)
    return prefix


def _install(package: str, script: Path, prefix: Path) -> None:
    marker = prefix / 'share/ament_index/resource_index/packages' / package
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    commands = prefix / 'lib' / package
    commands.mkdir(parents=True, exist_ok=True)
    shutil.copy(script, commands)


def parameters_file(text: str) -> Path:
    """Write a YAML file of parameters for any node."""
    path = Path(tempfile.mkdtemp()) / 'parameters.yaml'
    path.write_text(f'/**: {{ros__parameters: {{{text}}}}}\n')
    return path


class Launched:
    """A launch file in its own process; a context manager that ends it."""

    def __init__(self, launch_file: str, **arguments: object) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [
                sys.executable,
                '-m',
                'test.support.launch',
                launch_file,
                *(f'{name}:={value}' for name, value in arguments.items()),
            ],
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.interrupt()
            self.wait()
        self._output.close()

    def output(self) -> str:
        """Return what was printed so far."""
        with open(f'/proc/self/fd/{self._output.fileno()}', errors='replace') as file:
            return file.read()

    def interrupt(self) -> None:
        """Send Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return self._process.wait(PATIENCE)


def _launch(launch_file: str, arguments: list[str]) -> int:
    from launch import LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    offer_package()
    service = LaunchService(argv=arguments)
    source = PythonLaunchDescriptionSource(str(ROOT / 'launch' / launch_file))
    pairs = [tuple(word.split(':=', 1)) for word in arguments]
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)])
    )
    return service.run()


if __name__ == '__main__':
    sys.exit(_launch(sys.argv[1], sys.argv[2:]))
