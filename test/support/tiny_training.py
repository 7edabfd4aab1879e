# SPDX-License-Identifier: Apache-2.0
"""Run `python -m depth_training` with a tiny real network on tiny images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from depth_training import cli
from depth_training.recipes import RECIPES, Recipe
from depth_training.recipes.schedule import OneCycle
from test.support.processes import hears_signals
from test.support.weights import TINY_ARGUMENTS

ROOT = Path(__file__).parents[2]
TINY = Recipe(
    name='tiny',
    title='a tiny network',
    network='efficientnet_sff',
    network_arguments=TINY_ARGUMENTS,
    augment='paper_003',
    height=48,
    width=64,
    test_height=48,
    test_width=64,
    loss='silog',
    optimizer='adam',
    learning_rate=1e-3,
    weight_decay=1e-4,
    schedule=OneCycle(),
    clip_gradient=1.0,
    batch=4,
    epochs=3,
    protocol='plain',
    pretrained=False,
    average=0.9,
)


def words(data: Path, out: Path, *more: str) -> list[str]:
    return [
        'train',
        'tiny',
        '--data',
        str(data),
        '--out',
        str(out),
        '--device',
        'cpu',
        '--workers',
        '0',
        '--log-every',
        '1',
        '--no-tensorboard',
        *more,
    ]


def start(arguments: list[str], launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start the command in its own process; `launcher` is a module that starts modules."""
    return subprocess.Popen(
        [sys.executable, '-m', *launcher, 'test.support.tiny_training', *arguments],
        cwd=ROOT,
        text=True,
        stderr=subprocess.PIPE,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''},
        preexec_fn=hears_signals,
    )


if __name__ == '__main__':
    RECIPES['tiny'] = TINY
    sys.exit(cli.main())
