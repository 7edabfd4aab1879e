# SPDX-License-Identifier: Apache-2.0
"""A network that knows the truth must score 0 with any training recipe and protocol."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.inference.protocol import Estimate
from depth_training.data import DataError, DepthDataset, Sample, open_dataset
from depth_training.evaluate.evaluation import Predictor, evaluate, rescaled
from depth_training.evaluate.geometry import GEOMETRIES, look
from depth_training.evaluate.protocols import KITTI, PROTOCOLS
from depth_training.recipes import RECIPES, Recipe, overrides
from depth_training.train import build
from test.support import layouts
from test.support.weights import tiny_info

#: Recipes that differ in the scaling of depth; the first of each kind represents it.
_KINDS = {
    (r.augment, r.height, r.width, r.test_height, r.test_width, r.test_geometry, r.focal): r.name
    for r in reversed(RECIPES.values())
}


def _sync(folder: Path, columns: int = 0, camera: bool = False) -> tuple[Path, Path | None]:
    """Write a sync folder with a list of that many columns, or with camera.json."""
    layouts.sync(folder / 'sync')
    if camera:
        for scene in (folder / 'sync').iterdir():
            layouts.write(scene / 'camera.json', '{"width": 64, "fx": 58.5, "cx": 31.5}')
    rows = [
        f'/{rgb.relative_to(folder / "sync")} /{rgb.parent.name}/sync_depth_{rgb.stem[4:]}.png'
        for rgb in sorted((folder / 'sync').glob('*/rgb_*'))
    ]
    rows = [f'{row} {518.8579 / 10}' if columns == 3 else row for row in rows]
    file = layouts.write(folder / 'list.txt', '\n'.join(rows)) if columns else None
    return folder / 'sync', file


def _data(kind: str, folder: Path) -> tuple[Path, Path | None]:
    if kind.startswith('sync'):
        return _sync(folder, int(kind[5]) if kind[5:6].isdigit() else 0, kind == 'sync camera')
    if kind == 'official_splits':
        return layouts.sync(folder / 'official_splits' / 'train').parent, None
    if kind == 'labeled_mat':
        return layouts.labeled_mat(folder / 'nyu.mat'), None
    if kind == 'densedepth_zip':
        return layouts.zipped(layouts.densedepth(folder / 'files'), folder / 'nyu.zip'), None
    return getattr(layouts, kind)(folder / kind), None


LAYOUTS = (
    'sync',
    'sync 2 columns',
    'sync 3 columns',
    'sync camera',
    'official_splits',
    'labeled_mat',
    'densedepth',
    'densedepth_zip',
    'densedepth_test',
    'h5_frames',
    'npy_pairs',
    'marigold',
    'rooms',
    'folders',
    'tum',
)
#: Layouts without a focal length.
WITHOUT_CAMERA = ('sync', 'sync 2 columns', 'folders', 'tum')


class Remembering(DepthDataset):
    """Return pairs, and remember the last one for the oracle."""

    def __init__(self, dataset: DepthDataset) -> None:
        self.dataset = dataset
        self.layout, self.ground_truth = dataset.layout, dataset.ground_truth
        self.units, self.last = dataset.units, None

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Sample:
        self.last = self.dataset.read(index)
        return self.last

    def source(self, index: int) -> str:
        return self.dataset.source(index)


class Oracle(Predictor):
    """Predict the truth of its input, in the metres of its training.

    That is the truth itself, save for recipes of one canonical camera.
    """

    def __init__(self, recipe: Recipe, trained_on: DepthDataset, pairs: Remembering) -> None:
        self.focal, self.pairs = build.canonical_focal(recipe, trained_on), pairs
        super().__init__(
            torch.nn.Identity(),
            build.weights_info(recipe, trained_on, self.focal, 'none'),
            torch.device('cpu'),
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        sample = self.pairs.last
        view = look(self.info, sample.rgb, sample.fx)
        assert image.shape == view.image.shape
        truth = view.box.of(sample.depth)
        if self.focal is None or sample.fx is None:
            return truth
        return truth * np.float32(self.focal / (sample.fx * view.scale))

    def published(self, rgb: np.ndarray, camera: CameraModel | None) -> Estimate:
        sample = self.pairs.last
        factor = self._estimator.focal_factor(camera)
        truth = (
            sample.depth
            if self.focal is None or sample.fx is None
            else sample.depth * np.float32(self.focal / sample.fx * self._scale(sample)) * factor
        )
        return Estimate(torch.from_numpy(truth), factor)

    def _scale(self, sample: Sample) -> float:
        """Return columns of the frame per column of the network's input."""
        return 1 / look(self.info, sample.rgb, sample.fx).scale


