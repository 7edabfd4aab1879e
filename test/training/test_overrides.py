# SPDX-License-Identifier: Apache-2.0
"""Set any field of a recipe on the command line or in a file; impossible values are refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from depth_perception.io.weights import load_weights
from depth_training import cli
from depth_training.recipes import RECIPES, Recipe, get_recipe, overrides, schedule
from depth_training.train import build
from depth_training.train.options import TrainOptions, chosen
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import TINY, words

#: A value for each field that differs from paper 003's, as text and as stored.
OTHER = {
    'network': ('cnn', 'cnn'),
    'network_arguments': ('{decoder_init_std: 1e-3}', {'decoder_init_std': 1e-3, 'head_bias': 0.0}),
    'augment': ('paper_001', 'paper_001'),
    'augment_arguments': ('{}', {}),
    'height': ('64', 64),
    'width': ('96', 96),
    'test_height': ('64', 64),
    'test_width': ('96', 96),
    'loss': ('l1', 'l1'),
    'loss_arguments': ('{}', {}),
    'optimizer': ('adamw', 'adamw'),
    'learning_rate': ('1e-3', 1e-3),
    'batch': ('4', 4),
    'epochs': ('2', 2),
    'protocol': ('plain', 'plain'),
    'perceptual_weight': ('1', 1.0),
    'output': ('reciprocal', 'reciprocal'),
    'mean': ('[0, 0, 0.5]', (0.0, 0.0, 0.5)),
    'std': ('[1, 1, 1]', (1.0, 1.0, 1.0)),
    'freeze_batch_norm': ('0.5', 0.5),
    'weight_decay': ('0', 0.0),
    'momentum': ('0', 0.0),
    'amsgrad': ('true', True),
    'encoder_factor': ('0.1', 0.1),
    'schedule': ('{kind: OneCycle, rise: 0.2}', schedule.OneCycle(rise=0.2)),
    'clip_gradient': ('0.1', 0.1),
    'steps': ('7', 7),
    'average': ('0.99', 0.99),
    'focal': ('300', 300.0),
    'pairs': ('null', None),
    'truth': ('filled', 'filled'),
    'reduce': ('mean', 'mean'),
    'min_depth': ('0.5', 0.5),
    'max_depth': ('5', 5.0),
    'pretrained': ('false', False),
    'views': ('2', 2),
    'averaging': ('images', 'images'),
    'test_geometry': ('squeeze', 'squeeze'),
    'beyond': ('clipped', 'clipped'),
    'holes': ('as_zero', 'as_zero'),
}


@pytest.mark.parametrize(
    'field',
    [
        field.name
        for field in dataclasses.fields(Recipe)
        if field.name not in ('name', 'title', 'warning', 'base')
    ],
)
def test_any_field_can_be_changed(field):
    text, value = OTHER[field]
    options = TrainOptions('paper_003', set=(f'{field}={text}',))
    recipe = chosen(options)
    assert getattr(recipe, field) == value
    # The metadata of the weights file reproduces the recipe.
    again = overrides.parse(
        build._words(recipe)[1:]
        and [word.strip("'") for word in overrides.as_words(recipe, get_recipe('paper_003'))]
    )
    assert overrides.changed(get_recipe('paper_003'), again) == recipe


def test_parts_of_a_field():
    recipe = chosen(
        TrainOptions(
            'bundled',
            set=('schedule.rise=0.4', 'loss_arguments.lam=0.85', 'network_arguments.max_depth=20'),
        )
    )
    assert recipe.schedule == schedule.OneCycle(0.4, 25, 1e4)
    assert recipe.loss_arguments == {**get_recipe('bundled').loss_arguments, 'lam': 0.85}
    assert recipe.network_arguments['max_depth'] == 20


def test_arguments_of_another_part_are_dropped():
    recipe = chosen(TrainOptions('bundled', loss='l1', set=('network=cnn',)))
    assert recipe.loss_arguments == {} and recipe.network_arguments == {}


@pytest.mark.parametrize(
    'word, sentence',
    [
        ('batch', 'write FIELD=VALUE'),
        ('batches=4', "a recipe has no field 'batches': choose one of network, augment,"),
        ('name=mine', "a recipe has no field 'name'"),
        ('batch=0', 'batch 0 is out of range: give 1 or more'),
        ('batch=four', "batch 'four' is invalid: give a whole number"),
        ('batch=1.5', 'batch 1.5 is invalid: give a whole number'),
        ('batch=true', 'batch True is invalid'),
        ('learning_rate=-1', 'learning_rate -1 is out of range: give more than 0'),
        ('learning_rate=.nan', 'learning_rate nan is out of range'),
        ('optimizer=adagrad', "optimizer 'adagrad' is invalid: give one of adam, adamw, sgd"),
        ('network=vit', "network 'vit' is unknown: choose one of cnn"),
        ('network_arguments.layers=3', 'does not take layers; it takes decoder_init_std'),
        ('network_arguments=3', 'network_arguments 3 is not a mapping'),
        ('augment=paper_009', "augment 'paper_009' is unknown"),
        ('augment_arguments.flip=1', 'do not fit paper_003'),
        ('protocol=kitti', "protocol 'kitti' is unknown"),
        ('test_geometry=round', "test_geometry 'round' is unknown: choose one of squeeze"),
        ('loss_arguments.lam=1', 'loss berhu does not take lam; it takes no arguments'),
        ('schedule=Cosine', "schedule 'Cosine' is unknown: choose one of Constant, StepDecay"),
        ('schedule.rise=0.1', "schedule Drops has no 'rise': choose one of factors"),
        ('schedule.factors=5', 'schedule.factors 5 is invalid'),
        ('schedule={kind: OneCycle, rise: 2}', 'schedule.rise 2 is out of range'),
        ('mean=[0, 0]', 'mean [0, 0] is invalid: give a list of numbers'),
        ('batch.size=3', 'batch has no parts: write batch=VALUE'),
        ('mean=[0', 'is not YAML'),
    ],
)
def test_what_makes_no_sense_is_one_sentence(tmp_path, capsys, word, sentence):
    data = layouts.sync(tmp_path / 'data')
    assert (
        cli.main(
            [
                'train',
                'paper_003',
                '--data',
                str(data),
                '--out',
                str(tmp_path / 'run'),
                '--from-scratch',
                '--set',
                word,
            ]
        )
        == 1
    )
    said = capsys.readouterr().err
    assert sentence in said and said.count('\n') == 1
    assert not (tmp_path / 'run').exists()


def test_a_field_twice_is_refused(capsys):
    assert (
        cli.main(['train', 'paper_003', '--data', 'x', '--set', 'batch=2', '--set', 'batch=4']) == 1
    )
    assert '--set batch is given twice' in capsys.readouterr().err


def test_a_recipe_file_trains_and_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    monkeypatch.chdir(tmp_path)
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 4)
    file = layouts.write(
        tmp_path / 'mine.yaml',
        'base: tiny\nlearning_rate: 2e-3\nschedule: {kind: StepDecay, epochs: 1, drop: 0.5}\n',
    )
    arguments = words(data, tmp_path / 'x', '--epochs', '2', '--batch', '2')
    arguments[1] = str(file)
    del arguments[arguments.index('--out') : arguments.index('--out') + 2]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().err
    assert 'mine: a tiny network, changed by mine.yaml' in said
    assert 'changed from tiny: learning_rate 0.002 (was 0.001), batch 2 (was 4)' in said
    run = read_run(tmp_path / 'runs/mine')
    assert [row['learning_rate'] for row in run.training] == [2e-3] * 2 + [1e-3] * 2
    assert 'train tiny --set learning_rate=0.002' in load_weights(run.weights).info.recipe
    assert json.loads((run.folder / 'run.json').read_text())['recipe']['base'] == 'tiny'


@pytest.mark.parametrize('text', ['batch: 4\n', '- a\n', 'base: [\n', 'base: paper_009\n'])
def test_a_file_that_is_no_recipe(tmp_path, capsys, text):
    file = layouts.write(tmp_path / 'mine.yaml', text)
    assert cli.main(['train', str(file), '--data', str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'Traceback' not in said
    assert cli.main(['train', str(tmp_path / 'absent.yaml'), '--data', str(tmp_path)]) == 1
