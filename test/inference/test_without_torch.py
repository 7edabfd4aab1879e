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

from depth_perception.io.weights import save_weights
from depth_perception.networks import create_network
from test.support.estimators import INFO
from test.support.ros import picture

PREDICT = """
import sys
from depth_perception.cli.main import main
code = main(sys.argv[1:])
heavy = {'torch', 'torchvision', 'timm', 'transformers', 'huggingface_hub', 'rosbags', 'rclpy'}
print(code, *sorted(heavy & set(sys.modules)))
"""


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


def test_predict_imports_no_torch_whether_or_not_the_network_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    torch.manual_seed(1)
    info = dataclasses.replace(INFO, network='cnn', name='tiny')
    save_weights(tmp_path / 'tiny.safetensors', create_network('cnn'), info)
    cv2.imwrite(str(tmp_path / 'picture.png'), picture(0, 80, 60))
    first = predicted(tmp_path, 'first')
    assert len(list(tmp_path.glob('depth_perception/openvino/*.blob'))) == 1
    np.testing.assert_array_equal(predicted(tmp_path, 'again'), first)
