# SPDX-License-Identifier: Apache-2.0
"""Augmentations keep colour, depth and camera consistent, and are exactly reproducible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from depth_training.augment import pipelines as augment
from depth_training.augment import steps
from depth_training.augment.pipelines import Pipeline, sample_generator
from depth_training.data import Sample, open_dataset, transforms
from depth_training.train.training_data import ToTensors, TrainingData, reduce_depth, start_worker
from test.support import layouts

PAPERS = [
    augment.paper_000,
    augment.paper_001,
    augment.paper_002,
    augment.paper_003,
    augment.paper_004,
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def coded(height: int = 48, width: int = 64) -> Sample:
    """Return a sample whose depth and colour encode each pixel's position."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    return Sample(rgb, (1 + rows / 100 + columns / 1000).astype(np.float32), 'coded', 60.0, 30.0)


def in_step(sample: Sample, scale: float = 1.0) -> None:
    """Check that colour and depth of every known pixel come from the same position."""
    known = sample.depth > 0
    wanted = 1 + sample.rgb[..., 0] / 100 + sample.rgb[..., 1] / 1000
    np.testing.assert_allclose(sample.depth[known] * scale, wanted[known], rtol=1e-5)


def test_flip_mirrors_both_and_the_optical_axis():
    sample = coded()
    flipped = transforms.flip(sample)
    in_step(flipped)
    assert flipped.cx == 63 - 30 and flipped.fx == 60
    assert flipped.depth[0, 0] == sample.depth[0, -1]
    np.testing.assert_array_equal(transforms.flip(flipped).depth, sample.depth)


def test_crop_moves_the_optical_axis():
    cropped = transforms.crop(coded(), 5, 7, 20, 30)
    in_step(cropped)
    assert cropped.depth.shape == (20, 30) and cropped.cx == 23
    with pytest.raises(ValueError, match='does not fit'):
        transforms.crop(coded(), 40, 0, 20, 30)


@pytest.mark.parametrize('size', [(24, 32), (96, 128), (36, 50)])
def test_resize_keeps_depth_and_scales_the_camera(size):
    small = transforms.resize(coded(), *size, rgb='nearest')
    in_step(small)
    ratio = size[1] / 64
    assert small.fx == 60 * ratio
    assert small.cx == pytest.approx((30 + 0.5) * ratio - 0.5)
    assert transforms.resize(coded(), *size).rgb.shape == (*size, 3)


def test_zoom_divides_depth_and_keeps_the_focal_length():
    near = transforms.zoom(coded(), 1.5, rgb='nearest')
    in_step(near, 1.5)
    assert near.depth.shape == (72, 96) and near.fx == 60


def test_zoomed_pixels_stay_on_their_rays():
    """A point at column u, depth Z is at X = (u - cx) Z / fx; zoom only brings it nearer."""
    sample, near = coded(), transforms.zoom(coded(), 2.0, rgb='nearest')
    lateral = (40 - sample.cx) * sample.depth[10, 40] / sample.fx
    columns = np.nonzero(near.rgb[20, :, 1] == 40)[0]
    moved = (columns.mean() - near.cx) * near.depth[20, columns[0]] / near.fx
    assert moved == pytest.approx(lateral)


def test_canonical_camera():
    sample = transforms.canonical(coded(), 120.0)
    np.testing.assert_allclose(sample.depth, 2 * coded().depth)
    assert sample.fx == 120
    unknown = Sample(coded().rgb, coded().depth, 'x')
    assert transforms.canonical(unknown, 120.0) is unknown


def test_rotation_turns_both_and_leaves_unknown_corners():
    sample = coded()
    turned = transforms.rotate(sample, 5.0, rgb='nearest')
    in_step(turned)
    assert turned.depth[0, 0] == turned.depth[-1, -1] == turned.depth[0, -1] == 0
    assert (turned.depth > 0).mean() > 0.9
    assert set(np.unique(turned.depth)) <= {0, *np.unique(sample.depth)}
    # Counter-clockwise: points right of the centre move up.
    assert turned.rgb[24, 60, 0] > 24
    quarter = transforms.rotate(coded(64, 64), 90.0, rgb='nearest')
    np.testing.assert_array_equal(quarter.rgb, np.rot90(coded(64, 64).rgb))


def test_no_depth_is_invented_by_any_papers_pipeline():
    """Depth is 2 m or 6 m: no step may create anything in between."""
    depth = np.full((480, 640), 2, np.float32)
    depth[:, 300:] = 6
    depth[100:110] = 0
    sample = Sample(np.zeros((480, 640, 3), np.uint8), depth, 'edge')
    for paper in PAPERS:
        for seed in range(3):
            values = np.unique(paper()(sample, rng(seed)).depth)
            known = values[values > 0]
            assert len(known) <= 2
            if len(known) == 2:
                assert known[1] / known[0] == pytest.approx(3)


