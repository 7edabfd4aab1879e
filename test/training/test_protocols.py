# SPDX-License-Identifier: Apache-2.0
"""Compare the five protocols with independent numpy and OpenCV calculations."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_training.evaluate.geometry import look
from depth_training.evaluate.metrics import Metrics
from depth_training.evaluate.protocols import (
    HOLE_DEPTH,
    PROTOCOLS,
    clamped,
    counting_holes,
    get_protocol,
    judge,
    predict,
    shown,
    to_frame,
    valid_pixels,
)
from test.support.weights import tiny_info

#: Size of the prediction for each protocol: a network of half resolution, like paper 003's.
OUTPUT = {
    'harsanyi': (128, 160),
    'laina': (114, 152),
    'eigen_bts': (480, 640),
    'densedepth': (240, 320),
    'plain': (128, 160),
}


def smooth(seed: int, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Return smooth depth between 1 and 9 m, with structure down to a few pixels."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(1, 8, (6, 8)).astype(np.float32), size[::-1])
    fine = cv2.resize(rng.uniform(0, 1, (60, 80)).astype(np.float32), size[::-1])
    return coarse + fine


def frame(seed: int, holes: bool = True) -> np.ndarray:
    """Return the truth, optionally with holes in a band and a corner beyond 10 m."""
    depth = smooth(seed)
    if holes:
        depth[100:150, 200:400] = 0
        depth[-60:, -60:] = 12
    return depth


def prediction(name: str, seed: int) -> np.ndarray:
    """Return a prediction with errors of some per cent and a few zeros, as from a ReLU head."""
    depth = smooth(seed, OUTPUT[name]) * 1.1
    depth[60:64, 50:60] = 0
    return depth


def rgb(seed: int = 0, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def harsanyi(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    g = g[7:473, 29:611]
    return np.maximum(bilinear(p, 466, 582), 1e-3)[g > 0], g[g > 0]


def laina(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(bilinear(p, 480, 640), 1e-3)[g > 0], g[g > 0]


def eigen_bts(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, g = np.clip(p, 1e-3, 10)[45:471, 41:601], g[45:471, 41:601]
    valid = (g > 1e-3) & (g < 10)
    return p[valid], g[valid]


def densedepth(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = np.clip(bilinear(p, 480, 640), 0.1, 10)[20:460, 24:616]
    g = g[20:460, 24:616]
    return p[g > 0], g[g > 0]


def plain(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return eigen_bts(bilinear(p, 480, 640), g)


BY_HAND = {
    'harsanyi': harsanyi,
    'laina': laina,
    'eigen_bts': eigen_bts,
    'densedepth': densedepth,
    'plain': plain,
}


def few_lines(pairs: list[tuple[np.ndarray, np.ndarray]], per_image: bool) -> dict[str, float]:
    if per_image:
        each = [few_lines([pair], False) for pair in pairs]
        return {name: np.mean([one[name] for one in each]) for name in each[0]}
    p, g = (np.concatenate(x).astype(np.float64) for x in zip(*pairs))
    return {
        'AbsRel': np.mean(abs(p - g) / g),
        'RMSE': np.mean((p - g) ** 2) ** 0.5,
        'log10': np.mean(abs(np.log10(p / g))),
        'delta1': np.mean(np.maximum(p / g, g / p) < 1.25),
    }


@pytest.mark.parametrize('name', PROTOCOLS)
def test_protocol_by_hand(name):
    protocol, metrics, pairs = get_protocol(name), Metrics(), []
    for seed in (0, 1, 2):
        p, g = prediction(name, seed), frame(seed)
        # The hybrid predicts its centre crop only.
        judge(protocol, p, g, metrics, protocol.crop if name == 'harsanyi' else None)
        pairs.append(BY_HAND[name](p, g))
    scores = metrics.scores(protocol.averaging)
    for metric, value in few_lines(pairs, name == 'eigen_bts').items():
        assert scores[metric] == pytest.approx(value, rel=1e-5), metric
    assert metrics.counts()['pixels'] == sum(len(g) for _, g in pairs)
    assert metrics.counts()['clamped_pixels'] > 0


def test_there_are_five():
    assert list(PROTOCOLS) == ['harsanyi', 'laina', 'eigen_bts', 'densedepth', 'plain']
    with pytest.raises(ValueError, match="unknown protocol 'kitti'"):
        get_protocol('kitti')


def test_one_prediction_gets_five_different_scores_each_explained():
    """For the same prediction and scene, only crops, averaging and clamps change the scores."""
    scores, counts = {}, {}
    for name, protocol in PROTOCOLS.items():
        metrics = Metrics()
        for seed, error in ((0, 1.05), (1, 1.3)):
            p = np.where(smooth(seed) > 8.4, 14, smooth(seed) * error).astype(np.float32)
            # eigen_bts uses the raw truth, the others the filled one.
            judge(protocol, p, frame(seed, protocol.ground_truth == 'raw'), metrics)
        scores[name], counts[name] = metrics.scores(protocol.averaging), metrics.counts()
    assert len({round(s['RMSE'], 5) for s in scores.values()}) == 5
    area = {name: c['pixels'] / (2 * 480 * 640) for name, c in counts.items()}
    assert area['laina'] == 1
    assert area['harsanyi'] == pytest.approx(0.883, abs=1e-3)
    assert area['densedepth'] == pytest.approx(0.848, abs=1e-3)
    assert area['plain'] == pytest.approx(0.777, abs=1e-3)
    assert area['eigen_bts'] < area['plain']  # the raw truth has holes
    assert counts['laina']['clamped_pixels'] == 0  # no upper limit
    assert counts['plain']['clamped_pixels'] > 0


def test_averaging_is_part_of_the_protocol():
    eigen = get_protocol('eigen_bts')
    metrics = Metrics()
    for seed, error in ((0, 1.02), (1, 1.5)):
        judge(eigen, smooth(seed) * np.float32(error), frame(seed), metrics)
    assert metrics.scores('images')['RMSE'] < metrics.scores('pixels')['RMSE']


def test_swapped_arguments_divide_by_the_prediction():
    swapped = replace(get_protocol('densedepth'), swapped=True)
    p, g = prediction('densedepth', 0), frame(0)
    metrics = Metrics()
    judge(swapped, p, g, metrics)
    p, g = densedepth(p, g)
    assert metrics.scores()['AbsRel'] == pytest.approx(np.mean(abs(p - g) / p), rel=1e-4)
    assert metrics.scores()['RMSE'] == pytest.approx(np.mean((p - g) ** 2) ** 0.5, rel=1e-4)


def test_paper_002s_absurd_numbers_come_from_counted_holes():
    masked, counting = Metrics(), Metrics()
    protocol = get_protocol('plain')
    p, g = prediction('plain', 0), frame(0)
    judge(protocol, p, g, masked)
    judge(counting_holes(protocol), p, g, counting)
    assert counting_holes(protocol).ground_truth == 'raw'
    assert masked.scores()['AbsRel'] < 0.2
    assert 1e5 < counting.scores()['AbsRel'] < 1e8
    box = g[45:471, 41:601]
    share = np.mean(box == 0)
    hole = np.clip(bilinear(p, 480, 640), 1e-3, 10)[45:471, 41:601][box == 0].mean()
    assert counting.scores()['AbsRel'] == pytest.approx(share * hole / HOLE_DEPTH, rel=1e-3)
    # RMSE hardly changes, as in the paper's table.
    assert counting.scores()['RMSE'] < 5


def seen(geometry: str, image: np.ndarray, height: int, width: int):
    info = tiny_info(input_height=height, input_width=width, test_geometry=geometry)
    return look(info, image)


def test_harsanyi_input_is_nearest_and_a_centre_crop():
    image = rgb()
    view = seen('harsanyi', image, 256, 320)
    wanted = cv2.resize(image, (352, 264), interpolation=cv2.INTER_NEAREST)[4:260, 16:336]
    np.testing.assert_array_equal(view.image, wanted)
    assert view.box == (7, 473, 29, 611) == get_protocol('harsanyi').crop


def test_laina_input_is_half_size_and_a_centre_crop_stretched_over_all():
    image = rgb()
    view = seen('laina', image, 228, 304)
    np.testing.assert_array_equal(view.image, image[::2, ::2][6:234, 8:312])
    assert view.box == (0, 480, 0, 640) and view.scale == 0.5


def test_eigen_bts_shows_a_black_border():
    image = rgb()
    black = shown(get_protocol('eigen_bts'), image)
    np.testing.assert_array_equal(black[7:474, 7:632], image[7:474, 7:632])
    assert not black[:7].any() and not black[474:].any()
    assert not black[:, :7].any() and not black[:, 632:].any()
    np.testing.assert_array_equal(shown(get_protocol('plain'), image), image)


def test_a_whole_frame_is_squeezed_or_keeps_its_aspect():
    image = rgb()
    np.testing.assert_array_equal(seen('squeeze', image, 480, 640).image, image)
    assert seen('squeeze', image, 256, 320).image.shape == (256, 320, 3)
    kept = seen('keep_aspect', rgb(size=(360, 640)), 256, 320)
    assert kept.image.shape[1] / kept.image.shape[0] == pytest.approx(16 / 9, rel=0.03)
    with pytest.raises(ValueError, match="unknown test geometry 'round': choose one of squeeze"):
        seen('round', image, 256, 320)


def test_crops_scale_with_the_frame():
    truth = np.ones((240, 320), np.float32)
    valid = valid_pixels(get_protocol('harsanyi'), truth)
    rows, columns = np.nonzero(valid)
    assert (rows.min(), rows.max() + 1) == (4, 236)
    assert (columns.min(), columns.max() + 1) == (14, 306)
    metrics = Metrics()
    for protocol in PROTOCOLS.values():
        judge(protocol, np.ones((60, 80), np.float32), truth, metrics)
    assert metrics.counts()['clamped_pixels'] == 0


def test_flip_averages_with_the_mirror_image():
    image = rgb()

    def network(x: np.ndarray) -> np.ndarray:
        return x[..., 0].astype(np.float32) * np.linspace(1, 2, x.shape[1], dtype=np.float32)

    both = predict(get_protocol('densedepth'), image, network)
    weights = (np.linspace(1, 2, 640) + np.linspace(2, 1, 640)) / 2
    np.testing.assert_allclose(both, image[..., 0] * weights, rtol=1e-5)
    np.testing.assert_array_equal(predict(get_protocol('plain'), image, network), network(image))


def test_not_a_number_becomes_the_least_and_infinity_the_largest_depth():
    depth, count = clamped(
        get_protocol('eigen_bts'), np.array([np.nan, np.inf, -np.inf, 0, 5, 20], np.float32)
    )
    np.testing.assert_allclose(depth, [1e-3, 10, 1e-3, 1e-3, 5, 10])
    assert count == 5


def test_outside_the_prediction_there_is_none():
    box = get_protocol('harsanyi').crop
    laid = to_frame(np.ones((128, 160), np.float32), (480, 640), box)
    assert np.isnan(laid[:7]).all() and np.isnan(laid[:, 611:]).all()
    assert (laid[7:473, 29:611] == 1).all()


def test_what_counts_but_was_not_seen_is_left_out_and_counted():
    metrics, truth = Metrics(), frame(0, holes=False)
    box = get_protocol('harsanyi').crop
    judge(get_protocol('laina'), truth[7:473, 29:611], truth, metrics, box)
    assert metrics.scores()['AbsRel'] == 0
    assert metrics.counts()['pixels'] == 466 * 582
    assert metrics.counts()['unseen_pixels'] == 480 * 640 - 466 * 582


@pytest.mark.parametrize('name', PROTOCOLS)
@pytest.mark.parametrize('size', [(480, 640), (128, 160)])
def test_an_infinite_prediction_counts_as_the_largest_depth(name, size):
    """Resizing must not mix it into its neighbours: infinity times 0 would be NaN."""
    protocol, metrics, truth = get_protocol(name), Metrics(), np.full((480, 640), 2, np.float32)
    p = np.full(size, 2, np.float32)
    p[size[0] // 2, size[1] // 2] = np.inf
    judge(protocol, p, truth, metrics)
    largest = np.where(np.isinf(p), 10, p)
    by_hand = Metrics()
    judge(protocol, largest, truth, by_hand)
    assert metrics.scores()['RMSE'] == by_hand.scores()['RMSE'] > 0
    assert metrics.counts()['clamped_pixels'] > 0 == by_hand.counts()['clamped_pixels']


def test_a_frame_without_truth_is_skipped():
    metrics = Metrics()
    judge(
        get_protocol('plain'),
        np.ones((48, 64), np.float32),
        np.zeros((480, 640), np.float32),
        metrics,
    )
    assert metrics.counts()['skipped_images'] == 1


def test_median_scaling_is_an_option_that_forgives_a_common_factor():
    p, g = smooth(0) * np.float32(0.3), frame(0)
    plain_scores, scaled = Metrics(), Metrics()
    judge(get_protocol('eigen_bts'), p, g, plain_scores)
    judge(replace(get_protocol('eigen_bts'), align='median'), p, g, scaled)
    assert plain_scores.scores()['AbsRel'] > 0.6
    assert scaled.scores()['AbsRel'] == pytest.approx(0, abs=1e-6)


def test_captions_name_everything_that_moves_the_figures():
    assert get_protocol('eigen_bts').describe() == (
        'eigen_bts: raw ground truth, rows 45:471, columns 41:601 of 640x480, of other '
        'sizes in proportion, 0.001 < depth < 10 m, prediction clamped to 0.001..10 m, '
        'per image, then averaged, no test-time augmentation'
    )
    text = replace(get_protocol('densedepth'), swapped=True, count_holes=True).describe()
    assert text.endswith('with its mirror image, swapped, holes counted')
    assert len({protocol.describe() for protocol in PROTOCOLS.values()}) == 5
