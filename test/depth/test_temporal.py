# SPDX-License-Identifier: Apache-2.0
"""The temporal filter: it steadies still regions, and leaves moving ones unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_perception.depth.temporal import CHANGE_LIMIT, LONGEST_GAP, TemporalFilter

HEIGHT, WIDTH = 96, 128


def image(seed: int = 0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Return a picture in blocks as large as the step at which the filter samples images."""
    coarse = np.random.default_rng(seed).integers(0, 256, (shape[0] // 16, shape[1] // 16, 3))
    return coarse.repeat(16, 0).repeat(16, 1).astype(np.uint8)


def wall(metres: float = 2.0, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    return torch.full(shape, metres)


def noisy(count: int, sigma: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        2 * torch.exp(sigma * torch.randn(HEIGHT, WIDTH, generator=generator)) for _ in range(count)
    ]


@pytest.mark.parametrize('strength', [0.3, 0.6, 0.9])
def test_noise_falls_as_that_of_an_exponential_average(strength):
    smooth = TemporalFilter()
    results = [smooth(depth, image(), 0.1 * i, strength) for i, depth in enumerate(noisy(60, 0.01))]
    spread = torch.stack(results[40:]).log().std(0).mean() / 0.01
    # sqrt((1 - s) / (1 + s)), and a little more, because larger deviations get more weight.
    expected = np.sqrt((1 - strength) / (1 + strength))
    assert expected * 0.9 < spread < expected * 1.35
    assert abs(float(results[-1].mean()) - 2) < 0.005


def test_a_moving_edge_is_neither_smeared_nor_delayed():
    smooth = TemporalFilter()
    for step in range(20):
        depth = wall(3.0)
        depth[20:60, 4 * step : 4 * step + 30] = 1.0
        result = smooth(depth, image(), 0.1 * step, 0.9)
        torch.testing.assert_close(result, depth, rtol=0, atol=1e-6)


@pytest.mark.parametrize('change', [1 + CHANGE_LIMIT + 0.01, 1 / (1 + CHANGE_LIMIT + 0.01)])
def test_a_change_beyond_the_limit_is_taken_at_once_nearer_or_farther(change):
    smooth = TemporalFilter()
    smooth(wall(2.0), image(), 0.0, 0.9)
    after = wall(2.0 * change)
    assert torch.equal(smooth(after, image(), 0.1, 0.9), after)


def test_a_small_lasting_change_arrives():
    smooth = TemporalFilter()
    smooth(wall(2.0), image(), 0.0, 0.8)
    depths = [float(smooth(wall(2.1), image(), 0.1 * i, 0.8)[0, 0]) for i in range(1, 30)]
    assert 2.0 < depths[0] < 2.1 and depths == sorted(depths)
    assert depths[-1] == pytest.approx(2.1, abs=0.001)


@pytest.mark.parametrize(
    'time, picture',
    [
        (1.0 - 1e-3, image()),
        (1.0 + LONGEST_GAP + 0.01, image()),
        (1.1, image(7)),
        (1.1, np.full_like(image(), 90)),
    ],
    ids=['time went back', 'long gap', 'cut', 'nothing to see'],
)
def test_it_starts_anew_on(time, picture):
    smooth = TemporalFilter()
    smooth(wall(2.0), image(), 1.0, 0.9)
    assert torch.equal(smooth(wall(2.1), picture, time, 0.9), wall(2.1))


def test_it_goes_on_under_another_exposure():
    smooth = TemporalFilter()
    smooth(wall(2.0), image(), 1.0, 0.9)
    darker = (image() * 0.4 + 20).astype(np.uint8)
    assert float(smooth(wall(2.1), darker, 1.1, 0.9).max()) < 2.1


def test_it_starts_anew_on_another_size():
    smooth = TemporalFilter()
    smooth(wall(2.0), image(), 1.0, 0.9)
    depth = wall(2.1, (48, 64))
    assert torch.equal(smooth(depth, image(0, (48, 64)), 1.1, 0.9), depth)


def test_strength_0_changes_nothing_and_forgets():
    smooth = TemporalFilter()
    smooth(wall(2.0), image(), 1.0, 0.9)
    depth = wall(2.1)
    assert smooth(depth, image(), 1.1, 0.0) is depth
    assert torch.equal(smooth(wall(2.05), image(), 1.2, 0.9), wall(2.05))


def test_a_buffer_that_is_written_anew_each_frame_does_no_harm():
    smooth = TemporalFilter()
    buffer = wall(2.0)
    smooth(buffer, image(), 1.0, 0.5)
    buffer.fill_(2.1)
    first = float(smooth(buffer, image(), 1.1, 0.5)[0, 0])
    assert 2.0 < first < 2.1
