# SPDX-License-Identifier: Apache-2.0
"""The source distribution and the wheel, built as pip builds them, used without the repository.

What the package needs from others comes from the environment of the tests, unless
DEPTH_PERCEPTION_TEST_INSTALL=1 asks for an empty one, which takes minutes and the network.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_perception import __version__

ROOT = Path(__file__).parents[1]
BUILD = 'import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])'
#: What a working copy holds beside its files.
NO_SOURCES = shutil.ignore_patterns(
    '.git',
    '.venv*',
    '__pycache__',
    '*.egg-info',
    'build',
    'dist',
    'install',
    'log',
    'runs',
    '*_output',
    '.*_cache',
    '.hypothesis',
)
#: Runs at the start of every interpreter: only the wheel has the package then.
HIDE = f"""import sys
from pathlib import Path
sys.path[:] = [path for path in sys.path if Path(path or '.').resolve() != Path({str(ROOT)!r})]
sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in str(finder).lower()]
"""


@pytest.fixture(scope='module')
def sdist(tmp_path_factory) -> Path:
    """The source distribution, of a copy: building leaves files behind."""
    copy = tmp_path_factory.mktemp('copy') / 'source'
    shutil.copytree(ROOT, copy, ignore=NO_SOURCES)
    return built('sdist', copy, tmp_path_factory.mktemp('sdist'))


@pytest.fixture(scope='module')
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel, built from nothing but the source distribution."""
    folder = tmp_path_factory.mktemp('unpacked')
    with tarfile.open(sdist) as file:
        file.extractall(folder)
    return built('wheel', next(folder.iterdir()), tmp_path_factory.mktemp('wheel'))


def built(kind: str, source: Path, target: Path) -> Path:
    result = subprocess.run(
        [sys.executable, '-c', BUILD.format(kind), target],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    (found,) = target.iterdir()
    return found


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    """A folder into which pip installed the wheel."""
    folder = tmp_path_factory.mktemp('installed')
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'install',
            '--quiet',
            '--no-deps',
            '--no-index',
            '--disable-pip-version-check',
            '--target',
            folder,
            wheel,
        ],
        check=True,
        timeout=300,
    )
    (folder / 'sitecustomize.py').write_text(HIDE)
    return folder


def run(installed: Path, *words: str | Path, cwd: Path, code: int = 0) -> str:
    """What a command of the wheel says; it ends with the expected code."""
    environment = {name: value for name, value in os.environ.items() if name != 'ROS_DOMAIN_ID'}
    environment['PYTHONPATH'] = os.pathsep.join(
        [str(installed), *filter(None, [os.environ.get('PYTHONPATH')])]
    )
    result = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == code, result.stderr
    return result.stdout + result.stderr


# What is in them.


def tracked() -> Iterator[str]:
    if not (ROOT / '.git').exists():
        pytest.skip('this is no clone of the repository')
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True)
    yield from filter(None, listed.stdout.decode().split('\0'))


def test_the_source_distribution_has_every_file_of_the_repository(sdist):
    with tarfile.open(sdist) as file:
        names = {name.partition('/')[2] for name in file.getnames()}
    assert not [name for name in tracked() if name not in names and (ROOT / name).exists()]


def test_the_wheel_has_every_file_of_the_packages(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packages = [
        name for name in tracked() if name.startswith(('depth_perception/', 'depth_training/'))
    ]
    assert not [name for name in packages if name not in names and (ROOT / name).exists()]
    tops = {name.partition('/')[0] for name in names}
    assert tops == {
        'depth_perception',
        'depth_training',
        *(f'depth_perception-{__version__}.{kind}' for kind in ('data', 'dist-info')),
    }


def messages(file: Path) -> Iterator[str]:
    """Every text of a module that a user may read: all but docstrings that no help shows."""
    tree = ast.parse(file.read_text(encoding='utf-8'))
    silent = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        ):
            silent.add(node.body[0].value)
    if any(isinstance(node, ast.Name) and node.id == '__doc__' for node in ast.walk(tree)):
        silent.discard(tree.body[0].value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in silent:
            yield node.value


def test_a_message_names_only_files_that_are_installed(installed):
    share = installed / 'share' / 'depth_perception'
    folders = '|'.join(
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(('.', 'depth_'))
    )
    missing = []
    files = [*installed.glob('depth_*/**/*.py'), *share.glob('config/*.yaml')]
    for file in sorted(files):
        for text in messages(file) if file.suffix == '.py' else file.read_text().splitlines():
            named = re.findall(rf'(?<![\w./])(?:{folders})/[\w-][\w./-]*\w', text)
            missing += [
                f'{file.relative_to(installed)}: {name}'
                for name in named
                if not (share / name).exists() and 'repository' not in text
            ]
            missing += [
                f'{file.relative_to(installed)}: {name}'
                for name in re.findall(r'python -m (depth_[\w.]*\w)', text)
                if not list(installed.glob(f'{name.replace(".", "/")}*'))
            ]
    assert not missing


def test_versions_agree(wheel):
    changes = (ROOT / 'CHANGELOG.rst').read_text(encoding='utf-8')
    assert re.search(r'^(\d+\.\d+\.\d+) \(', changes, re.MULTILINE)[1] == __version__
    citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    assert re.search(r'^version: (.*)$', citation, re.MULTILINE)[1] == __version__
    assert f'<version>{__version__}</version>' in (ROOT / 'package.xml').read_text()
    assert wheel.name == f'depth_perception-{__version__}-py3-none-any.whl'


# What they do.


def test_the_repository_is_out_of_reach(installed, tmp_path):
    code = (
        'import sys, depth_perception, depth_training, importlib.util as util\n'
        'print(depth_perception.__file__, depth_training.__file__)\n'
        'assert util.find_spec("benchmarks") is None'
    )
    for path in run(installed, sys.executable, '-c', code, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed)


def test_predict_writes_depth_of_a_picture(installed, tmp_path):
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((120, 160, 3), 90, np.uint8))
    said = run(
        installed,
        installed / 'bin' / 'depth-perception',
        'predict',
        'photo.jpg',
        '--out',
        'out',
        '--device',
        'cpu',
        '--backend',
        'torch',
        cwd=tmp_path,
    )
    assert '1 of 1 images done' in said
    assert (tmp_path / 'out' / 'photo_depth.png').is_file()


