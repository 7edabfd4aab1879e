# SPDX-License-Identifier: Apache-2.0
"""Recipes name the papers' numbers, and what they name exists."""
from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from depth_training import augment
from depth_training.protocols import PROTOCOLS
from depth_training.recipes import RECIPES, get_recipe
from depth_training.schedule import Constant, Drops, OneCycle, Place, Plateau


def test_every_experiment_of_the_five_papers_has_a_recipe():
    assert list(RECIPES) == [
        'paper_000', *(f'paper_001_m{model}' for model in range(1, 6)),
        *(f'paper_002_{name}' for name in ('cnn_fc', 'cnn', 'cnn_transpose', 'cnn_residual',
                                           'unpool_zero', 'unpool_average', 'random', 'transfer')),
        'paper_003', 'paper_003_laina', 'paper_004',
        'rooms_efficientnet_sff', 'rooms_resnet_unet_hybrid', 'rooms_cnn_residual',
        'bundled', 'bundled_abs_rel', 'bundled_small', 'bundled_refined', 'bundled_decals',
        'bundled_cut_depth', 'bundled_swap', 'bundled_ssim', 'bundled_abs_rel_ssim',
        'bundled_log_l1']
    with pytest.raises(ValueError, match="unknown recipe 'paper_005': choose one of paper_000"):
        get_recipe('paper_005')


@pytest.mark.parametrize('name, stated', [
    ('paper_000', {'learning_rate': 0.003, 'weight_decay': 1e-4, 'optimizer': 'adam'}),
    ('paper_001_m5', {'batch': 8, 'epochs': 30, 'perceptual_weight': 0.5, 'loss': 'silog',
                      'test_height': 480, 'test_width': 640}),
    ('paper_002_cnn', {'batch': 32, 'epochs': 20, 'learning_rate': 1e-4, 'weight_decay': 1e-4,
                       'loss': 'mse'}),
    ('paper_002_unpool_average', {'pairs': 25, 'epochs': 120}),
    ('paper_002_transfer', {'pairs': 500, 'epochs': 20}),
    ('paper_003', {'batch': 16, 'learning_rate': 1e-2, 'weight_decay': 2.5e-4, 'momentum': 0.9,
                   'optimizer': 'sgd', 'loss': 'berhu', 'pairs': 48_000}),
    ('paper_004', {'batch': 8, 'epochs': 20, 'learning_rate': 1e-4, 'amsgrad': True,
                   'output': 'reciprocal'}),
])
def test_numbers_of_the_papers(name, stated):
    recipe = get_recipe(name)
    assert {key: getattr(recipe, key) for key in stated} == stated


@pytest.mark.parametrize('recipe', RECIPES.values(), ids=RECIPES)
def test_what_a_recipe_names_exists(recipe):
    assert recipe.protocol in PROTOCOLS
    assert callable(getattr(augment, recipe.augment)(
        recipe.height, recipe.width, **recipe.augment_arguments))
    json.dumps(dataclasses.asdict(recipe))


def test_ablations_differ_in_what_the_paper_says():
    models = [RECIPES[f'paper_001_m{number}'] for number in range(1, 6)]
    told = [(m.network == 'efficientnet_sff', m.augment_arguments['with_cut_depth'],
             m.perceptual_weight > 0) for m in models]
    assert told == [(False, False, False), (False, True, False), (True, False, False),
                    (True, True, False), (True, True, True)]


def test_one_cycle_is_torchs():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], 0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, 50, pct_start=0.3, div_factor=25, final_div_factor=100)
    for step in range(50):
        assert 0.1 * OneCycle().factor(Place(step, 50)) == pytest.approx(
            optimizer.param_groups[0]['lr'], rel=1e-9)
        optimizer.step()
        if step < 49:
            theirs.step()


def test_drops_happen_at_the_first_step_of_an_epoch():
    schedule = RECIPES['paper_003'].schedule
    assert isinstance(schedule, Drops)
    factors = [schedule.factor(Place(step, 30 * 7)) for step in range(30 * 7)]
    assert [factors.index(value) // 7 for value in (1.0, 0.5, 0.1)] == [0, 10, 20]
    assert [factors.index(value) % 7 for value in (1.0, 0.5, 0.1)] == [0, 0, 0]


def test_plateau_waits_and_has_a_floor():
    schedule = Plateau(drop=0.7, patience=2, smallest=0.5)
    assert schedule.factor(Place(0, 1, [3, 2, 1])) == 1
    assert schedule.factor(Place(0, 1, [1, 1, 1])) == pytest.approx(0.7)
    assert schedule.factor(Place(0, 1, [1] * 9)) == 0.5
    assert Constant().factor(Place(5, 9)) == 1


def test_the_rooms_recipes_differ_in_network_and_loss_alone():
    same = [dataclasses.replace(RECIPES[f'rooms_{name}'], name='', title='', network='',
                                network_arguments={}, loss='mse', loss_arguments={})
            for name in ('efficientnet_sff', 'resnet_unet_hybrid', 'cnn_residual')]
    assert same[0] == same[1] == same[2]
