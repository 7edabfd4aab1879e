# SPDX-License-Identifier: Apache-2.0
"""Two processes train as one with the same total batch."""
from __future__ import annotations

import socket

import pytest
from safetensors.torch import load_file

from depth_training import journal
from test.support import layouts
from test.support.tiny_training import start, words


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return str(listener.getsockname()[1])


def test_two_gloo_processes_equal_one(tmp_path):
    data = layouts.sync(tmp_path / 'data', ('kitchen', 'office'), 8)
    one, two = tmp_path / 'one', tmp_path / 'two'
    more = ('--epochs', '2')
    environment = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': free_port(), 'WORLD_SIZE': '2'}
    runs = [start(words(data, one, *more))]
    runs += [start(words(data, two, *more), RANK=rank, LOCAL_RANK=rank, **environment)
             for rank in '01']
    for process in runs:
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
    curves = [[row['loss'] for row in journal.read(folder) if row['kind'] == 'train']
              for folder in (one, two)]
    assert len(curves[0]) == 4
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    weights = [load_file(folder / 'weights.safetensors') for folder in (one, two)]
    for name, tensor in weights[0].items():
        # Adam divides by the gradient's size: rounding in a gradient near 0 moves a weight.
        assert (tensor.float() - weights[1][name].float()).abs().max() < 5e-3, name