@pytest.mark.parametrize(
    'words',
    [
        ('bin/depth-perception', '--help'),
        ('bin/depth-perception', 'view', '--help'),
        ('bin/depth_node', '--help'),
        ('bin/replay_bag', '--help'),
        ('bin/replay_check', '--help'),
        ('bin/process_bag', '--help'),
        ('depth_training', '--help'),
        ('depth_training', 'train', '--help'),
        ('depth_perception.demo', '--help'),
    ],
    ids=' '.join,
)
def test_help_is_shown(installed, words, tmp_path):
    program = [installed / words[0]] if '/' in words[0] else [sys.executable, '-m', words[0]]
    assert 'usage' in run(installed, *program, *words[1:], cwd=tmp_path)


def test_the_demo_plays_a_bag_of_the_user(installed, tmp_path):
    pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')
    pytest.importorskip('matplotlib', reason='the package matplotlib is not installed')
    from rosbags.rosbag2 import StoragePlugin

    from test.support.bags import write_bag
    from test.support.ros import picture

    bag = write_bag(
        tmp_path / 'bag',
        [picture(i, 160, 120) for i in range(3)],
        storage=StoragePlugin.MCAP,
        jpeg=True,
        hz=2,
    )
    said = run(installed, sys.executable, '-m', 'depth_perception.demo', bag, cwd=tmp_path)
    assert '3 frames in, 3 depth images' in said
    assert (tmp_path / 'demo_output' / 'montage.png').stat().st_size > 500


def test_without_a_bag_the_demo_says_where_the_clip_is(installed, tmp_path):
    said = run(installed, sys.executable, '-m', 'depth_perception.demo', cwd=tmp_path, code=2)
    assert 'name a rosbag2 folder' in said and 'scripts/demo' not in said


@pytest.mark.skipif(
    os.environ.get('DEPTH_PERCEPTION_TEST_INSTALL') != '1',
    reason='takes minutes and the network: DEPTH_PERCEPTION_TEST_INSTALL=1',
)
@pytest.mark.timeout(3600)
def test_the_wheel_in_an_empty_environment(wheel, tmp_path):
    subprocess.run([sys.executable, '-m', 'venv', tmp_path / 'venv'], check=True)
    pip = [tmp_path / 'venv' / 'bin' / 'python', '-m', 'pip', 'install', '--quiet']
    if index := os.environ.get('DEPTH_PERCEPTION_TORCH_INDEX'):  # as in scripts/environment.sh
        subprocess.run([*pip, 'torch', 'torchvision', '--index-url', index], check=True)
    subprocess.run([*pip, f'{wheel}[cpu]'], check=True)
    environment = {'PATH': os.environ['PATH'], 'HOME': str(tmp_path)}

    def said(*words: str) -> str:
        result = subprocess.run(
            [tmp_path / 'venv' / 'bin' / words[0], *words[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        return f'{result.returncode} {result.stdout}{result.stderr}'

    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((120, 160, 3), 90, np.uint8))
    assert said('depth-perception', 'predict', 'photo.jpg', '--out', 'out').startswith('0 ')
    assert (tmp_path / 'out' / 'photo_depth.png').is_file()
    assert 'usage' in said('depth-perception', 'view', '--help')
    assert 'usage' in said('python', '-m', 'depth_training', '--help')
    for words, extra in (
        (('python', '-m', 'depth_training', 'train', '--help'), 'train'),
        (('depth-perception', 'view', 'photo.jpg'), 'view'),
        (('python', '-m', 'depth_perception.demo', '.'), 'ros'),
    ):
        text = said(*words)
        assert text[0] in '12' and text.count('\n') == 1, text
        assert f'pip install "depth_perception[{extra}]"' in text
