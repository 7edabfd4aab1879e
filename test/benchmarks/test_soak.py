# SPDX-License-Identifier: Apache-2.0
"""The soak's judgement: growth is called a leak, noise and a filling pool are not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.resources import LIMITS, slope
from benchmarks.soak import Record, judge

SECONDS = list(np.arange(10.0, 3600.0, 10.0))


def record(rss: np.ndarray, handles: np.ndarray) -> Record:
    rows = [
        {'seconds': at, 'rss_mb': float(megabytes), 'handles': float(count), 'threads': 16.0}
        for at, megabytes, count in zip(SECONDS, rss, handles)
    ]
    return Record(10.0, rows, {'depth/image': 99}, 100)


def test_slope_is_that_of_least_squares_an_hour_with_its_error():
    noise = np.random.default_rng(0).normal(0, 1, len(SECONDS))
    line = slope(SECONDS, list(500 + 30 * np.array(SECONDS) / 3600 + noise), LIMITS['rss_mb'])
    fit, covariance = np.polyfit(
        np.array(SECONDS) / 3600, 500 + 30 * np.array(SECONDS) / 3600 + noise, 1, cov=True
    )
    assert line.per_hour == pytest.approx(fit[0])
    assert line.error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert line.leaks


@pytest.mark.parametrize(
    'grows, rss, handles',
    [
        ('', 0 * np.array(SECONDS), 0),
        ('', 3 * np.sin(np.array(SECONDS)), 0),
        ('', 200 * (np.array(SECONDS) < 300), 0),
        ('rss_mb', 20 * np.array(SECONDS) / 3600, 0),
        ('handles', 0, np.array(SECONDS) // 600),
    ],
    ids=['flat', 'noise', 'warm-up', 'memory', 'handles'],
)
def test_only_lasting_growth_is_a_leak(grows, rss, handles):
    zeros = np.zeros(len(SECONDS))
    verdict = judge(record(500 + rss + zeros, 20 + handles + zeros), 3600.0)
    leaking = [key for key, line in verdict['slopes'].items() if line['leaks']]
    assert leaking == ([grows] if grows else []) and verdict['well'] is not bool(grows)
    assert verdict['lost_percent'] == pytest.approx(1.0)


def test_a_jump_of_a_megabyte_in_two_minutes_is_noise():
    short = SECONDS[:12]
    assert not slope(short, [500.0] * 6 + [501.0] * 6, LIMITS['rss_mb']).leaks
