# SPDX-License-Identifier: Apache-2.0
"""With OpenVINO nothing on the way of a frame imports PyTorch, which takes most of a start."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('openvino')

from depth_perception.cli.main import main
from depth_perception.inference import preparing
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import save_weights
from depth_perception.networks import create_network
from test.support.estimators import INFO
from test.support.onnx_files import mean_depth
from test.support.ros import picture

PREDICT = """
import sys
from depth_perception.cli.main import main
code = main(sys.argv[1:])
heavy = {'torch', 'torchvision', 'timm', 'transformers', 'huggingface_hub', 'rosbags', 'rclpy'}
print(code, *sorted(heavy & set(sys.modules)))
"""


def of_this_project(file: Path) -> None:
    torch.manual_seed(1)
    info = dataclasses.replace(INFO, network='cnn', network_arguments={}, name='tiny')
    save_weights(file, create_network('cnn'), info)


def from_onnx(file: Path) -> None:
    pytest.importorskip('onnx', reason='the package onnx is not installed')
    source = mean_depth(file.with_name('tiny.onnx'))
    options = ['--size', '96x64', '--output', 'metres', '--max-depth', '10']
    options += ['--mean', *'000', '--std', *'111', '--resize', 'fixed']
    assert main(['import-model', str(source), '--out', str(file), *options]) == 0


def test_images_and_outputs_are_resized_as_by_torch(tmp_path):
    from_onnx(tmp_path / 'tiny.safetensors')
    estimator = DepthEstimator.load(tmp_path / 'tiny.safetensors', 'cpu', 'fp32')
    assert preparing.needs_no_torch(estimator.info)
    rng = np.random.default_rng(0)
    for height, width in ((64, 96), (128, 192), (480, 640), (50, 71)):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        ours = estimator._prepare(image, (64, 96))
        batch = torch.as_tensor(image).permute(2, 0, 1)[None]
        theirs = preparing.resized_image(batch, estimator.info, (64, 96)).numpy() / 255
        # Both are rounded; at half the size the border has other weights, see smooth_resize.
        steps = 255 * abs(ours - theirs)[..., 1:-1, 1:-1]
        assert steps.max() < 1.01 and steps.mean() < 0.3
        output = rng.random((1, 1, 64, 96), np.float32)
        theirs = preparing.resized_output(torch.as_tensor(output), estimator.info, (height, width))
        np.testing.assert_allclose(
            estimator._whole(output, (height, width)), theirs.numpy(), atol=1e-5
        )


def predicted(folder: Path, out: str) -> np.ndarray:
    """Return the depth that `predict` wrote; its process must import nothing heavy."""
    done = subprocess.run(
        [
            *(sys.executable, '-c', PREDICT, 'predict', str(folder / 'picture.png')),
            *('--model', str(folder / 'tiny.safetensors'), '--device', 'cpu', '--npy'),
            *('--cloud', '--scan', '--horizontal-fov-deg', '60', '--out', str(folder / out)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.strip() == '0', done.stdout + done.stderr
    return np.load(folder / out / 'picture_depth.npy')


@pytest.mark.parametrize('write', [of_this_project, from_onnx])
def test_predict_imports_no_torch_whether_or_not_the_network_is_compiled(
    write, tmp_path, monkeypatch
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    write(tmp_path / 'tiny.safetensors')
    cv2.imwrite(str(tmp_path / 'picture.png'), picture(0, 80, 60))
    first = predicted(tmp_path, 'first')
    assert len(list(tmp_path.glob('depth_perception/openvino/*.blob'))) == 1
    np.testing.assert_array_equal(predicted(tmp_path, 'again'), first)
