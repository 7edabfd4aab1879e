# SPDX-License-Identifier: Apache-2.0
"""The examples that do not need ROS, run as their pages say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.support.ply import read_ply

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / 'examples'
NOTEBOOK = EXAMPLES / 'depth_of_the_clip.ipynb'
#: Saves what the notebook would show.
SHOW = """import matplotlib
matplotlib.use('Agg')
from matplotlib import pyplot
def show():
    for number in pyplot.get_fignums():
        pyplot.figure(number).savefig(f'{folder}/{number}_{len(shown)}.png', dpi=40)
        shown.append(number)
    pyplot.close('all')
pyplot.show = show
shown, folder = [], {folder!r}
"""


def test_the_readme_lists_every_example():
    page = (EXAMPLES / 'README.md').read_text(encoding='utf-8')
    files = {file.name for file in EXAMPLES.iterdir() if file.is_file()} - {'README.md'}
    assert not [name for name in files if f']({name})' not in page]


def test_an_image_gives_depth_cloud_and_scan(tmp_path):
    cv2.imwrite(str(tmp_path / 'photo.png'), np.full((60, 80, 3), 90, np.uint8))
    result = subprocess.run(
        [
            sys.executable,
            EXAMPLES / 'depth_of_an_image.py',
            'photo.png',
            '--out',
            'results',
            '--device',
            'cpu',
            '--camera-height',
            '0.5',
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    out = tmp_path / 'results'
    depth = np.load(out / 'depth.npy')
    assert depth.shape == (60, 80) and cv2.imread(str(out / 'depth.png')).shape == (60, 80, 3)
    points = read_ply(out / 'cloud.ply')
    assert len(points) == np.isfinite(depth).sum() > 0
    scan = np.loadtxt(out / 'scan.csv', delimiter=',', skiprows=1)
    nearest = np.min(scan[np.isfinite(scan[:, 1]), 1], initial=np.inf)
    assert f'{len(points)} points' in result.stdout
    assert f'{nearest:.2f} m away' in result.stdout or 'obstacle' in result.stdout


def test_a_file_that_is_not_an_image_gives_one_sentence(tmp_path):
    (tmp_path / 'photo.png').write_text('no image')
    result = subprocess.run(
        [sys.executable, EXAMPLES / 'depth_of_an_image.py', 'photo.png'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 1 and result.stderr == 'cannot read image photo.png\n'


def test_the_notebook_runs_and_shows_four_pictures(tmp_path):
    pytest.importorskip('matplotlib', reason='the package matplotlib is not installed')
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    program = '\n\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
    result = subprocess.run(
        [sys.executable, '-c', SHOW.replace('{folder!r}', repr(str(tmp_path))) + program],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert '10 images of 480x360' in result.stdout and 'depth is off by' in result.stdout
    pictures = [cv2.imread(str(file)) for file in tmp_path.glob('*.png')]
    assert len(pictures) == 4 and all(picture.std() > 5 for picture in pictures)


def test_the_notebook_is_stored_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    assert (notebook['nbformat'], notebook['nbformat_minor']) == (4, 5)
    assert len({cell['id'] for cell in notebook['cells']}) == len(notebook['cells'])
    code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    assert code and not any(cell['outputs'] or cell['execution_count'] for cell in code)
