# SPDX-License-Identifier: Apache-2.0
"""Decals lie in one plane of the scene, behind objects in front, and leave depth unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from depth_training.augment.decals import Decals
from depth_training.data import Sample
from depth_training.recipes import get_recipe
from depth_training.train import build

HEIGHT, WIDTH, FOCAL = 120, 160, 130.0
CAMERA_HEIGHT, WALL, BOX = 0.8, 3.0, 1.6


def room(grey: int = 120) -> Sample:
    """Return a floor, a wall at 3 m, and the front of a box at 1.6 m."""
    rows = np.mgrid[:HEIGHT, :WIDTH][0].astype(np.float64)
    below = (rows - (HEIGHT - 1) / 2) / FOCAL
    floor = np.divide(CAMERA_HEIGHT, below, out=np.full_like(below, np.inf), where=below > 0)
    depth = np.minimum(floor, WALL)
    depth[25:100, 80:150] = np.minimum(depth, BOX)[25:100, 80:150]
    rgb = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    return Sample(rgb, depth.astype(np.float32), 'room', FOCAL, (WIDTH - 1) / 2)


def points(sample: Sample) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack(
        [
            (columns - sample.cx) / FOCAL,
            (rows - (HEIGHT - 1) / 2) / FOCAL,
            np.ones((HEIGHT, WIDTH)),
        ],
        axis=2,
    )
    return rays * sample.depth[..., None]


def changed(before: Sample, after: Sample) -> np.ndarray:
    return np.abs(after.rgb.astype(int) - before.rgb).max(axis=2) > 12


def distances() -> dict[str, np.ndarray]:
    """Return the distance of every pixel from each plane of the room in metres."""
    place = points(room())
    return {
        'floor': np.abs(place[..., 1] - CAMERA_HEIGHT),
        'wall': np.abs(place[..., 2] - WALL),
        'box': np.abs(place[..., 2] - BOX),
    }


def plane_of(mask: np.ndarray) -> tuple[str, float]:
    """Return the plane of most of a patch, and its share; the soft rim may reach a neighbour."""
    shares = {name: float(np.mean(away[mask] < 0.04)) for name, away in distances().items()}
    best = max(shares, key=shares.__getitem__)
    return best, shares[best]


def patches(step: Decals, count: int = 40) -> list[np.ndarray]:
    """Return the masks of many patches, except for those of a few pixels."""
    sample = room()
    masks = [changed(sample, step(sample, np.random.default_rng(seed))) for seed in range(count)]
    return [mask for mask in masks if mask.sum() > 30]


def test_a_patch_lies_in_one_plane_of_the_scene():
    found = [plane_of(mask) for mask in patches(Decals(most=1))]
    assert {name for name, _ in found} == set(distances())
    assert min(share for _, share in found) > 0.85


def test_its_size_is_in_metres_wherever_it_lies():
    place, away = points(room()), distances()
    for mask in patches(Decals(most=1, low=0.3, high=0.3)):
        covered = place[mask & (away[plane_of(mask)[0]] < 0.04)]
        # A diagonal is 0.85 m; the rim adds a pixel, which may be many centimetres on a floor.
        assert 0.2 < np.linalg.norm(np.ptp(covered, axis=0)) < 1.15


def test_depth_and_everything_around_stay():
    sample = room()
    after = Decals()(sample, np.random.default_rng(1))
    assert after.depth is sample.depth and after.fx == sample.fx
    assert after.rgb is not sample.rgb and np.all(sample.rgb == 120)
    untouched = np.all(after.rgb == 120, axis=2)
    assert 0.3 < untouched.mean() < 0.99


def test_shading_stays_under_a_patch():
    sample = room()
    light = np.linspace(0.4, 1.0, WIDTH)[None, :, None]
    sample = replace(sample, rgb=(200 * light * np.ones((HEIGHT, 1, 3))).astype(np.uint8))
    ratios = []
    for seed in range(40):
        after = Decals(most=1, low=1.2, high=1.2)(sample, np.random.default_rng(seed))
        mask = changed(sample, after)
        columns = np.nonzero(mask.sum(axis=0) > 5)[0]
        if len(columns) > 80:
            first, last = columns[5:15], columns[-15:-5]
            seen, lit = (
                [np.mean([image[:, c][mask[:, c]].mean() for c in part]) for part in (first, last)]
                for image in (after.rgb, sample.rgb)
            )
            ratios.append((seen[1] / seen[0]) / (lit[1] / lit[0]))
    assert len(ratios) > 3 and np.median(ratios) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda sample: replace(sample, fx=None),
        lambda sample: replace(sample, depth=np.zeros_like(sample.depth)),
    ],
)
def test_without_focal_length_or_depth_nothing_is_laid(spoil):
    sample = spoil(room())
    for seed in range(5):
        np.testing.assert_array_equal(Decals()(sample, np.random.default_rng(seed)).rgb, 120)


def test_the_same_generator_lays_the_same():
    first, again, other = (Decals()(room(), np.random.default_rng(seed)).rgb for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_the_last_part_of_the_bundled_training_lays_them():
    recipe = get_recipe('bundled_decals')
    steps = [getattr(step, 'step', step) for step in build.augmentation(recipe, None).steps]
    assert any(isinstance(step, Decals) for step in steps)
