# SPDX-License-Identifier: Apache-2.0
"""torchrun with two processes trains like one process with the same total batch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file

from depth_training.train import run_log as journal
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import start, words

#: The users' launcher; it chooses a free port.
TORCHRUN = ('torch.distributed.run', '--standalone', '--nproc_per_node', '2', '-m')


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=100)
    assert process.returncode == 0, said


def losses(folder: Path) -> list[float]:
    return [row['loss'] for row in journal.read(folder) if row['kind'] == 'train']


def test_two_processes_of_torchrun_equal_one_unless_each_normalises_its_own_images(tmp_path):
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)
    one, two, local = tmp_path / 'one', tmp_path / 'two', tmp_path / 'local'
    more = ('--epochs', '2')
    for process in [
        start(words(data, one, *more)),
        start(words(data, two, *more), launcher=TORCHRUN),
    ]:
        finish(process)
    finish(start(words(data, local, *more, '--local-batch-norm'), launcher=TORCHRUN))
    assert len(losses(one)) == 4
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    assert losses(local) != pytest.approx(losses(one), rel=1e-3)
    assert losses(local) == pytest.approx(losses(one), rel=0.5)
    assert [read_run(folder).description.processes for folder in (one, two)] == [1, 2]
    weights = [load_file(folder / 'weights.safetensors') for folder in (one, two)]
    for name, tensor in weights[0].items():
        # Adam divides by the gradient's size, so rounding of a gradient near 0 changes a weight.
        assert (tensor.float() - weights[1][name].float()).abs().max() < 5e-3, name
