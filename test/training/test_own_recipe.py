# SPDX-License-Identifier: Apache-2.0
"""Follow docs/own_recipe.md exactly: its recipe file, its commands, its fields."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from depth_perception.io.weights import load_weights
from depth_perception.networks import network_names
from depth_training import cli
from depth_training.augment import pipelines as augment
from depth_training.losses import losses
from depth_training.losses.names import LossName
from depth_training.recipes import Recipe, overrides
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.training.test_reproducing import shown_calls

PAGE = (Path(__file__).parents[2] / 'docs/own_recipe.md').read_text('utf-8')
#: Added to the page's commands; its recipe and networks are unchanged.
SMALL = (
    '--steps',
    '2',
    '--batch',
    '2',
    '--workers',
    '0',
    '--device',
    'cpu',
    '--validation-images',
    '1',
    '--no-tensorboard',
    '--log-every',
    '1',
    '--set',
    'height=64',
    '--set',
    'width=64',
    '--set',
    'test_height=64',
    '--set',
    'test_width=64',
)


def words_of(call):
    words = call[call.index('depth_training') + 1 :]
    return words + list(SMALL) if words[0] == 'train' else words


def test_the_page_is_followed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    layouts.sync(Path('my_rooms'), ('attic', 'kitchen', 'office'), 2)
    layouts.write(Path('photo.jpg'), layouts.encode('.jpg', layouts.scene()[0]))
    (recipe,) = re.findall(r'```yaml\n# my_recipe.yaml\n(.*?)```', PAGE, re.S)
    Path('my_recipe.yaml').write_text(recipe)
    for call in shown_calls(tmp_path, PAGE):
        if '--set' in call and 'epochs=2' in call:
            # A repeated field is refused, so the page's line is parsed, not shortened.
            assert cli.parse('train', call[call.index('depth_training') + 2 :]).set
            continue
        assert cli.main(words_of(call)) == 0, capsys.readouterr().err
    run = read_run(tmp_path / 'runs/my_recipe')
    assert run.step == 2 and run.description.recipe['schedule'] == {
        'rise': 0.2,
        'start': 25.0,
        'end': 100.0,
    }
    info = load_weights(run.weights).info
    assert info.licence == 'CC0-1.0' and info.network == 'efficientnet_sff'
    assert '--set optimizer=adamw' in info.recipe and 'train paper_003' in info.recipe
    assert list(Path('depths').iterdir())


@pytest.mark.parametrize('field', [field.name for field in dataclasses.fields(Recipe)])
def test_the_page_names_every_field_that_is_a_users(field):
    named = set(re.findall(r'`(\w+)`', PAGE))
    not_a_users = {
        'name',
        'title',
        'warning',
        'base',
        'perceptual_weight',
        'output',
        'mean',
        'std',
        'reduce',
        'pretrained',
    }
    assert field in named | not_a_users


def test_the_page_names_what_there_is():
    named = set(re.findall(r'`(\w+)`', PAGE))
    # Another test registers its own network.
    assert set(network_names()) <= named | {'two_numbers', 'transformers', 'onnx'}
    assert set(overrides._SCHEDULES) <= named
    assert set(get_args(LossName)) <= named
    assert all(callable(getattr(losses, name)) for name in get_args(LossName))
    assert {'paper_000', 'paper_004', 'bundled'} <= set(augment.NAMES) & named