def judged(
    recipe: Recipe,
    trained_on: DepthDataset,
    data: Path,
    protocol: str,
    list_file: Path | None = None,
):
    """Evaluate a recipe's oracle without mirroring, which it cannot handle."""
    rule = dataclasses.replace(PROTOCOLS[protocol], flip=False)
    pairs = Remembering(
        open_dataset(data, 'all', ground_truth=rule.ground_truth, list_file=list_file)
    )
    return evaluate(Oracle(recipe, trained_on, pairs), pairs, rule)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_scores_nothing_under_every_recipe_layout_and_protocol(layout, tmp_path):
    data, list_file = _data(layout, tmp_path)
    for name in _KINDS.values():
        recipe = RECIPES[name]
        if recipe.focal is not None and layout in WITHOUT_CAMERA:
            continue  # needs the focal length, so it refuses such data
        trained_on = open_dataset(data, 'all', ground_truth=recipe.truth, list_file=list_file)
        for protocol in PROTOCOLS:
            result = judged(recipe, trained_on, data, protocol, list_file)
            scores = result.scores
            assert scores['AbsRel'] < 1e-6 and scores['RMSE'] < 1e-5, (name, protocol, scores)
            assert scores['delta1'] == 1
            if recipe.focal is None and layout != 'rooms':
                assert not result.is_rescaled, (name, protocol, result.depth_factor)


@pytest.mark.parametrize(
    'name',
    [name for name in _KINDS.values() if name.startswith('paper_') and RECIPES[name].focal is None],
)
def test_scores_nothing_on_the_labelled_set_after_training_without_focal_length(name, tmp_path):
    """Write sync data with a list of two columns, so the camera is unknown; it is NYU's."""
    trained_on, list_file = _sync(tmp_path, 2)
    trained_on = open_dataset(trained_on, 'all', list_file=list_file)
    for protocol in PROTOCOLS:
        result = judged(
            RECIPES[name], trained_on, layouts.labeled_mat(tmp_path / 'nyu.mat'), protocol
        )
        assert result.scores['AbsRel'] < 1e-6 and not result.is_rescaled


def test_another_camera_is_corrected_for_and_said_so(tmp_path):
    trained_on = open_dataset(layouts.labeled_mat(tmp_path / 'nyu.mat'), 'all')
    result = judged(RECIPES['paper_003'], trained_on, _sync(tmp_path, camera=True)[0], 'harsanyi')
    factor = 58.5 / 51.885790117450188
    assert result.depth_factor == pytest.approx((factor, factor))
    assert result.scores['AbsRel'] == pytest.approx(factor - 1, rel=1e-4)
    assert f'depth is multiplied by {factor:.3f}' in rescaled(result)


