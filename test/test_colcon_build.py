# SPDX-License-Identifier: Apache-2.0
"""`colcon build`, with and without `--symlink-install`: the installed commands run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = ('depth-perception', 'depth_node', 'replay_bag', 'process_bag', 'replay_check')

pytestmark = pytest.mark.skipif(
    shutil.which('colcon') is None,
    reason='colcon is not installed: pip install -r requirements/test.txt',
)


@pytest.fixture(scope='module', params=[(), ('--symlink-install',)], ids=['copied', 'linked'])
def workspace(request, tmp_path_factory) -> Path:
    """A workspace in which the package was built."""
    folder = tmp_path_factory.mktemp('workspace')
    built = subprocess.run(
        [
            'colcon',
            '--log-base',
            'log',
            'build',
            '--base-paths',
            ROOT,
            '--packages-select',
            'depth_perception',
            *request.param,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert 'rror' not in built.stderr, built.stderr
    return folder


def test_commands_run_with_the_interpreter_on_the_path(workspace):
    commands = workspace / 'install' / 'depth_perception' / 'lib' / 'depth_perception'
    assert sorted(file.name for file in commands.iterdir()) == sorted(COMMANDS)
    for name in COMMANDS:
        assert (commands / name).read_text().splitlines()[0] == '#!/usr/bin/env python3'
    shown = _sourced(workspace, f'{commands}/replay_bag --help')
    assert shown.returncode == 0 and 'usage: replay_bag' in shown.stdout, shown.stderr


def test_installed_files_are_found_from_the_installed_package(workspace):
    share = workspace / 'install' / 'depth_perception' / 'share' / 'depth_perception'
    for folder in ('launch', 'config', 'rviz'):
        there = {file.name for file in (ROOT / folder).iterdir() if file.is_file()}
        assert {file.name for file in (share / folder).iterdir()} == there
    code = (
        'import depth_perception, pathlib; folder = pathlib.Path(depth_perception.__file__)'
        '.parent; print(folder, (folder / "models/default.safetensors").stat().st_size, '
        '(folder / "ros/large_images.fastdds.xml").stat().st_size)'
    )
    shown = _sourced(workspace, f"python3 -c '{code}'")
    assert shown.returncode == 0 and shown.stdout.startswith(str(workspace)), shown


def _sourced(workspace: Path, command: str) -> subprocess.CompletedProcess:
    """A command in a shell in which the workspace was sourced."""
    return subprocess.run(
        ['sh', '-c', f'. ./install/local_setup.sh && {command}'],
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=300,
    )
