# SPDX-License-Identifier: Apache-2.0
"""What a program imports from the package's front page, and the examples in docstrings."""

from __future__ import annotations

import doctest
import functools
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

import depth_perception
from depth_perception.inference.estimator import DepthEstimator

ROOT = Path(__file__).parents[1]
#: Every module with an example.
MODULES = [
    path
    for path in sorted(ROOT.glob('depth_*/**/*.py'))
    if '>>> ' in path.read_text(encoding='utf-8')
]


@pytest.fixture(scope='module', autouse=True)
def bundled_network_loaded_once():
    """Loading takes seconds: the examples share one estimator for each set of arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DepthEstimator, 'load', functools.cache(DepthEstimator.load))
        yield


def test_every_public_name_is_there_and_listed_once():
    names = [name for names in depth_perception._MODULES.values() for name in names]
    assert sorted(names) == sorted(depth_perception.__all__)
    with pytest.raises(AttributeError, match='no attribute'):
        depth_perception.nothing  # noqa: B018


def test_every_public_name_has_an_example():
    for name in depth_perception.__all__:
        example = (getattr(depth_perception, name).__doc__ or '').partition('>>> ')[2]
        assert re.search(rf'\b{name}[.(]', example), name


def test_the_front_page_needs_no_torch():
    code = (
        'import sys, depth_perception\n'
        'assert depth_perception.__version__\n'
        'assert not {"torch", "cv2", "numpy"} & sys.modules.keys()'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('file', MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples_run(file, monkeypatch):
    """Each by itself, in an empty namespace: as a reader copies it."""
    monkeypatch.chdir(ROOT)
    name = '.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(import_module(name), globs={}):
        runner.run(example)
    assert runner.tries and not runner.failures


def test_the_programs_of_the_pages_run(tmp_path):
    programs = [
        program
        for name in ('README.md', 'docs/library.md')
        for program in re.findall(
            r'```python\n(.*?)```', (ROOT / name).read_text(encoding='utf-8'), re.DOTALL
        )
    ]
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((120, 160, 3), 90, np.uint8))
    for program, written in zip(programs, ('cloud.ply', 'cloud.ply', 'depth.png'), strict=True):
        subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)
        assert (tmp_path / written).stat().st_size > 1_000
        (tmp_path / written).unlink()
