# SPDX-License-Identifier: Apache-2.0
"""The bundled network's recipe: one network for every camera, and the averaged weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import WeightsInfo, load_weights
from depth_training import cli
from depth_training.augment.camera_steps import FieldOfView
from depth_training.augment.steps import CanonicalFocal, CutDepth
from depth_training.data import DataError, Sample, open_dataset, raycaster
from depth_training.evaluate.evaluation import focal_factor
from depth_training.evaluate.geometry import look
from depth_training.recipes import RECIPES, get_recipe
from depth_training.train import build, checkpoint
from depth_training.train.ema import MovingAverage
from depth_training.train.training_data import Batch, ToTensors
from test.support import layouts
from test.support.tiny_training import TINY, words

RECIPE = get_recipe('bundled')
TO_TENSORS = ToTensors(RECIPE.mean, RECIPE.std)


def seen(fx: float, width: int = 320, height: int = 240) -> Sample:
    """Return the same room from the same position, through another lens or sensor."""
    rng = np.random.default_rng(4)
    boxes = raycaster.random_room(rng)
    eye, rotation, _ = raycaster.random_camera(rng, boxes, width)
    rays = raycaster.camera_rays(height, width, fx) @ rotation.T
    hits = raycaster.cast(boxes, eye, rays)
    colour = 128 + 100 * np.sin(2 * hits.point + hits.box[:, None]).reshape(height, width, 3)
    rgb = colour.astype(np.uint8)
    return Sample(rgb, hits.distance.reshape(height, width), 'boxes', fx, (width - 1) / 2)


def camera(sample: Sample) -> CameraModel:
    height, width = sample.depth.shape
    return CameraModel(width, height, sample.fx, sample.fx, sample.cx, (height - 1) / 2)


def as_trained(sample: Sample) -> Batch:
    """Return the recipe's training example for a whole view: network input and target."""
    rng, whole = np.random.default_rng(0), FieldOfView(RECIPE.height, RECIPE.width, low=179)
    for step in (whole, CanonicalFocal(RECIPE.focal)):
        sample = step(sample, rng)
    return TO_TENSORS(sample)


@dataclass
class Oracle:
    """A network that knows a single view and fails on any other image."""

    view: Batch
    name, device, precision = 'oracle', torch.device('cpu'), 'fp32'

    def run(self, image: np.ndarray) -> torch.Tensor:
        assert (torch.from_numpy(image[0]) - self.view.image).abs().mean() < 0.02
        return self.view.depth[None]


@pytest.fixture(scope='module')
def info(tmp_path_factory) -> WeightsInfo:
    """Return the metadata that a run of the recipe writes to its weights file."""
    data = open_dataset(layouts.rooms(tmp_path_factory.mktemp('data')), 'all')
    return build.weights_info(RECIPE, data, build.canonical_focal(RECIPE, data), 'Apache-2.0')


@pytest.mark.parametrize('narrower', [1.0, 1.7])
def test_a_crop_enlarged_is_the_view_through_a_longer_lens(narrower):
    wide, step = seen(165.0), FieldOfView(240, 320, 30, 89, shift=0)
    own = 2 * np.degrees(np.arctan(160 / 165 / narrower))
    zoomed = dataclasses.replace(step, low=own, high=own)(wide, np.random.default_rng(0))
    assert zoomed.fx == pytest.approx(165 * narrower, rel=0.01)
    direct = seen(zoomed.fx)
    error = np.abs(zoomed.depth / direct.depth - 1)
    assert np.median(error) < 0.005 and (error > 0.05).mean() < 0.05
    assert np.abs(zoomed.rgb.astype(int) - direct.rgb).mean() < 6


def test_fields_of_view_are_drawn_between_the_limits():
    step, views = FieldOfView(24, 32), [seen(fx, 64, 48) for fx in (25.0, 32.0, 80.0)]
    rng = np.random.default_rng(0)
    angles = [
        [2 * np.degrees(np.arctan(16 / step(view, rng).fx)) for _ in range(60)] for view in views
    ]
    assert 53 < min(angles[0]) < 58 and 85 < max(angles[0]) < 92
    assert max(angles[1]) <= 90.1
    assert {round(angle, 3) for angle in angles[2]} == {43.603}  # too narrow: not cropped
    unknown = step(dataclasses.replace(views[0], fx=None), rng)
    assert unknown.fx is None and unknown.depth.shape == (24, 32)


