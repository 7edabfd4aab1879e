# SPDX-License-Identifier: Apache-2.0
"""Recipes have the papers' numbers, and everything they name exists."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from depth_perception.io.weights import load_weights
from depth_perception.networks.up_projection_decoder import UpProjectionDecoder
from depth_training.augment import pipelines as augment
from depth_training.evaluate.protocols import KITTI, PROTOCOLS
from depth_training.recipes import RECIPES, get_recipe
from depth_training.recipes.schedule import Constant, OneCycle, Place, Plateau
from depth_training.train.sampler import BatchOrder


def test_every_experiment_of_the_five_papers_has_a_recipe():
    assert list(RECIPES) == [
        'paper_000',
        *(f'paper_001_m{model}' for model in range(1, 6)),
        *(
            f'paper_002_{name}'
            for name in (
                'cnn_fc',
                'cnn',
                'cnn_transpose',
                'cnn_residual',
                'unpool_zero',
                'unpool_average',
                'random',
                'transfer',
            )
        ),
        'paper_003',
        'paper_003_laina',
        'paper_004',
        'paper_004_kitti',
        'rooms_efficientnet_sff',
        'rooms_resnet_unet_hybrid',
        'rooms_cnn_residual',
        'bundled',
        'bundled_abs_rel',
        'bundled_small',
        'bundled_refined',
        'bundled_decals',
        'bundled_packed',
        'bundled_continued_small',
        'bundled_continued',
        'finetune',
        'bundled_cut_depth',
        'bundled_swap',
        'bundled_ssim',
        'bundled_abs_rel_ssim',
        'bundled_log_l1',
    ]
    with pytest.raises(ValueError, match="unknown recipe 'paper_005': choose one of paper_000"):
        get_recipe('paper_005')


@pytest.mark.parametrize('name', ['finetune', 'bundled_continued_small', 'bundled_packed'])
def test_what_goes_on_from_the_shipped_weights_has_their_input(name):
    shipped, recipe = load_weights('default').info, get_recipe(name)
    assert (recipe.test_height, recipe.test_width) == (shipped.input_height, shipped.input_width)
    assert recipe.focal == pytest.approx(shipped.training_focal_length)


@pytest.mark.parametrize(
    'name, stated',
    [
        ('paper_000', {'learning_rate': 0.003, 'weight_decay': 1e-4, 'optimizer': 'adam'}),
        (
            'paper_001_m5',
            {
                'batch': 8,
                'epochs': 30,
                'perceptual_weight': 0.5,
                'loss': 'silog',
                'test_height': 480,
                'test_width': 640,
            },
        ),
        (
            'paper_002_cnn',
            {'batch': 32, 'epochs': 20, 'learning_rate': 1e-4, 'weight_decay': 1e-4, 'loss': 'mse'},
        ),
        ('paper_002_unpool_average', {'pairs': 25, 'epochs': 120}),
        ('paper_002_transfer', {'pairs': 500, 'epochs': 20}),
        (
            'paper_003',
            {
                'batch': 16,
                'learning_rate': 1e-2,
                'weight_decay': 2.5e-4,
                'momentum': 0.9,
                'optimizer': 'sgd',
                'loss': 'berhu',
                'pairs': 48_000,
            },
        ),
        (
            'paper_004',
            {
                'batch': 8,
                'epochs': 20,
                'learning_rate': 1e-4,
                'amsgrad': True,
                'output': 'reciprocal',
            },
        ),
    ],
)
def test_numbers_of_the_papers(name, stated):
    recipe = get_recipe(name)
    assert {key: getattr(recipe, key) for key in stated} == stated


@pytest.mark.parametrize('recipe', RECIPES.values(), ids=RECIPES)
def test_what_a_recipe_names_exists(recipe):
    assert recipe.protocol in PROTOCOLS | KITTI
    assert callable(
        getattr(augment, recipe.augment)(recipe.height, recipe.width, **recipe.augment_arguments)
    )
    json.dumps(dataclasses.asdict(recipe))


def test_heads_and_decoders_start_as_the_papers_say():
    zero = [
        name
        for name in RECIPES
        if name in ('paper_003', 'paper_003_laina')
        or name
        in (
            'paper_002_cnn_residual',
            'paper_002_unpool_zero',
            'paper_002_random',
            'paper_002_unpool_average',
            'paper_002_transfer',
        )
    ]
    for name in zero:
        assert RECIPES[name].network_arguments['head_bias'] == 0
        assert RECIPES[name].network_arguments['decoder_init_std'] == 0.01
    assert RECIPES['paper_000'].network_arguments['head_bias'] == 2.7
    assert len(zero) == 7


@pytest.mark.parametrize('bias, std', [(0.0, 1e-3), (1.5, 0.01)])
def test_a_decoder_starts_where_it_is_told_to(bias, std):
    torch.manual_seed(0)
    decoder = UpProjectionDecoder((3,) * 5, 'concat_1x1', True, init_std=std, head_bias=bias)
    assert decoder.head.bias.item() == bias
    weights = torch.cat(
        [m.weight.flatten() for m in decoder.modules() if isinstance(m, torch.nn.Conv2d)]
    )
    assert weights.std().item() == pytest.approx(std, rel=0.01)


def test_ablations_differ_in_what_the_paper_says():
    models = [RECIPES[f'paper_001_m{number}'] for number in range(1, 6)]
    told = [
        (
            m.network == 'efficientnet_sff',
            m.augment_arguments['with_cut_depth'],
            m.perceptual_weight > 0,
        )
        for m in models
    ]
    assert told == [
        (False, False, False),
        (False, True, False),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    ]


def test_one_cycle_is_torchs():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], 0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, 50, pct_start=0.3, div_factor=25, final_div_factor=100
    )
    for step in range(50):
        assert 0.1 * OneCycle().factor(Place(step, 50)) == pytest.approx(
            optimizer.param_groups[0]['lr'], rel=1e-9
        )
        optimizer.step()
        if step < 49:
            theirs.step()


#: Training pairs stated in each paper.
PAIRS = {
    'paper_000': 795,
    'paper_001': 24_231,
    'paper_002': 50_688,
    'paper_003': 48_000,
    'paper_004': 50_688,
}
#: The learning rate of each epoch according to the paper, by epochs of the run.
STATED = {
    # "0.003, x 0.1 every 5 epochs" of an offline-augmented set of about 5,000 pairs.
    ('paper_000', 20): [3e-3] * 5 + [3e-4] * 5 + [3e-5] * 5 + [3e-6] * 5,
    ('paper_000', 12): [3e-3] * 5 + [3e-4] * 5 + [3e-5] * 2,
    **{
        (f'paper_002_{name}', epochs): [1e-4] * epochs
        for name, epochs in (
            ('cnn_fc', 20),
            ('cnn', 20),
            ('cnn_transpose', 20),
            ('cnn_residual', 20),
            ('unpool_zero', 120),
            ('unpool_average', 120),
            ('random', 20),
            ('transfer', 20),
        )
    },
    # "25 to 30 epochs, halved after the 10th, 0.001 for the last 5 to 10".
    ('paper_003', 30): [1e-2] * 10 + [5e-3] * 10 + [1e-3] * 10,
    ('paper_003', 25): [1e-2] * 10 + [5e-3] * 10 + [1e-3] * 5,
    ('paper_003_laina', 30): [1e-2] * 10 + [5e-3] * 10 + [1e-3] * 10,
    # Constant while the score improves; Plateau is stepped below.
    ('paper_004', 20): [1e-4] * 20,
    ('paper_004_kitti', 20): [1e-4] * 20,
}


def stepped(recipe, epochs, scores=None):
    """Return the learning rate at the first and last step of each epoch of a run."""
    pairs = min(recipe.pairs or PAIRS[recipe.name[:9]], PAIRS[recipe.name[:9]])
    per_epoch = BatchOrder(pairs * recipe.views, recipe.batch, 0).per_epoch
    for epoch in range(epochs):
        seen = [-value for value in range(epoch)] if scores is None else scores[:epoch]
        for step in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
            place = Place(step, epochs * per_epoch, seen, per_epoch)
            yield recipe.learning_rate * recipe.schedule.factor(place)


@pytest.mark.parametrize('name, epochs', STATED, ids=[f'{n}-{e}' for n, e in STATED])
def test_the_learning_rate_is_the_papers_at_every_epoch(name, epochs):
    recipe = RECIPES[name]
    rates = list(stepped(recipe, epochs))
    stated = [rate for rate in STATED[name, epochs] for _ in range(2)]
    assert rates == pytest.approx(stated)


def test_every_recipe_of_a_paper_is_stepped():
    told = {name for name, _ in STATED} | {f'paper_001_m{model}' for model in range(1, 6)}
    assert told == {name for name in RECIPES if name.startswith('paper_')}
    assert all(RECIPES[name].epochs == max(e for n, e in STATED if n == name) for name, _ in STATED)


@pytest.mark.parametrize('model', range(1, 6))
def test_paper_001_goes_up_and_down_once(model):
    recipe = RECIPES[f'paper_001_m{model}']
    rates = list(stepped(recipe, 30))
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(3.57e-4, rel=1e-3) and 8 <= top // 2 <= 9
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] == pytest.approx(3.57e-4 / 25) and rates[-1] == pytest.approx(3.57e-4 / 2500)


def test_paper_004_lowers_the_rate_to_the_authors_floor():
    rates = list(stepped(RECIPES['paper_004'], 20, scores=[1.0] * 20))
    assert rates[0] == 1e-4 and min(rates) == rates[-1] == pytest.approx(9e-5)
    # Five epochs without an improvement after the first.
    assert rates[::2].index(min(rates)) == 6


def test_an_epoch_of_paper_000_is_about_5000_pairs():
    recipe = RECIPES['paper_000']
    assert abs(795 * recipe.views - 5000) < 795 / 2


def test_plateau_waits_and_has_a_floor():
    schedule = Plateau(drop=0.7, patience=2, smallest=0.5)
    assert schedule.factor(Place(0, 1, [3, 2, 1])) == 1
    assert schedule.factor(Place(0, 1, [1, 1, 1])) == pytest.approx(0.7)
    assert schedule.factor(Place(0, 1, [1] * 9)) == 0.5
    assert Constant().factor(Place(5, 9)) == 1


def test_the_rooms_recipes_differ_in_network_and_loss_alone():
    same = [
        dataclasses.replace(
            RECIPES[f'rooms_{name}'],
            name='',
            title='',
            network='',
            network_arguments={},
            loss='mse',
            loss_arguments={},
        )
        for name in ('efficientnet_sff', 'resnet_unet_hybrid', 'cnn_residual')
    ]
    assert same[0] == same[1] == same[2]