class Seeing(Predictor):
    """Predict the grey value of the image as depth."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return image[..., 0].astype(np.float32) / 25

    def published(self, rgb: np.ndarray, camera: CameraModel | None) -> Estimate:
        return Estimate(torch.from_numpy(self(rgb)))


@pytest.mark.parametrize('geometry', GEOMETRIES)
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_what_is_seen_is_laid_where_it_was_seen(geometry, protocol):
    rng = np.random.default_rng(0)
    depth = cv2.resize(
        rng.uniform(2, 9, (5, 7)).astype(np.float32), (640, 480), interpolation=cv2.INTER_CUBIC
    ).clip(1, 9.9)
    if geometry == 'laina':  # which stretches a part over the whole by design
        depth[:] = 4
    info = tiny_info(input_height=256, input_width=320, test_geometry=geometry)

    class Picture(DepthDataset):
        layout, ground_truth, units = 'made', PROTOCOLS[protocol].ground_truth, 'metres'

        def __len__(self):
            return 1

        def source(self, index):
            return 'picture'

        def read(self, index):
            grey = np.round(depth * 25).astype(np.uint8)
            return Sample(np.repeat(grey[..., None], 3, 2), np.round(depth * 25) / 25, 'picture')

    result = evaluate(
        Seeing(torch.nn.Identity(), info, torch.device('cpu')),
        Picture(),
        dataclasses.replace(PROTOCOLS[protocol], visible=None),
    )
    assert result.scores['AbsRel'] < 0.01
    total = result.counts['pixels'] + result.counts['unseen_pixels']
    assert ('left out' in result.note) == bool(result.counts['unseen_pixels'])
    assert result.counts['pixels'] > 0.8 * total


def test_every_recipe_names_a_geometry_that_shows_the_scale_of_its_training(tmp_path):
    """A whole NYU frame in a test has the focal length of the training images."""
    trained_on = open_dataset(layouts.labeled_mat(tmp_path / 'nyu.mat'), 'all')
    frame = np.zeros((480, 640, 3), np.uint8)
    for name in [name for name in RECIPES if name.startswith('paper_')]:
        info = build.weights_info(RECIPES[name], trained_on, None, 'none')
        seen = look(info, frame)
        assert seen.image.shape == (info.input_height, info.input_width, 3), name
        assert 518.85790117450188 * seen.scale == pytest.approx(
            info.focal_length_at(info.input_width)
        ), name


@pytest.mark.parametrize(
    'layout, recipe, said',
    [
        ('sync', 'paper_003', 'the focal length of the training pictures is unknown; NYU'),
        ('rooms', 'paper_003', 'a focal length of 259.4 pixels for 320 columns'),
        ('rooms', 'bundled', 'a focal length of 259.2 pixels'),
        ('labeled_mat', 'paper_003', ''),
    ],
)
def test_a_training_says_in_which_scale_depth_is_learnt(layout, recipe, said, tmp_path):
    dataset = open_dataset(_data(layout, tmp_path)[0], 'all')
    focal = build.canonical_focal(RECIPES[recipe], dataset)
    notices = ' '.join(build.camera_notices(RECIPES[recipe], dataset, focal))
    assert said in notices and bool(said) == bool(notices)


def test_one_unknown_camera_among_many_pictures_is_noticed(tmp_path):
    """The camera is unknown only in the second of seven scenes: no first, middle or last pair."""
    layouts.sync(tmp_path, tuple(f'scene_{number}' for number in range(7)), 3)
    for scene in tmp_path.iterdir():
        if scene.name != 'scene_1':
            layouts.write(scene / 'camera.json', '{"width": 64, "fx": 58.5, "cx": 31.5}')
    dataset = open_dataset(tmp_path, 'all')
    recipe = RECIPES['paper_003']
    focal = build.canonical_focal(recipe, dataset)
    assert focal == pytest.approx(259.4, abs=0.1)
    assert 'the focal length of some of the training pictures is unknown' in ' '.join(
        build.camera_notices(recipe, dataset, focal)
    )
    # Depth of both is converted to the same camera; the unknown one is NYU's.
    pipeline = build.augmentation(recipe, focal)
    for index, fx in ((0, 58.5), (3, 51.885790117450188)):
        seen = pipeline(dataset[index], np.random.default_rng(0))
        plain = build.augmentation(recipe, None)(dataset[index], np.random.default_rng(0))
        factor = focal / (fx * 352 / 64)
        np.testing.assert_allclose(seen.depth, plain.depth * factor, rtol=1e-5)
    with pytest.raises(DataError, match='needs the focal length of each picture'):
        build.canonical_focal(RECIPES['bundled'], dataset)


def test_scores_nothing_on_kitti_whose_cameras_differ_from_day_to_day(tmp_path):
    """Depth up to 80 m is learnt unchanged, except for the 2 % by which the cameras differ."""
    root = layouts.kitti(tmp_path, drives=3)
    for number, fx in enumerate((90.2, 92.0)):
        other = tmp_path / f'2011_10_0{number}'
        layouts.write(
            other / 'calib_cam_to_cam.txt',
            f'S_rect_02: 160.0 48.0\nP_rect_02: {fx} 0 76.2 4.5 0 {fx} 21.6 0.2 0 0 1 0.003\n',
        )
        old = f'2011_09_26_drive_000{number + 1}_sync'
        new = f'2011_10_0{number}_drive_000{number + 1}_sync'
        (other / new).parent.mkdir(exist_ok=True)
        (tmp_path / '2011_09_26' / old).rename(other / new)
        (tmp_path / 'train' / old).rename(tmp_path / 'train' / new)
    recipe, trained_on = RECIPES['paper_004_kitti'], open_dataset(root, 'all')
    assert len({trained_on[index].fx for index in range(len(trained_on))}) == 2
    for name, protocol in KITTI.items():
        pairs = Remembering(trained_on)
        result = evaluate(
            Oracle(recipe, trained_on, pairs), pairs, dataclasses.replace(protocol, flip=False)
        )
        assert result.scores['AbsRel'] < 1e-6, name
        low, high = result.depth_factor
        assert 0.96 < low < high < 1.01
    # The same on one day, and for a recipe of another width.
    small = overrides.changed(recipe, {'test_width': 320, 'width': 320})
    assert small.focal == pytest.approx(recipe.focal / 4)
    assert overrides.changed(recipe, {'test_width': 320, 'focal': 99.0}).focal == 99