@pytest.mark.parametrize('paper', PAPERS, ids=lambda paper: paper.__name__)
@pytest.mark.parametrize('size', [(480, 640), (240, 320), (360, 640)])
def test_each_pipeline_gives_its_papers_size_from_any_image(paper, size):
    wanted = {
        'paper_000': (256, 320),
        'paper_001': (448, 576),
        'paper_002': (228, 304),
        'paper_003': (256, 320),
        'paper_004': (480, 640),
    }[paper.__name__]
    rgb, depth = layouts.scene(0, size)
    result = paper()(Sample(rgb, depth, 'x'), rng())
    assert result.depth.shape == wanted and result.rgb.shape == (*wanted, 3)
    assert result.rgb.dtype == np.uint8 and result.depth.dtype == np.float32


def test_paper_003_ranges():
    """Depth of a flat wall is divided by 1 to 1.5; its grey is multiplied by 0.8 to 1.2."""
    wall = Sample(np.full((480, 640, 3), 100, np.uint8), np.full((480, 640), 3, np.float32), 'w')
    results = [augment.paper_003()(wall, rng(seed)) for seed in range(40)]
    scales = [3 / result.depth.max() for result in results]
    assert 1 <= min(scales) < 1.1 and 1.4 < max(scales) <= 1.5
    greys = np.array([result.rgb[128, 160] for result in results])
    assert 80 <= greys.min() < 86 and 114 < greys.max() <= 120
    assert (greys.std(axis=1) > 0).any()  # one factor per channel


def test_border_of_nyu_frames_is_forgotten_by_paper_001():
    masked = steps.MaskBorder()(Sample(*layouts.scene(0, (480, 640)), 'x'), rng())
    rows, columns = np.nonzero(masked.depth)
    assert (rows.max(), columns.min(), columns.max()) == (471, 43, 607)
    small = Sample(*layouts.scene(), 'x')
    assert steps.MaskBorder()(small, rng()) is small


def test_centre_crop_and_resize_and_canonical_camera_as_steps():
    assert steps.CentreCrop(20, 30)(coded(), rng()).cx == 30 - 17
    assert steps.Resize(24, 32)(coded(), rng()).fx == 30
    assert steps.CanonicalFocal(120)(coded(), rng()).fx == 120
    # Too small for the crop: the whole image is enlarged, so depth stays and fx grows.
    large = steps.RandomCrop(96, 64)(coded(), rng())
    assert large.fx == 120 and large.depth.shape == (96, 64)
    assert large.depth.max() == pytest.approx(1 + 0.47 + large.rgb[..., 1].max() / 1000, abs=1e-3)


def test_cut_depth_shows_depth_as_grey_in_a_stripe():
    sample = Sample(*layouts.scene(), 'x')
    cut = transforms.cut_depth(sample, 10, 30)
    np.testing.assert_array_equal(cut.rgb[:, :10], sample.rgb[:, :10])
    np.testing.assert_array_equal(cut.rgb[:, 40:], sample.rgb[:, 40:])
    grey = np.round(sample.depth[:, 10:40] / 10 * 255)
    for channel in range(3):
        np.testing.assert_array_equal(cut.rgb[:, 10:40, channel], grey)
    assert cut.depth is sample.depth
    far = Sample(sample.rgb, sample.depth * 5, 'far')
    assert transforms.cut_depth(far, 0, 64).rgb.max() == 255  # saturates, does not wrap


def test_cut_depth_stripes_follow_glpdepth():
    sample = Sample(np.full((4, 1000, 3), 7, np.uint8), np.full((4, 1000), 2, np.float32), 'x')
    for seed in range(50):
        a, b = rng(seed).random(2)
        changed = np.nonzero((steps.CutDepth()(sample, rng(seed)).rgb != 7).any(axis=(0, 2)))[0]
        assert changed[0] == int(a * 1000)
        assert len(changed) == max(int((1000 - a * 1000) * b * 0.75), 1)


def test_a_quarter_of_the_images_is_cut():
    (step,) = (
        step
        for step in augment.paper_001(48, 64).steps
        if isinstance(getattr(step, 'step', None), steps.CutDepth)
    )
    sample = Sample(*layouts.scene(), 'x')
    count = sum(step(sample, sample_generator(0, 0, i)) is not sample for i in range(2000))
    assert count == pytest.approx(500, abs=60)


def test_colour_steps_by_hand():
    sample = Sample(np.array([[[0, 100, 250]]], np.uint8), np.ones((1, 1), np.float32), 'x')
    assert transforms.gain(sample, (1, 0.5, 2)).rgb.tolist() == [[[0, 50, 255]]]
    assert transforms.brightness_contrast(sample, 0.1, 0.2).rgb.tolist() == [[[26, 146, 255]]]
    assert transforms.gamma(sample, 2).rgb.tolist() == [
        [[0, round(255 * (100 / 255) ** 2), round(255 * (250 / 255) ** 2)]]
    ]
    assert transforms.permute_channels(sample, (2, 0, 1)).rgb.tolist() == [[[250, 0, 100]]]