def test_training_and_use_mean_the_same_metres_whatever_the_camera(info):
    """The depth learnt in training, converted by the estimator, is the true depth."""
    zoomed = FieldOfView(240, 320, 55, 60, shift=0)(seen(165.0), np.random.default_rng(0))
    views = [seen(180.0), seen(300.0), seen(420.0, 640, 480), zoomed]
    middle = []
    for view in views:
        estimator = DepthEstimator(Oracle(as_trained(view)), info)
        depth = estimator.infer(view.rgb, camera(view))
        error = np.abs(depth / view.depth - 1)
        assert np.median(error) < 0.01 and (error > 0.05).mean() < 0.05
        height, width = depth.shape
        middle.append(depth[height // 2, width // 2])
        # Without the camera's focal length the result is wrong by the ratio of focal lengths.
        blind = estimator.infer(view.rgb)[height // 2, width // 2]
        assert blind / middle[-1] == pytest.approx(RECIPE.focal / (view.fx * 320 / width), rel=1e-3)
        assert focal_factor(info, view, look(info, view.rgb)) == pytest.approx(
            estimator.focal_factor(camera(view))
        )
    assert max(middle) / min(middle) < 1.01


def test_the_weights_file_names_the_camera_of_the_training(info):
    assert (info.training_focal_length, info.training_image_width) == (RECIPE.focal, RECIPE.width)
    assert (info.input_height, info.input_width) == (RECIPE.height, RECIPE.width)


def test_pictures_without_a_focal_length_are_refused(tmp_path):
    data = open_dataset(layouts.sync(tmp_path), 'all')
    with pytest.raises(DataError, match='needs the focal length of each picture'):
        build.canonical_focal(RECIPE, data)


def test_only_the_picture_suffers_from_the_camera():
    view = seen(200.0)
    results = [
        build.augmentation(RECIPE, None)(view, np.random.default_rng(seed)) for seed in range(12)
    ]
    for result in results:
        assert result.rgb.dtype == np.uint8 and result.rgb.shape == (240, 320, 3)
        assert set(np.unique(result.depth)) <= set(np.unique(view.depth))
    levels = [result.rgb.mean() for result in results]
    assert max(levels) > 1.3 * min(levels)


def test_the_average_follows_the_definition():
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    network[0].weight.data.fill_(0.0)
    average, expected = MovingAverage(network, 0.5), 0.0
    for step, value in enumerate((4.0, 2.0, 8.0), start=1):
        network[0].weight.data.fill_(value)
        network[1].num_batches_tracked.fill_(step)
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.network[0].weight.item() == pytest.approx(expected)
    assert average.network[1].num_batches_tracked == 3 and not average.network.training


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that trains the tiny network and returns the run's folder."""
    monkeypatch.setitem(RECIPES, 'tiny', TINY)
    data, out = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8), tmp_path / 'run'

    def call(*more: str, code: int = 0):
        assert cli.main(words(data, out, *more)) == code, capsys.readouterr().err
        return out

    return call


def test_the_average_is_what_the_run_gives(run):
    out = run('--steps', '3')
    tensors, _ = checkpoint._read(out / checkpoint.FILE)
    saved = load_weights(out / 'weights.safetensors').network.state_dict()
    assert any(not torch.equal(saved[name], tensors[f'network.{name}']) for name in saved)
    assert all(torch.equal(saved[name], tensors[f'average.{name}']) for name in saved)


def test_a_time_limit_stops_and_the_run_goes_on(run):
    out = run('--steps', '3', '--time-limit', '1e-9', code=3)
    assert not (out / 'weights.safetensors').exists()
    run('--steps', '3', '--time-limit', '5', '--resume')
    assert (out / 'weights.safetensors').exists()


def test_depth_is_shown_in_the_metres_that_are_learnt():
    steps = build.augmentation(get_recipe('bundled_cut_depth'), 259.2).steps
    kinds = [type(getattr(step, 'step', step)) for step in steps]
    assert kinds.index(FieldOfView) < kinds.index(CanonicalFocal) < kinds.index(CutDepth)
    assert type(build.augmentation(RECIPE, 259.2).steps[-1]) is CanonicalFocal
