# SPDX-License-Identifier: Apache-2.0
"""The command line of the training package."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from depth_training import cli


def test_help_lists_the_commands(capsys):
    assert cli.main(['--help']) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in cli.COMMANDS)
    assert cli.main([]) == 2


def test_every_command_exists():
    for name, command in cli.COMMANDS.items():
        run = getattr(import_module(command.module), command.function)
        if command.options is None:
            assert callable(run)
        else:
            assert run.__annotations__['options'] == cli.options_type(name).__name__


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_each_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, '--help'])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert 'usage' in said.lower() and 'None' not in said


def test_an_option_without_value_is_shown_and_read_in_words(capsys):
    with pytest.raises(SystemExit):
        cli.main(['train', '--help'])
    said = ' '.join(capsys.readouterr().out.split())
    for form in (
        '--learning-rate FLOAT or none',
        '--out PATH or none',
        '--resume [PATH [PATH ...]] or none',
        '--loss {mse,',
        'densedepth} or none',
        '(default: none)',
    ):
        assert form in said
    for word, value in (('none', None), ('None', None), ('7', 7)):
        assert cli.parse('train', ['paper_003', '--steps', word]).steps == value
    for word, value in (('none', None), ('l1', 'l1')):
        assert cli.parse('train', ['paper_003', '--loss', word]).loss == value
    assert cli.parse('train', ['paper_003', '--resume', 'none']).resume is None
    assert cli.parse('train', ['paper_003']).out is None


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_help_of_a_command_does_not_load_torch(command):
    code = (
        'import sys\n'
        'from depth_training.cli import main\n'
        f'try: main([{command!r}, "--help"])\n'
        'finally: print(*{"torch", "timm", "scipy", "h5py"} & sys.modules.keys(), "loaded")'
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=300
    )
    assert 'usage' in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1] == 'loaded'


def test_what_is_wrong_is_one_sentence(tmp_path, capsys):
    assert cli.main(['dream']) == 2
    assert cli.main(['train', 'paper_009', '--data', str(tmp_path)]) == 1
    assert cli.main(['prepare', 'raw', str(tmp_path), str(tmp_path / 'out')]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "unknown recipe 'paper_009'" in said[1] and 'holds no raw frames' in said[2]


@pytest.mark.parametrize(
    'words',
    [
        ('export', 'default', '--output', '{}'),
        ('import-weights', 'hybrid', 'none.model', '--output', '{}'),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path, capsys, words):
    place = tmp_path / 'none' / 'a.onnx'
    assert cli.main([word.format(place) for word in words]) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and f'{place}: there is no folder for it' in said
