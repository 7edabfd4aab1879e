# SPDX-License-Identifier: Apache-2.0
"""Relative depth and disparity become metres by anchors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_perception.depth.anchors import Anchors
from depth_perception.depth.relative import RelativeDepth, fit_relation, shown_relation

LIMITS = (0.3, 100.0)


def scene():
    """Return the depth of a floor, a wall and a post, metres."""
    rows, columns = np.mgrid[:120, :160]
    true = np.minimum(1.0 * 100 / np.maximum(rows - 40, 1e-3), 6.0)
    return np.where(
        (columns > 40) & (columns < 60) & (rows > 20), np.minimum(true, 1.5), true
    ).astype(np.float32)


def anchors_of(true, count=60, seed=0):
    rng = np.random.default_rng(seed)
    u, v = rng.integers(0, 160, count), rng.integers(0, 120, count)
    return Anchors.of(u, v, true[v, u])


@pytest.mark.parametrize('factor, shift', [(0.004, 0.1), (0.3, -0.05), (2e4, 0.0)])
def test_a_disparity_of_unknown_scale_and_shift_becomes_metres(factor, shift):
    true = scene()
    output = torch.from_numpy(((1 / true - shift) / factor).astype(np.float32))
    relation = fit_relation(output, anchors_of(true), 'relative_disparity', LIMITS)
    np.testing.assert_allclose(relation.metres(output, 100.0), true, rtol=1e-3)
    assert relation.used == relation.offered == 60


def test_anchors_that_are_wrong_have_no_say():
    true = scene()
    output, anchors = (1 / true - 0.1) / 0.004, anchors_of(true)
    wrong = np.where(np.arange(60) % 4 == 0, 0.6, 1.0) * anchors.depth
    relation = fit_relation(
        output, Anchors.of(anchors.u, anchors.v, wrong), 'relative_disparity', LIMITS
    )
    np.testing.assert_allclose(relation.metres(output, 100.0), true, rtol=0.02)
    assert relation.used == 45


def test_relative_depth_needs_a_factor_alone():
    true = scene()
    relation = fit_relation(true * 7, anchors_of(true), 'relative_depth', LIMITS)
    np.testing.assert_allclose(relation.metres(true * 7, 100.0), true, rtol=1e-4)


def test_anchors_at_one_distance_tell_no_shift():
    output = np.full((120, 160), 50.0, np.float32)
    output[:60] = 25.0
    anchors = Anchors.of(np.arange(0, 160, 4), np.full(40, 100), np.full(40, 2.0))
    metres = fit_relation(output, anchors, 'relative_disparity', LIMITS).metres(output, 100.0)
    np.testing.assert_allclose([metres[100, 0], metres[0, 0]], [2.0, 4.0], rtol=1e-4)


@pytest.mark.parametrize(
    'change',
    [
        lambda a: a.where(np.arange(3)),  # too few anchors
        lambda a: Anchors.of(a.u, a.v, 1 / a.depth),  # near and far are swapped
        lambda a: Anchors.of(a.u, a.v, np.random.default_rng(1).uniform(0.5, 50, len(a))),
    ],
)
def test_anchors_that_tell_nothing_give_nothing(change):
    true = scene()
    output = (1 / true - 0.1) / 0.004
    assert fit_relation(output, change(anchors_of(true)), 'relative_disparity', LIMITS) is None


def test_values_that_are_not_finite_are_no_anchors():
    true = scene()
    output = ((1 / true) / 0.004).astype(np.float32)
    output[::2] = np.nan
    relation = fit_relation(output, anchors_of(true), 'relative_disparity', LIMITS)
    assert relation.factor == pytest.approx(0.004, rel=1e-3)


def test_the_last_relation_holds_for_a_while():
    true = scene()
    output, none = (1 / true) / 0.004, Anchors.of()
    relative = RelativeDepth('relative_disparity', 100.0)
    assert relative.relation(output, none, 0.0, 0.3, 1.0) is None
    assert relative.relation(output, anchors_of(true), 1.0, 0.3, 1.0)
    assert relative.relation(output, none, 1.9, 0.3, 1.0)
    assert relative.relation(output, none, 2.1, 0.3, 1.0) is None
    assert relative.relation(output, none, 0.5, 0.3, 1.0) is None


@pytest.mark.parametrize(
    'kind, output',
    [
        ('relative_disparity', lambda true: (1 / true + 3) * 9),
        ('relative_depth', lambda true: true),
    ],
)
def test_a_preview_spreads_its_colours_over_the_picture(kind, output):
    true = scene()
    shown = shown_relation(output(true), kind, 0.3).metres(output(true), 100.0)
    assert np.corrcoef(np.argsort(true.ravel()), np.argsort(shown.ravel()))[0, 1] > 0.9
    assert shown.max() == pytest.approx(3.0, rel=0.05) and shown.min() >= 0.25
