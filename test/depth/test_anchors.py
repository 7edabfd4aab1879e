# SPDX-License-Identifier: Apache-2.0
"""Anchored depth against scenes with known true depth."""

from __future__ import annotations

from time import process_time, sleep, thread_time

import cv2
import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth import residual_field
from depth_perception.depth.anchor_sources import scan_anchors
from depth_perception.depth.anchors import (
    LEAST_ANCHORS,
    MOST_ANCHORS,
    AnchoredDepth,
    AnchorError,
    AnchorReport,
    Anchors,
    anchor_depth,
    fit_anchors,
    prepare_anchors,
)
from depth_perception.depth.residual_field import apply_field
from test.support.cuda import DEVICES
from test.support.waiting import wait_until

HEIGHT, WIDTH = 120, 160
NONE = Anchors.of()


def room() -> np.ndarray:
    """Return the depth of a slanted wall, a floor, and a box in front of them."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    wall = 3.0 + 1.5 * u / WIDTH
    floor = 60.0 / np.maximum(v - 55, 1e-3)
    depth = np.minimum(wall, np.where(v > 55, floor, np.inf))
    depth[50:100, 60:100] = np.minimum(depth[50:100, 60:100], 1.4)
    return depth.astype(np.float32)


def at(truth: np.ndarray, u: np.ndarray, v: np.ndarray) -> Anchors:
    return Anchors.of(u, v, truth[v, u])


def row(truth: np.ndarray, v: int = 30) -> Anchors:
    u = np.arange(2, truth.shape[1], 4)
    return at(truth, u, np.full(len(u), v))


def zones(truth: np.ndarray, count: int = 8) -> Anchors:
    height, width = truth.shape
    v, u = (
        grid.ravel()
        for grid in np.meshgrid(
            *(((np.arange(count) + 0.5) * side / count).astype(int) for side in (height, width)),
            indexing='ij',
        )
    )
    return at(truth, u, v)


def larger(depth: np.ndarray, times: int) -> np.ndarray:
    """Return an image whose corrections are not evaluated at every pixel, if it is large enough."""
    return np.kron(depth, np.ones((times, times), np.float32))


def error(depth: np.ndarray, truth: np.ndarray) -> float:
    """Return the AbsRel."""
    return float((abs(depth - truth) / truth).mean())


def test_perfect_depth_stays_as_it_is():
    depth = room()
    corrected, report = anchor_depth(depth, zones(depth))
    np.testing.assert_allclose(corrected, depth, rtol=1e-6)
    assert report.used == report.compared <= report.offered == 64
    assert report.residual_before < 1e-6 and report.factor == pytest.approx(1, abs=1e-6)
    assert report.strength == 1 and not report.problem


@pytest.mark.parametrize('factor', [0.6, 1.4, 1.9])
def test_one_row_puts_a_wrong_scale_right_everywhere(factor):
    truth = room()
    corrected, report = anchor_depth(truth * np.float32(factor), row(truth))
    np.testing.assert_allclose(corrected, truth, rtol=0.02)
    assert report.factor == pytest.approx(1 / factor, rel=0.01)
    assert report.residual_before == pytest.approx(abs(np.log(factor)), rel=0.01)
    assert report.residual_after < 0.01


def test_a_smooth_error_is_followed():
    truth = room()
    u = np.linspace(-1, 1, WIDTH, dtype=np.float32)
    depth = truth * np.exp(0.3 * u + 0.2 * np.cos(2 * u))[None].astype(np.float32)
    corrected, _ = anchor_depth(depth, zones(truth))
    assert error(corrected, truth) < error(depth, truth) / 6


def test_both_sides_of_an_edge_get_their_own_correction():
    truth = room()
    depth = np.where(truth < 1.5, truth * 1.3, truth * 0.8).astype(np.float32)
    corrected, _ = anchor_depth(depth, zones(truth, 14))
    box, around = np.s_[66:90, 64:96], np.s_[10:40, 20:140]
    assert error(corrected[box], truth[box]) < 0.06
    assert error(corrected[around], truth[around]) < 0.05
    edge = np.s_[60:64, 60:100]
    assert error(corrected[edge], truth[edge]) < 0.1


@pytest.mark.parametrize('anchors', [row, zones])
def test_thirty_percent_of_nonsense_does_not_hurt(anchors):
    truth, random = room(), np.random.default_rng(0)
    good = anchors(truth)
    wrong = random.random(len(good)) < 0.3
    bad = Anchors.of(good.u, good.v, np.where(wrong, random.uniform(0.3, 9, len(good)), good.depth))
    depth = truth * np.float32(1.4)
    corrected, report = anchor_depth(depth, bad)
    assert error(corrected, truth) < 0.08
    assert report.used <= report.compared - wrong.sum() * 0.5
    assert report.residual_after < 0.05 and not report.problem


def test_noise_of_a_sensor_is_averaged():
    truth, random = room(), np.random.default_rng(0)
    good = row(truth)
    noisy = Anchors.of(good.u, good.v, good.depth * (1 + 0.05 * random.standard_normal(len(good))))
    corrected, _ = anchor_depth(truth * np.float32(0.7), noisy)
    assert error(corrected, truth) < 0.03


def test_anchors_that_contradict_each_other_are_reported():
    truth, random = room(), np.random.default_rng(0)
    good = zones(truth)
    report = anchor_depth(truth, Anchors.of(good.u, good.v, random.uniform(0.3, 9, len(good))))[1]
    assert 'check the calibration' in report.problem


def test_a_sensor_that_looks_elsewhere_is_reported_after_some_frames():
    truth = room()
    right, anchored = zones(truth), AnchoredDepth()
    mirrored = Anchors.of(right.u, HEIGHT - 1 - right.v, right.depth)
    problems = [anchored(truth, mirrored, 0.1 * frame)[1].problem for frame in range(12)]
    assert problems[0] == '' and 'do not fit the images' in problems[-1]
    anchored.reset()
    assert not any(anchored(truth, right, 0.1 * frame)[1].problem for frame in range(12))


def test_no_correction_is_larger_than_its_limit():
    truth = room()
    depth = truth / 8
    corrected, report = anchor_depth(depth, zones(truth))
    np.testing.assert_allclose(corrected, depth * np.exp(residual_field.LIMIT), rtol=1e-5)
    assert report.residual_after > 0.5 and report.problem


@pytest.mark.parametrize(
    'anchors',
    [
        NONE,
        Anchors.of([10.0] * 3, [10.0] * 3, [2.0] * 3),
        Anchors.of(np.arange(20) + WIDTH, np.arange(20), np.full(20, 2.0)),
        Anchors.of(-np.arange(1, 21), np.arange(20), np.full(20, 2.0)),
        Anchors.of(np.arange(20), np.arange(20), np.full(20, np.nan)),
        Anchors.of(np.full(20, np.nan), np.arange(20), np.full(20, 2.0)),
        Anchors.of(np.arange(20), np.arange(20), np.full(20, np.inf)),
        Anchors.of(np.arange(20), np.arange(20), np.zeros(20)),
        Anchors.of(np.arange(20), np.arange(20), np.full(20, 50.0)),
    ],
    ids=[
        'none',
        'too few',
        'right of it',
        'left of it',
        'unknown',
        'nowhere',
        'infinite',
        'zero',
        'beyond the range',
    ],
)
def test_without_support_depth_is_the_same_object(anchors):
    depth = room()
    corrected, report = anchor_depth(depth, anchors)
    assert corrected is depth
    assert report.compared < LEAST_ANCHORS and not report.problem
    assert report == AnchorReport(len(anchors), report.compared, middle=report.middle)


def test_anchors_beside_edges_and_out_of_range_are_not_compared():
    truth = room()
    edge = Anchors.of(np.full(20, 60), np.arange(60, 80), np.full(20, 3.0))
    assert anchor_depth(truth, edge)[1].compared == 0
    assert anchor_depth(truth, row(truth), max_depth=2.5)[1].compared == 0


def test_a_sensor_that_averages_is_compared_with_the_average():
    truth = room()
    # Half of the zone sees the box and half the wall, so the zone cannot be used.
    both = Anchors.of([60.0] * 4, [60.0] * 4, [2.5] * 4, radius=12)
    assert anchor_depth(truth, both)[1].compared == 0
    floor = Anchors.of([30.0] * 4, [110.0] * 4, [float(truth[106:115, 26:35].mean())] * 4, radius=5)
    _, report = anchor_depth(truth, floor)
    assert report.compared == 4 and report.residual_before < 0.02


def test_what_is_unknown_stays_unknown():
    truth = room()
    depth = truth * np.float32(1.4)
    depth[:20], depth[20:30, :40] = np.nan, np.inf
    depth[100:, :10] = -np.inf
    corrected, _ = anchor_depth(depth, row(truth, 40))
    np.testing.assert_array_equal(np.isnan(corrected), np.isnan(depth))
    np.testing.assert_array_equal(np.isposinf(corrected), np.isposinf(depth))
    np.testing.assert_array_equal(np.isneginf(corrected), np.isneginf(depth))
    known = np.isfinite(depth)
    np.testing.assert_allclose(corrected[known], truth[known], rtol=0.02)


def test_depth_that_is_all_unknown_is_no_trouble():
    depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    corrected, report = anchor_depth(depth, zones(room()))
    assert corrected is depth and report.compared == 0


def test_anchors_on_the_border_count():
    truth = room()
    u = np.arange(0, WIDTH, 4)
    border = Anchors.joined(
        [
            at(truth, u, np.zeros(len(u), int)),
            at(truth, u, np.full(len(u), HEIGHT - 1)),
            at(truth, np.full(30, WIDTH - 1), np.arange(0, HEIGHT, 4)),
        ]
    )
    corrected, report = anchor_depth(truth * np.float32(1.4), border)
    assert report.compared > 60
    np.testing.assert_allclose(corrected, truth, rtol=0.02)


@pytest.mark.parametrize('size', [(1, 40), (40, 1), (16, 16), (7, 300), (37, 53), (480, 640)])
def test_images_of_any_size(size):
    depth = np.full(size, 2.8, np.float32)
    u = np.linspace(0, size[1] - 1, 12)
    anchors = Anchors.of(u, np.linspace(0, size[0] - 1, 12), np.full(12, 2.0))
    corrected, _ = anchor_depth(depth, anchors)
    np.testing.assert_allclose(corrected, 2.0, rtol=0.01)


def test_many_anchors_are_thinned_evenly():
    truth = room()
    v, u = (grid.ravel() for grid in np.mgrid[:40, :WIDTH])  # 6400 at the top, 10 at the bottom
    many = Anchors.joined([at(truth, u, v), at(truth, np.arange(0, WIDTH, 16), np.full(10, 112))])
    kept = many.evenly(HEIGHT, WIDTH, MOST_ANCHORS)
    assert len(set(kept)) == MOST_ANCHORS and (many.v[kept] == 112).sum() >= 9
    counts = np.histogram(many.u[kept][many.v[kept] < 40], 8, (0, WIDTH))[0]
    assert counts.min() >= 0.7 * counts.max()
    assert fit_anchors(truth, many, (0.1, 10))[1].compared == MOST_ANCHORS


@pytest.mark.parametrize('times', [1, 4, 5])
def test_the_grid_says_what_the_field_says(times):
    truth, random = larger(room(), times), np.random.default_rng(0)
    anchors = zones(truth)
    depth = (truth * np.exp(random.normal(0, 0.1, 1))).astype(np.float32)
    wrong = Anchors.of(anchors.u, anchors.v, anchors.depth * np.exp(random.normal(0, 0.1, 64)))
    field, _ = fit_anchors(depth, wrong, (0.1, 10.0))
    v, u = (np.indices(truth.shape) + 0.5).reshape(2, -1) / np.array(truth.shape)[:, None]
    exact = field.at(np.log(depth).ravel(), u, v)
    found = np.log(apply_field(depth, field) / depth).ravel()
    off = abs(found - exact)
    assert off.mean() < 0.002 and off.max() < 0.06
    # Only beside edges is it off by more: there, factors of both sides are interpolated.
    logs, around = np.log(depth), np.ones((2 * times + 5,) * 2)
    smooth = (cv2.dilate(logs, around) - cv2.erode(logs, around)).ravel() < 0.15
    assert smooth.mean() > 0.8 and off[smooth].max() < 0.015


def fitted_slowly(log_depth, u, v, correction, noise):
    """Return the residuals and weights of `fit_field` from the textbook's equations."""
    z = log_depth - np.sort(log_depth)[len(log_depth) // 2]
    away = sum(
        (np.subtract.outer(x, x) / length) ** 2
        for x, length in zip((z, u, v), residual_field.LENGTHS)
    )
    covariance = (
        residual_field.SMOOTH**2 * np.exp(-away / 2)
        + residual_field.FACTOR**2
        + residual_field.SLOPE**2 * np.outer(z, z)
    )

    def believed(deviation):
        sizes = np.maximum(abs(deviation), 1e-9)
        scale = max(1.0, 1.4826 * np.sort(sizes)[len(sizes) // 2])
        return np.minimum(1.0, residual_field.HUBER * scale / sizes)

    rest = correction - np.sort(correction)[len(correction) // 2]
    belief = believed(rest / noise)
    for _ in range(residual_field.ROUNDS):
        variance = np.diag(noise**2 / belief)
        left = variance @ np.linalg.solve(covariance + variance, rest)
        last, belief = belief, believed(left / noise)
        if abs(belief - last).max() < residual_field.SETTLED:
            break
    return left, belief


@pytest.mark.parametrize('count', [4, 5, 64, 65, 128])
@pytest.mark.parametrize('wrong', [0.0, 0.1, 0.8])
def test_the_fit_is_that_of_the_textbook(count, wrong):
    random = np.random.default_rng(count)
    log_depth, u, v = random.uniform(-0.5, 1.5, count), random.random(count), random.random(count)
    noise = random.uniform(0.05, 0.2, count)
    correction = 0.3 + 0.2 * np.sin(3 * u) * log_depth + noise * random.standard_normal(count)
    is_wrong = random.random(count) < wrong
    correction[is_wrong] += random.uniform(-2, 2, int(is_wrong.sum()))
    field, left, belief = residual_field.fit_field(log_depth, u, v, correction, noise, (0.1, 10.0))
    true_left, true_belief = fitted_slowly(log_depth, u, v, correction, noise)
    np.testing.assert_allclose(left, true_left, atol=1e-8)
    np.testing.assert_allclose(belief, true_belief, atol=1e-8)
    np.testing.assert_allclose(field.at(log_depth, u, v), correction - true_left, atol=1e-8)


@pytest.mark.parametrize('limits', [(0.1, 10.0), (0.1, 100.0)])
@pytest.mark.parametrize('spread', [0.0, 0.5, 2.0])
def test_the_polynomials_say_what_the_field_says(limits, spread):
    random = np.random.default_rng(0)
    log_depth = np.log(2.0) + spread * random.uniform(-1, 1, 40)
    u, v = random.random((2, 40))
    correction = 0.2 * np.sin(3 * u + 2 * log_depth)
    field, _, _ = residual_field.fit_field(log_depth, u, v, correction, np.full(40, 0.08), limits)
    curves = field.curves(6, 8)
    near, far = curves.limits
    assert near == pytest.approx(max(limits[0], np.exp(log_depth.min() - residual_field.REACH)))
    assert far == pytest.approx(min(limits[1], np.exp(log_depth.max() + residual_field.REACH)))
    rows, columns = (np.indices((6, 8)) + 0.5).reshape(2, -1) / np.array([[6], [8]])
    for log in np.linspace(np.log(near), np.log(far), 30):
        t = (log - curves.middle) / curves.half
        found = sum(power * t**n for n, power in enumerate(curves.coefficients)).ravel()
        np.testing.assert_allclose(found, field.at(np.full(48, log), columns, rows), atol=0.006)


@pytest.mark.parametrize('device', DEVICES)
def test_tensors_give_the_same_numbers_where_they_are(device):
    truth = room()
    depth = truth * np.float32(1.4)
    depth[:5] = np.nan
    by_numpy, report = anchor_depth(depth, row(truth))
    tensor = torch.from_numpy(depth).to(device)
    corrected, same = anchor_depth(tensor, row(truth))
    assert corrected.device == tensor.device and corrected.dtype == torch.float32 and same == report
    np.testing.assert_allclose(corrected.cpu(), by_numpy, rtol=1e-5)


@pytest.mark.parametrize('times', [1, 5])
def test_the_passes_for_a_gpu_give_the_same_numbers(times):
    """Run the GPU code with torch on the CPU, so that machines without a GPU test it, too."""
    truth = larger(room(), times)
    depth = truth * np.float32(1.4)
    depth[:5], depth[60, 30], depth[61, 30] = np.nan, np.inf, -np.inf
    field, _ = fit_anchors(depth, row(truth), (0.1, 10.0))
    np.testing.assert_allclose(
        residual_field._apply_on_device(torch.from_numpy(depth), field, 0.7),
        apply_field(depth, field, 0.7),
        rtol=1e-5,
    )


def test_a_correction_fades_without_anchors_and_comes_back_with_them():
    truth = room()
    depth = truth * np.float32(1.4)
    anchored = AnchoredDepth(hold=2.0)
    for time, anchors, share in (
        (0.0, NONE, 0),
        (0.1, row(truth), 1),
        (0.6, NONE, 0.75),
        (1.1, NONE, 0.5),
        (2.2, NONE, 0),
        (1.0, NONE, 0),
        (3.0, row(truth), 1),
        (2.9, NONE, 0),
    ):
        corrected, report = anchored(depth, anchors, time)
        assert report.strength == pytest.approx(share)
        np.testing.assert_allclose(corrected, truth * 1.4 ** (1 - share), rtol=0.02)
    anchored(depth, row(truth), 3.0)
    anchored.reset()
    assert anchored(depth, NONE, 3.0)[0] is depth
    anchored.hold = 0.0
    anchored(depth, row(truth), 4.0)
    assert anchored(depth, NONE, 4.1)[0] is depth


@pytest.mark.parametrize('unit', [1000, 100, 1])
def test_anchors_in_another_unit_get_a_word(unit):
    """A scan in millimetres is in no range of a network: that is said, not only counted as 0."""
    camera = CameraModel(WIDTH, HEIGHT, 260.0, 260.0, WIDTH / 2, HEIGHT / 2)
    beside = np.array([[0, -1, 0, 0.1], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    scan = scan_anchors(np.full(360, 2.0 * unit), -np.pi, np.pi / 180, beside, camera)
    wall = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    said = f'farther than {np.median(scan.depth):.0f} m; give metres, not centimetres'
    for report in (anchor_depth(wall, scan)[1], AnchoredDepth()(wall, scan, 0.0)[1]):
        assert (report.compared > 0) == (unit == 1) == (said not in report.problem)


def test_what_cannot_be_used_is_said():
    with pytest.raises(AnchorError, match='one length'):
        Anchors.of([1.0, 2.0], [1.0], [1.0])
    with pytest.raises(AnchorError, match='one an anchor'):
        Anchors.of([1.0, 2.0], [1.0, 2.0], [1.0, 2.0], radius=np.ones(3))
    with pytest.raises(AnchorError, match='range of depth 2 to 1 m is empty'):
        anchor_depth(room(), NONE, min_depth=2.0, max_depth=1.0)


def test_what_is_unknown_stays_unknown_and_spoils_nothing_beside_it():
    truth = larger(room(), 4)
    depth = truth * np.float32(1.4)
    anchors = row(truth, 120)
    hole = np.zeros(depth.shape, bool)
    hole[200:300, 100:201] = hole[::16, ::16] = hole[1::16, 5::16] = True
    corrected, _ = anchor_depth(np.where(hole, np.float32(np.nan), depth), anchors)
    np.testing.assert_array_equal(np.isnan(corrected), hole)
    np.testing.assert_allclose(corrected[~hole], truth[~hole], rtol=0.02)


def _others_rest() -> bool:
    before = process_time() - thread_time()
    sleep(0.02)
    return process_time() - thread_time() - before < 0.001


def test_the_work_stays_in_the_thread_that_asks():
    """BLAS would spread the work over threads, and wait for cores that other programs use."""
    depth, anchors = np.tile(room(), (4, 4)), zones(np.tile(room(), (4, 4)), 14)
    assert fit_anchors(depth, anchors, (0.1, 10.0))[1].compared == MOST_ANCHORS
    wait_until(_others_rest)  # threads of earlier work spin for a while before they sleep
    others = []
    for _ in range(5):
        of_process, of_thread = process_time(), thread_time()
        for _ in range(20):
            field, _ = fit_anchors(depth, anchors, (0.1, 10.0))
            field.curves(18, 24)
        own = thread_time() - of_thread
        others.append((process_time() - of_process - own) / own)
    assert min(others) < 0.3


@pytest.mark.parametrize('size', [1, 2, 5, 64, 65, 128, 200])
def test_a_matrix_of_any_size_is_inverted(size):
    root = np.random.default_rng(0).standard_normal((size, size))
    matrix = root @ root.T + np.eye(size)
    before = matrix.copy()
    np.testing.assert_allclose(matrix @ residual_field._inverse(matrix), np.eye(size), atol=1e-8)
    np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize('sensor', [zones, row, lambda truth: zones(truth, 25)])
def test_anchors_that_were_prepared_give_the_same(sensor):
    truth, limits = room(), (0.1, 10.0)
    depth, anchors = truth * np.float32(1.4), sensor(truth)
    expected, report = anchor_depth(depth, anchors)
    prepared = prepare_anchors(anchors, truth.shape, limits)
    assert prepare_anchors(prepared, truth.shape, limits) is prepared
    corrected, same = anchor_depth(depth, prepared)
    assert same == report
    np.testing.assert_array_equal(corrected, expected)
    # For another image or range they are prepared again.
    elsewhere = prepare_anchors(anchors, (48, 64), (1.0, 1.5))
    np.testing.assert_array_equal(anchor_depth(depth, elsewhere)[0], expected)


def test_anchors_beside_edges_are_replaced_by_others_of_their_cell():
    """Every cell of the image has as many anchors as others, even if most of its are unusable."""
    v, u = (grid.ravel() for grid in np.mgrid[0:HEIGHT:2, 0:WIDTH:4])
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[:, 80:][(np.indices((HEIGHT, 80)) // 12).sum(0) % 2 == 0] = 4.0  # edges on the right
    prepared = prepare_anchors(at(depth, u, v), depth.shape, (0.1, 10.0))
    assert len(prepared.anchors) == 512
    usable = prepared.anchors.depth > 3
    usable |= prepared.anchors.u < 80
    chosen = prepared.select(usable)
    assert len(set(chosen)) == MOST_ANCHORS and usable[chosen].all()
    assert 0.35 < (prepared.anchors.u[chosen] < 80).mean() < 0.65
