# SPDX-License-Identifier: Apache-2.0
"""Evaluation and validation run the node's inference path, so scores are those of its depth."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import load_weights, save_weights
from depth_training import cli
from depth_training.data import open_dataset
from depth_training.data.sample import Sample
from depth_training.evaluate import protocols
from depth_training.evaluate.evaluation import Predictor, as_node, evaluate, predicted
from depth_training.evaluate.geometry import GEOMETRIES
from depth_training.evaluate.metrics import Metrics
from depth_training.recipes import RECIPES
from depth_training.train.validation import Validation
from test.support import layouts
from test.support.weights import tiny_info, tiny_network

PUBLISHED = [name for name, geometry in GEOMETRIES.items() if geometry.keep_aspect]
#: Width, height and focal length of frames: as in training, narrow, wide, portrait, unknown.
CAMERAS = [(128, 96, 100.0), (128, 96, 60.0), (160, 90, 200.0), (96, 128, 110.0), (128, 96, None)]


def weights(tmp_path, **changes):
    """Return a network with edges in its depth: file, predictor and the node's estimator."""
    network = tiny_network()
    network.head[2].weight.data *= 150
    network.head[2].bias.data -= 4
    file = tmp_path / 'tiny.safetensors'
    save_weights(file, network, tiny_info(**changes))
    loaded = load_weights(file)
    return (
        file,
        Predictor(loaded.network, loaded.info, torch.device('cpu')),
        DepthEstimator.load(file, 'cpu', 'fp32', 'torch'),
    )


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare up to rounding, since the node uses channels_last."""
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def frame(width: int, height: int, fx: float | None) -> Sample:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Sample(
        cv2.resize(coarse, (width, height)), np.full((height, width), 2.0, np.float32), 'made', fx
    )


@pytest.mark.parametrize('output', ['metres', 'reciprocal'])
@pytest.mark.parametrize('geometry', PUBLISHED)
@pytest.mark.parametrize('width, height, fx', CAMERAS)
def test_depth_and_factor_are_the_node_s(geometry, output, width, height, fx, tmp_path):
    _, predictor, estimator = weights(tmp_path, test_geometry=geometry, output=output)
    sample = frame(width, height, fx)
    found = predicted(predictor, sample, protocols.get_protocol('laina'))
    node = estimator.estimate(sample.rgb, sample.camera)
    same(found.depth, node.depth)
    assert found.factor == node.focal_factor
    assert found.box == (0, height, 0, width)


def test_a_mirrored_frame_goes_the_same_way(tmp_path):
    _, predictor, estimator = weights(tmp_path, test_geometry='canonical')
    sample = frame(160, 90, 200.0)
    found = predicted(predictor, sample, protocols.get_protocol('densedepth'))
    plain, mirrored = (
        estimator.infer(np.ascontiguousarray(rgb), sample.camera)
        for rgb in (sample.rgb, sample.rgb[:, ::-1])
    )
    same(found.depth, (plain + mirrored[:, ::-1]) / 2)


@pytest.mark.parametrize('geometry', PUBLISHED)
def test_scores_are_those_of_the_node_s_depth(geometry, tmp_path):
    dataset = open_dataset(layouts.rooms(tmp_path / 'rooms'), 'all')
    _, predictor, estimator = weights(tmp_path, test_geometry=geometry)
    protocol, metrics = protocols.get_protocol('harsanyi'), Metrics()
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.camera is not None
        protocols.judge(protocol, estimator.infer(sample.rgb, sample.camera), sample.depth, metrics)
    assert evaluate(predictor, dataset, protocol).scores == pytest.approx(
        metrics.scores(protocol.averaging), rel=1e-5
    )


def test_the_node_itself_publishes_the_depth_that_is_judged(tmp_path):
    from depth_perception.ros.conversions.topics import DEPTH
    from depth_perception.ros.node.calibrations import Calibrations
    from depth_perception.ros.node.parameters import Settings
    from depth_perception.ros.node.pipeline import Pipeline
    from test.support.ros import camera_info, image_array, rgb_image

    _, predictor, estimator = weights(tmp_path, test_geometry='canonical')
    info = camera_info(160, 90, 200.0)
    calibrations = Calibrations()
    calibrations.update(info)
    sample = frame(160, 90, 200.0)
    outputs = (
        Pipeline(estimator, calibrations, lambda *_: None)
        .process(rgb_image(sample.rgb), frozenset({DEPTH}), Settings(min_depth=0.3))
        .outputs
    )
    depth = predicted(predictor, sample, protocols.get_protocol('laina')).depth
    expected = np.where(depth > 10, np.inf, np.where(depth < 0.3, -np.inf, depth))
    same(image_array(outputs[DEPTH]), expected)


def test_as_node_judges_a_paper_s_network_as_the_node_shows_it_frames(tmp_path, capsys):
    info = tiny_info(test_geometry='harsanyi')
    assert as_node(info).test_geometry == 'keep_aspect'
    assert as_node(tiny_info(test_geometry='canonical')).test_geometry == 'canonical'
    data = layouts.rooms(tmp_path / 'rooms')
    file, _, estimator = weights(tmp_path, test_geometry='harsanyi')
    results = {}
    for more in ([], ['--as-node']):
        assert (
            cli.main(
                [
                    'evaluate',
                    '--weights',
                    str(file),
                    '--data',
                    str(data),
                    '--split',
                    'all',
                    '--protocol',
                    'laina',
                    '--device',
                    'cpu',
                    '--json',
                    *more,
                ]
            )
            == 0
        )
        results[bool(more)] = json.loads(capsys.readouterr().out)[0]
    dataset, metrics = open_dataset(data, 'all'), Metrics()
    for index in range(len(dataset)):
        sample = dataset[index]
        protocols.judge(
            protocols.get_protocol('laina'),
            estimator.infer(sample.rgb, sample.camera),
            sample.depth,
            metrics,
        )
    assert results[True]['scores']['AbsRel'] == pytest.approx(metrics.scores('pixels')['AbsRel'])
    assert results[True]['scores'] != results[False]['scores']
    assert 'keep_aspect' in results[True]['geometry'] and 'harsanyi' in results[False]['geometry']


def test_the_validation_loss_is_of_what_the_node_shows_the_network(tmp_path):
    dataset = open_dataset(layouts.rooms(tmp_path / 'rooms'), 'all')
    recipe = dataclasses.replace(RECIPES['paper_003'], loss='l1', loss_arguments={})
    _, predictor, estimator = weights(tmp_path, test_geometry='canonical')
    seen = []
    loss = Validation(
        dataset,
        recipe,
        lambda output, target, known: seen.append(output) or torch.tensor(1.0),
        tmp_path,
        None,
        None,
    ).loss(predictor)
    assert loss == 1.0 and len(seen) == len(dataset)
    for index, output in enumerate(seen):
        sample = dataset[index]
        camera: CameraModel = sample.camera
        network_input = estimator.network_input(sample.rgb, camera)
        with torch.no_grad():
            np.testing.assert_array_equal(output.numpy(), predictor.network(network_input).numpy())
