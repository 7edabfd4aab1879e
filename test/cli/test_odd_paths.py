# SPDX-License-Identifier: Apache-2.0
"""Paths that cannot be used: devices, links in a circle, names that are too long."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_perception.cli.main import main
from depth_perception.cli.results import find
from depth_perception.demo import arguments
from depth_perception.io.image_files import ImageError, read_photo
from depth_perception.io.weights import WeightsError, load_weights
from depth_training import cli as training

LONG = 'a' * 300


def test_a_device_is_refused_and_not_read_for_ever():
    with pytest.raises(ImageError, match='it is a device'):
        read_photo(Path('/dev/zero'))
    with pytest.raises(WeightsError, match='it is a device'):
        load_weights('/dev/zero')


@pytest.mark.parametrize(
    'words', [['predict', f'{LONG}.png', '--out', 'out'], ['view', LONG, '--port', '0']]
)
def test_a_name_that_is_too_long_gives_one_sentence(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert 'File name too long' in said and said.count('\n') == 1 and len(said) < 200


def test_the_demo_refuses_a_name_that_is_too_long(capsys):
    with pytest.raises(SystemExit, match='2'):
        arguments.parse([LONG])
    assert 'File name too long' in capsys.readouterr().err


def test_links_in_a_circle_are_listed_and_refused_one_by_one(tmp_path):
    circle = tmp_path / 'circle.png'
    circle.symlink_to(circle)
    assert [file for file, _ in find([circle], tmp_path / 'out').files] == [circle]
    with pytest.raises(ImageError, match='symbolic links'):
        read_photo(circle)


@pytest.mark.parametrize(
    'words, named',
    [
        (['predict', '', '--out', 'out'], 'an argument'),
        (['predict', 'a.png', '--out', ''], 'the value of --out'),
        (['predict', 'a.png', '--out', 'out', '--model='], 'the value of --model'),
        (['view', ''], 'an argument'),
    ],
)
def test_an_empty_word_is_not_the_current_folder(words, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert f'{named} is empty: is a variable not set?' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_empty_word_is_refused_by_the_demo_and_by_training(capsys):
    with pytest.raises(SystemExit, match='2'):
        arguments.parse(['--model', ''])
    assert training.main(['check-data', '--data', '']) == 2
    assert training.main(['report', '']) == 2
    said = capsys.readouterr().err
    assert 'the value of --model is empty' in said and 'the value of --data is empty' in said
    assert 'depth_training: an argument is empty' in said
