# SPDX-License-Identifier: Apache-2.0
"""Paper 002's data step: masked extremes and learnt holes, which explain its AbsRel of 1e6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from depth_training import cli
from depth_training.augment.steps import MaskExtremes
from depth_training.data import Sample
from depth_training.evaluate.metrics import Metrics
from depth_training.evaluate.protocols import counting_holes, get_protocol, judge
from depth_training.recipes import RECIPES, get_recipe
from depth_training.recipes.schedule import Place
from depth_training.train import build
from depth_training.train.distributed import Processes
from depth_training.train.run_folder import read_run
from depth_training.train.step import Learner
from depth_training.train.training_data import Batch
from test.support import layouts
from test.support.tiny_training import TINY, words

CPU = torch.device('cpu')
OF_PAPER = [name for name in RECIPES if name.startswith('paper_002')]


def sample(depth: np.ndarray) -> Sample:
    return Sample(np.zeros((*depth.shape, 3), np.uint8), depth, 'x')


def test_the_least_and_greatest_depth_of_a_picture_is_forgotten():
    depth = np.array([[0, 1, 2], [3, 4, 4]], np.float32)
    masked = MaskExtremes()(sample(depth), np.random.default_rng(0)).depth
    np.testing.assert_array_equal(masked, [[0, 0, 2], [3, 0, 0]])
    nothing = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(
        MaskExtremes()(sample(nothing), np.random.default_rng(0)).depth, nothing
    )


@pytest.mark.parametrize('name', OF_PAPER)
def test_its_recipes_do_so_unless_told_otherwise(name):
    recipe = get_recipe(name)
    assert recipe.holes == 'as_zero' and '--set holes=left_out' in recipe.warning
    assert isinstance(build.augmentation(recipe, None).steps[0], MaskExtremes)
    without = replace(recipe, augment_arguments={'mask_extremes': False})
    assert not any(
        isinstance(step, MaskExtremes) for step in build.augmentation(without, None).steps
    )


def test_no_other_recipe_learns_holes():
    assert {name for name, recipe in RECIPES.items() if recipe.holes == 'as_zero'} == set(OF_PAPER)


def learnt(holes: str, steps: int = 120) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return truth, prediction and losses of a tiny network that learns an image with a hole."""
    recipe = replace(
        TINY,
        loss='mse',
        holes=holes,
        clip_gradient=None,
        average=None,
        learning_rate=1e-2,
        weight_decay=0.0,
    )
    rgb, depth = layouts.scene()
    depth[:24, :24], rgb[:24, :24] = 0, 255
    network = build.network(recipe, 0)
    learner = Learner(recipe, network, build.loss(recipe), CPU, Processes(0, 1))
    batch = Batch(
        torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127 - 1,
        torch.from_numpy(depth)[None, None],
    )
    losses = [float(learner.learn(batch, Place(step, steps, [])).loss) for step in range(steps)]
    with torch.no_grad():
        return depth, network(batch.image)[0, 0].numpy(), losses


def test_holes_in_the_training_explain_the_order_of_its_abs_rel():
    scores = {}
    for holes in ('left_out', 'as_zero'):
        truth, prediction, losses = learnt(holes)
        assert losses[-1] < losses[0]
        metrics = Metrics()
        judge(counting_holes(get_protocol('plain')), prediction, truth, metrics)
        scores[holes] = metrics.scores()['AbsRel']
        if holes == 'as_zero':
            assert prediction[:20, :20].mean() < 0.5
    # The paper's networks differ by a factor of 60; the best one learnt the holes.
    assert scores['left_out'] > 1e5 and scores['left_out'] > 20 * scores['as_zero'] > 0


def test_its_subsets_by_pairs(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'tiny', replace(TINY, holes='as_zero'))
    data = layouts.rooms(tmp_path / 'rooms', count=8)
    assert (
        cli.main(words(data, tmp_path / 'run', '--pairs', '3', '--batch', '3', '--steps', '1')) == 0
    )
    about = read_run(tmp_path / 'run').description
    assert about.pairs == 3 and '3 of 8 pairs, equally spaced' in about.training
    assert about.recipe['holes'] == 'as_zero'
