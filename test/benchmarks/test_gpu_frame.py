# SPDX-License-Identifier: Apache-2.0
"""The benchmark of a frame on a GPU, tried out on the CPU."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks import gpu_frame
from depth_perception.camera.model import CameraModel


def test_without_a_gpu_it_says_so_and_ends_with_2(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert gpu_frame.main([]) == 2
    assert 'there is no CUDA device;' in capsys.readouterr().err


def test_every_figure_is_there(capsys, tmp_path):
    pytest.importorskip('rosbags', reason='rosbags is not installed')
    assert (
        gpu_frame.main(
            [
                '--device',
                'cpu',
                '--size',
                '64x96',
                '--rounds',
                '1',
                '--frames',
                '1',
                '--networks',
                'efficientnet_sff',
                '--out',
                str(tmp_path / 'j'),
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / 'j').read_text())
    ways = found['frame'][0]['ways']
    assert set(ways) == {'fp32', 'usual'} and ways['usual']['times_faster'] == 1
    assert found['network_alone'][0]['network'] == 'efficientnet_sff'
    # A CPU computes in bfloat16 at most.
    half = found['half_precision']
    assert 0 <= half['fp16_difference'] < 0.03 < half['AbsRel']['fp32']


def test_both_ways_give_the_same_cloud_where_nothing_is_masked():
    network, info = gpu_frame._network('default', (48, 64))
    # The camera of the training: no focal correction.
    focal = info.training_focal_length * 64 / info.training_image_width
    camera = CameraModel(64, 48, focal, focal, 32, 24)
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    cpu = torch.device('cpu')
    depth, cloud = gpu_frame.ours(network, info, camera, cpu, 'fp32')(rgb)
    usual_depth, usual_cloud = gpu_frame.usual(network, info, camera, cpu)(rgb)
    seen = np.isfinite(cloud[..., 2])
    assert seen.mean() > 0.5
    np.testing.assert_allclose(depth[seen], usual_depth[seen], rtol=1e-4)
    np.testing.assert_allclose(cloud[seen][:, :3], usual_cloud[seen][:, :3], rtol=1e-3, atol=1e-5)
    assert np.array_equal(cloud[..., 3].view(np.uint32), usual_cloud[..., 3].view(np.uint32))
