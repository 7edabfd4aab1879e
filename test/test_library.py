# SPDX-License-Identifier: Apache-2.0
"""What a program imports from the package's front page."""
from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import depth_perception


def test_every_public_name_is_there_and_listed_once():
    names = [name for names in depth_perception._MODULES.values() for name in names]
    assert sorted(names) == sorted(depth_perception.__all__)
    for name in names:
        assert getattr(depth_perception, name).__doc__, name
    with pytest.raises(AttributeError, match='no attribute'):
        depth_perception.nothing  # noqa: B018


def test_the_front_page_needs_no_torch():
    code = ('import sys, depth_perception\n'
            'assert depth_perception.__version__\n'
            'assert not {"torch", "cv2", "numpy"} & sys.modules.keys()')
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('module', ['', '.estimator', '.weights'])
def test_examples_run(module):
    from importlib import import_module

    found = import_module(f'depth_perception{module}')
    result = doctest.testmod(found, extraglobs=vars(found))
    assert result.failed == 0
    assert result.attempted or module == '.weights'


def test_the_program_of_the_readme_runs(tmp_path):
    page = (Path(__file__).parents[1] / 'README.md').read_text(encoding='utf-8')
    program, = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((120, 160, 3), 90, np.uint8))
    subprocess.run([sys.executable, '-c', program], cwd=tmp_path, check=True)
    assert (tmp_path / 'cloud.ply').stat().st_size > 100_000
