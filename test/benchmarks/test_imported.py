# SPDX-License-Identifier: Apache-2.0
"""The benchmark of imported networks, with a tiny one."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import imported
from test.support.hugging_face import write


def test_every_way_gives_the_depth_of_the_pipeline(tmp_path, capsys):
    folder, out = write('depth_anything_relative', tmp_path / 'net'), tmp_path / 'out'
    words = ['--network', str(folder), '--rounds', '1', '--precisions', 'fp32', '--out', str(out)]
    words += ['--backend', 'torch']  # without seconds of compilation
    assert imported.main(words) == 0
    rows = json.loads((out / 'imported.json').read_text())['rows']
    assert rows[0]['way'] == imported.BASELINE and rows[1]['way'] == 'ours, torch fp32'
    assert rows[0]['ratio'] == 1 and rows[1]['error'] < 1e-4
    assert 'x pipeline' in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_without_a_gpu_its_measurement_is_refused(capsys):
    assert imported.main(['--device', 'cuda']) == 2
    assert 'PyTorch sees no CUDA device' in capsys.readouterr().err