def test_hue_saturation_by_hand():
    red = Sample(np.array([[[200, 0, 0]]], np.uint8), np.ones((1, 1), np.float32), 'x')
    shift = transforms.hue_saturation
    assert shift(red, 60, 0, 0).rgb.tolist() == [[[0, 200, 0]]]
    assert shift(red, -60, 0, 0).rgb.tolist() == [[[0, 0, 200]]]
    assert shift(red, 0, -255, 0).rgb.tolist() == [[[200, 200, 200]]]
    assert shift(red, 0, 0, -50).rgb.tolist() == [[[150, 0, 0]]]
    assert shift(red, -0.4, 0, 0).rgb.tolist() == [[[200, 0, 0]]]


def test_swapped_channels_are_a_permutation_and_reach_every_order():
    sample = Sample(np.array([[[1, 2, 3]]], np.uint8), np.ones((1, 1), np.float32), 'x')
    orders = {tuple(steps.SwapChannels()(sample, rng(seed)).rgb[0, 0]) for seed in range(60)}
    assert len(orders) == 6


def training_data(tmp_path, paper: Callable[[], Pipeline] = augment.paper_003) -> TrainingData:
    root = layouts.sync(tmp_path, ('a_0001',), 6)
    return TrainingData(open_dataset(root, 'all'), paper(), ToTensors((0.5,) * 3, (0.25,) * 3), 7)


def everything(data: TrainingData, workers: int) -> list[torch.Tensor]:
    return [tensor for batch in DataLoader(data, 2, num_workers=workers) for tensor in batch]


def test_any_number_of_workers_sees_the_same_images(tmp_path):
    data = training_data(tmp_path)
    alone = everything(data, 0)
    for workers in (1, 2):
        for mine, theirs in zip(alone, everything(data, workers)):
            assert torch.equal(mine, theirs)


def test_epochs_differ_and_come_back_exactly(tmp_path):
    data = training_data(tmp_path)
    first = data[3]
    data.set_epoch(1)
    second = data[3]
    data.set_epoch(0)
    assert torch.equal(data[3].image, first.image)
    assert not torch.equal(second.image, first.image)


def test_workers_that_outlive_an_epoch_learn_of_the_next(tmp_path):
    data = training_data(tmp_path)
    loader = DataLoader(data, 2, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        batches = list(loader)
        assert torch.equal(batches[0].image[1], data[1].image)


def test_workers_start_although_opencv_has_threads_before_the_fork(tmp_path):
    rgb, depth = layouts.scene(0, (480, 640))
    layouts.write(tmp_path / 'a/rgb_0.jpg', layouts.encode('.jpg', rgb))
    layouts.write(tmp_path / 'a/sync_depth_0.png', layouts.millimetres(depth))
    data = TrainingData(
        open_dataset(tmp_path, 'all'), augment.paper_000(), ToTensors((0.5,) * 3, (0.5,) * 3)
    )
    alone = data[0]  # resizes and rotates large images, which starts OpenCV's thread pool
    loader = DataLoader(data, 1, num_workers=1, worker_init_fn=start_worker, timeout=30)
    assert torch.equal(next(iter(loader)).image[0], alone.image)


def test_tensors_are_normalised_and_shaped(tmp_path):
    rgb, depth = layouts.scene()
    batch = ToTensors((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))(Sample(rgb, depth, 'x'))
    assert batch.image.shape == (3, 48, 64) and batch.depth.shape == (1, 48, 64)
    wanted = (rgb.transpose(2, 0, 1) / 255 - np.reshape([0.4, 0.5, 0.6], (3, 1, 1))) / np.reshape(
        [0.2, 0.3, 0.4], (3, 1, 1)
    )
    np.testing.assert_allclose(batch.image.numpy(), wanted, atol=1e-6)
    small = ToTensors((0.5,) * 3, (0.5,) * 3, (24, 32))(Sample(rgb, depth, 'x'))
    assert small.depth.shape == (1, 24, 32) and small.image.shape == (3, 48, 64)
    assert set(small.depth.unique().tolist()) == set(np.unique(depth).tolist())


def test_mean_reduction_averages_known_depth_alone():
    depth = torch.full((1, 1, 8, 8), 4.0)
    depth[..., ::4] = 0
    reduced = reduce_depth(depth, (4, 4), 'mean')
    known = reduced[reduced > 0]
    torch.testing.assert_close(known, torch.full_like(known, 4.0))
    assert (reduce_depth(depth * 0, (4, 4), 'mean') == 0).all()
