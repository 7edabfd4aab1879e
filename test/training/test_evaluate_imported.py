# SPDX-License-Identifier: Apache-2.0
"""Imported networks by every protocol: their scores are those of the node's depth."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json

import numpy as np
import pytest
import torch

from depth_perception.cli.main import main
from depth_perception.inference.estimator import DepthEstimator
from depth_training import cli
from depth_training.data import open_dataset
from depth_training.evaluate import protocols
from depth_training.evaluate.metrics import Metrics
from depth_training.evaluate.protocols import KITTI, PROTOCOLS, get_protocol
from test.support import layouts
from test.support.hugging_face import write

RELATIVE = ('depth_anything_relative', 'dpt')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Pairs with known cameras."""
    return layouts.rooms(tmp_path_factory.mktemp('data') / 'rooms')


def imported(source, *words):
    """Import a network; return its weights file."""
    file = source.with_suffix('.safetensors')
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(['import-model', str(source), '--out', str(file), *words]) == 0
    return file


@pytest.fixture(scope='module')
def file_of(tmp_path_factory):
    """The weights file of a family, imported once."""
    made = {}

    def file(family):
        if family not in made:
            folder = write(family, tmp_path_factory.mktemp('networks') / family)
            made[family] = imported(folder)
        return made[family]

    return file


def run(data, *words):
    return cli.main(
        ['evaluate', '--data', str(data), '--split', 'all', '--device', 'cpu', *map(str, words)]
    )


@pytest.mark.parametrize(
    'family', ['depth_anything_metric', 'glpn', 'zoedepth', 'depth_pro', 'dpt']
)
@pytest.mark.parametrize('name', ['harsanyi', 'densedepth'])
def test_scores_are_those_of_the_node_s_depth(family, name, data, file_of, capsys):
    align = 'scale-shift' if family in RELATIVE else 'none'
    words = ('--weights', file_of(family), '--protocol', name, '--align', align, '--json')
    assert run(data, *words) == 0
    result = json.loads(capsys.readouterr().out)[0]
    estimator = DepthEstimator.load(file_of(family), 'cpu', 'fp32', 'torch')
    protocol, metrics = dataclasses.replace(get_protocol(name), align=align), Metrics()
    dataset = open_dataset(data, 'all')
    for index in range(len(dataset)):
        sample = dataset[index]
        depth = protocols.predict(
            protocol, sample.rgb, functools.partial(estimator.infer, camera=sample.camera)
        )
        kind = estimator.info.output if family in RELATIVE else 'metres'
        protocols.judge(protocol, depth, sample.depth, metrics, kind=kind)
    assert result['scores']['AbsRel'] == pytest.approx(metrics.scores('pixels')['AbsRel'], rel=1e-5)
    assert result['depth_factor'] == [1, 1] and 'focal length' not in result['note']
    assert result['weights']['origin'] == 'imported'
    assert 'the whole frame' in result['geometry']


def test_every_protocol_takes_them(data, file_of, capsys):
    files = (file_of('depth_anything_metric'), file_of('depth_anything_relative'))
    words = ('--weights', *files, '--align', 'none', 'median', 'scale-shift', '--json')
    for name in (*PROTOCOLS, *KITTI, 'whole_frame'):
        assert run(data, '--protocol', name, *words) == 0
        results = json.loads(capsys.readouterr().out)
        assert [(one['weights']['file'], one['aligned']) for one in results] == [
            (str(files[0]), 'none'),
            (str(files[0]), 'median'),
            (str(files[0]), 'scale-shift'),
            (str(files[1]), 'median'),
            (str(files[1]), 'scale-shift'),
        ]
        assert all(np.isfinite(one['scores']['AbsRel']) for one in results)


def test_a_relative_network_must_be_aligned(data, file_of, capsys):
    file = file_of('depth_anything_relative')
    assert run(data, '--weights', file) == 1
    said = capsys.readouterr()
    assert not said.out and said.err == (
        f'depth_training: {file} gives relative_disparity, not metres: add --align scale-shift, '
        'or --align median, which fit each prediction to its truth\n'
    )


class Brightness(torch.nn.Module):
    """Depth that grows with red, in metres."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 1 + image[:, :1] * 4


def test_an_onnx_file_is_evaluated_as_its_network(data, tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    network, file = tmp_path / 'red.onnx', torch.zeros(1, 3, 48, 64)
    torch.onnx.export(Brightness(), (file,), str(network), dynamo=False)
    words = ('--size', '64x48', '--output', 'metres', '--max-depth', '10', '--resize', 'fixed')
    file = imported(network, *words, '--mean', '0', '0', '0', '--std', '1', '1', '1')
    assert run(data, '--weights', file, '--protocol', 'whole_frame', '--json') == 0
    result = json.loads(capsys.readouterr().out)[0]
    protocol, metrics = protocols.WHOLE_FRAME, Metrics()
    dataset = open_dataset(data, 'all')
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.rgb.shape == (48, 64, 3)
        depth = 1 + sample.rgb[..., 0].astype(np.float32) / 255 * 4
        protocols.judge(protocol, depth, sample.depth, metrics)
    assert result['scores']['AbsRel'] == pytest.approx(metrics.scores('pixels')['AbsRel'], rel=1e-4)


def test_the_table_by_data_has_a_row_for_each_alignment(data, file_of, tmp_path, capsys):
    other = layouts.sync(tmp_path / 'other')
    files = (file_of('depth_anything_metric'), file_of('depth_anything_relative'))
    words = ('--weights', *files, '--protocol', 'whole_frame', '--markdown')
    assert run(data, '--data', data, other, *words, '--align', 'none', 'scale-shift') == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        '| network | aligned | rooms: AbsRel | rooms: delta1 | other: AbsRel | other: delta1 |'
    )
    rows = [line.strip('| ').split(' | ') for line in lines[2:5]]
    assert [row[:2] for row in rows] == [
        ['depth_anything_metric', 'no'],
        ['depth_anything_metric', 'scale and shift fitted'],
        ['depth_anything_relative', 'scale and shift fitted'],
    ]
    assert all(float(cell) >= 0 for row in rows for cell in row[2:])
    assert any(line.startswith('* whole_frame: ') for line in lines)
