# SPDX-License-Identifier: Apache-2.0
"""Compare metrics with short numpy calculations; both averagings from one pass."""

from __future__ import annotations

import numpy as np
import pytest

from depth_training.evaluate.metrics import METRICS, Metrics, error_sums, scores_of


def by_hand(p: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """Compute every metric by its textbook formula."""
    e, ratio = np.log(p) - np.log(g), np.maximum(p / g, g / p)
    return {
        'AbsRel': np.mean(abs(p - g) / g),
        'SqRel': np.mean((p - g) ** 2 / g),
        'RMSE': np.sqrt(np.mean((p - g) ** 2)),
        'RMSElog': np.sqrt(np.mean(e**2)),
        'log10': np.mean(abs(np.log10(p) - np.log10(g))),
        'delta1': np.mean(ratio < 1.25),
        'delta2': np.mean(ratio < 1.25**2),
        'delta3': np.mean(ratio < 1.25**3),
        'SILog': 100 * np.std(e),
    }


def image(seed: int, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.7, 9.9, count)
    return truth * np.exp(rng.normal(0.05, noise, count)), truth


@pytest.mark.parametrize('name', METRICS)
def test_each_metric_by_hand(name):
    pred, truth = image(0, 500, 0.4)
    assert scores_of(error_sums(pred, truth))[name] == pytest.approx(by_hand(pred, truth)[name])


def test_both_averagings_come_from_one_pass():
    images = [image(1, 1000, 0.1), image(2, 50, 0.5), image(3, 300, 0.2)]
    metrics = Metrics()
    for pred, truth in images:
        metrics.add(pred, truth)
    together = by_hand(*(np.concatenate(parts) for parts in zip(*images)))
    each = [by_hand(pred, truth) for pred, truth in images]
    for name in METRICS:
        assert metrics.scores('pixels')[name] == pytest.approx(together[name])
        assert metrics.scores('images')[name] == pytest.approx(np.mean([e[name] for e in each]))


def test_rmse_per_image_is_never_above_the_one_over_all_pixels():
    metrics = Metrics()
    for seed in range(20):
        metrics.add(*image(seed, 200, 0.1 + 0.03 * seed))
    assert metrics.scores('images')['RMSE'] < metrics.scores('pixels')['RMSE']


def test_exact_prediction():
    _, truth = image(0, 100, 0)
    scores = scores_of(error_sums(truth, truth))
    assert [scores[name] for name in METRICS] == [0, 0, 0, 0, 0, 1, 1, 1, 0]


def test_delta_threshold_is_exclusive():
    scores = scores_of(error_sums(np.array([1.25, 1.0]), np.array([1.0, 1.0])))
    assert scores['delta1'] == 0.5


def test_float32_images_are_summed_in_float64():
    truth = np.full(3_000_000, 2.0, np.float32)
    sums = error_sums(truth + np.float32(0.1), truth)
    assert sums.dtype == np.float64
    assert scores_of(sums)['AbsRel'] == pytest.approx(float(np.float32(2.1) - 2.0) / 2, rel=1e-9)


def test_images_without_valid_pixels_are_skipped_and_counted():
    metrics = Metrics()
    metrics.add(*image(0, 100, 0.1), clamped=7)
    metrics.add(np.empty(0), np.empty(0))
    assert metrics.counts() == {
        'images': 1,
        'skipped_images': 1,
        'pixels': 100,
        'clamped_pixels': 7,
        'unseen_pixels': 0,
    }
    assert np.isfinite(list(metrics.scores('images').values())).all()


def test_nothing_judged_gives_nan():
    assert all(np.isnan(value) for value in Metrics().scores().values())
    assert all(np.isnan(value) for value in scores_of(np.zeros(10)).values())


def test_parts_merge_to_the_whole():
    whole, first, second = Metrics(), Metrics(), Metrics()
    for seed in range(4):
        for metrics in (whole, (first, second)[seed % 2]):
            metrics.add(*image(seed, 100 + seed, 0.2), clamped=seed)
    second.add(np.empty(0), np.empty(0))
    whole.add(np.empty(0), np.empty(0))
    first.merge([second])
    assert first.counts() == whole.counts()
    for averaging in ('pixels', 'images'):
        assert first.scores(averaging) == pytest.approx(whole.scores(averaging))


@pytest.mark.parametrize('pred, truth', [([0.0], [1.0]), ([1.0], [0.0]), ([np.nan], [1.0])])
def test_zero_depths_are_refused(pred, truth):
    with pytest.raises(ValueError, match='positive'):
        error_sums(np.array(pred), np.array(truth))


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='2,'):
        error_sums(np.ones(2), np.ones(3))
