# SPDX-License-Identifier: Apache-2.0
"""Every command of docs/reproducing.md, run in the page's order on miniature data of each format.

ImageNet files and encoders have their true shapes; decoders, pictures, batches and runs are small.
One training a paper is also killed and resumed, in processes of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import training_speed
from depth_perception.camera.model import CameraModel
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.networks import create_network
from depth_training import cli
from depth_training.train import checkpoint
from depth_training.train.run_folder import read_run
from test.support import imagenet, layouts
from test.support.slim_training import slim
from test.training.test_import_fcrn import Graph
from test.training.test_import_weights import published_hybrid, write_keras
from test.training.test_prepare_raw import raw_scene
from test.training.test_reproducing import PAGE, commands, shown_calls

#: Options that make a documented training small: size, batch and length.
SMALL = (
    '--steps',
    '2',
    '--batch',
    '2',
    '--set',
    'height=64',
    '--set',
    'width=96',
    '--set',
    'test_height=64',
    '--set',
    'test_width=96',
    '--workers',
    '0',
    '--device',
    'cpu',
    '--validation-images',
    '1',
    '--no-tensorboard',
    '--log-every',
    '1',
)
#: The run to kill, for each paper.
KILLED = ('paper_000', 'paper_001_m5', 'paper_002_cnn_residual', 'paper_003', 'paper_004')
_SPLIT = re.split(r'^## (.*)$', PAGE, flags=re.M)[1:]
#: The page's sections with commands, by heading.
PARTS = {
    title: text
    for title, text in zip(*[iter(_SPLIT)] * 2)
    if re.search(r'^(python|torchrun|for) ', text, re.M)
}


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """Images of 64x96 are too small for several threads, which would mostly wait for each other.

    This halves the processor time, and takes a third of the time if other tests run in parallel.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def nyu(tmp_path_factory):
    """Write $NYU with every format on the page."""
    root = tmp_path_factory.mktemp('nyu')
    layouts.labeled_mat(root / 'nyu_depth_v2_labeled.mat')
    layouts.splits_mat(root / 'splits.mat', [0, 1, 2, 3], [4, 5])
    scenes = ('kitchen_0028a', 'office_0002')
    layouts.sync(root / 'sync', scenes)
    rows = [
        f'/{scene}/rgb_{i:05d}.jpg /{scene}/sync_depth_{i:05d}.png 518.8579'
        for scene in scenes
        for i in range(2)
    ]
    layouts.write(root / 'nyudepthv2_train_files_with_gt.txt', '\n'.join(rows) + '\n')
    layouts.zipped(layouts.densedepth(root / 'folder', '\r\n', 4), root / 'nyu_data.zip')
    for scene in scenes:
        raw_scene(root / 'raw' / scene)
    # As on the page, whose command then finds the work done.
    prepare = ['prepare', 'raw', str(root / 'raw'), str(root / 'prepared'), '--pairs', '48000']
    assert cli.main(prepare) == 0
    return root


@pytest.fixture(scope='module')
def weights_of_others(tmp_path_factory):
    """Write $IMAGENET and the files published by the authors of papers 003 and 004."""
    root = tmp_path_factory.mktemp('others')
    for file in imagenet.FILES:
        imagenet.write(root / 'imagenet', file)
    return root


def publish_hybrid(file):
    torch.save(published_hybrid(create_network('resnet_unet_hybrid')), file)


def convert_fcrn(file):
    """Convert Laina et al.'s dictionary of dictionaries by the lines on the page."""
    graph, layers = Graph(), {}
    with torch.inference_mode():
        graph.run(torch.zeros(1, 3, 32, 32))
    for path, array in graph.arrays.items():
        layer, kind = path.split('/')
        layers.setdefault(layer, {})[kind] = array
    np.save(file.parent / 'NYU_ResNet-UpProj.npy', layers, allow_pickle=True)
    (conversion,) = re.findall(r'```python\n(.*?)```', PAGE, re.S)
    subprocess.run([sys.executable, '-c', conversion], cwd=file.parent, check=True)
    assert file.exists()


def publish_densedepth(file):
    write_keras(file, create_network('densedepth', half_width=True))


@pytest.fixture
def place(nyu, weights_of_others, tmp_path, monkeypatch):
    """Use an empty working directory and a home folder with $NYU, $KITTI and $IMAGENET."""
    home = tmp_path / 'home'
    home.mkdir()
    (home / 'nyu').symlink_to(nyu)
    layouts.kitti(home / 'kitti')
    (home / 'imagenet').symlink_to(weights_of_others / 'imagenet')
    work = tmp_path / 'work'
    work.mkdir()
    layouts.rooms(work / 'my_rooms', ('attic', 'cellar'), 4)
    layouts.write(work / 'photo.jpg', layouts.encode('.jpg', layouts.scene()[0]))
    layouts.sync(work / 'pairs', ('kitchen',), 8)
    slim(monkeypatch)
    monkeypatch.chdir(work)
    monkeypatch.setenv('HOME', str(home))
    yield work


def files_that_others_publish(work, calls):
    for words in commands(calls, 'import-weights'):
        publish = {
            'hyb_net_weights.model': publish_hybrid,
            'nyu.h5': publish_densedepth,
            'fcrn.npz': convert_fcrn,
        }
        for name, write in publish.items():
            if name in words:
                write(work / name)


def small(words):
    """Return the arguments of a command, with options that make it quick."""
    command, *rest = words
    if command == 'train':
        half = (
            ['--set', 'network_arguments.half_width=true']
            if rest[0].startswith('paper_004')
            else []
        )
        return [command, *rest, *SMALL, *half]
    if command in ('evaluate', 'report'):
        extra = (
            ['--device', 'cpu', '--limit', '1'] if command == 'evaluate' else ['--pictures', '1']
        )
        return [command, *rest, *extra]
    if command == 'prepare':
        return [command, *rest, '--jobs', '1']
    if command == 'import-weights':
        return [command, *rest, *(['--half-width'] if rest[0] == 'densedepth' else [])]
    if command == 'overfit':
        return [command, *rest, '--recipes', 'paper_001_m4', '--steps', '1', '--shrink', '8']
    if command == 'export':
        return [command, *rest, '--height', '64', '--width', '96']
    return words


def run(words, capsys):
    # One step is not enough to overfit.
    assert cli.main(small(words)) == (words[0] == 'overfit'), (words, capsys.readouterr().err)
    return capsys.readouterr().out


@pytest.mark.parametrize('part', PARTS)
def test_the_page_runs(part, place, capsys, monkeypatch):
    calls = shown_calls(place, PARTS[part])
    files_that_others_publish(place, calls)
    killed = [name for name in KILLED if part.startswith('Paper ') and name[6:9] in part]
    for call in calls:
        module = call.index('-m') + 1
        words = call[module + 1 :]
        if call[module] == 'benchmarks.training_speed':
            benchmark(words, monkeypatch)
        elif module > 1:
            in_two_processes(words)
        elif words[:2] == ['train', *killed]:
            kill_and_resume(words, capsys)
        else:
            said = run(words, capsys)
            if words[0] == 'evaluate' and '--json' in words:
                Path('scores.json').write_text(said)
    for folder in Path('runs').glob('*'):
        assert read_run(folder).step == 2, folder
        assert serves(folder / 'weights.safetensors'), folder
    for name in killed:
        beside_the_published(name, capsys)


def test_every_paper_has_its_part():
    papers = [title for title in PARTS if title.startswith('Paper ')]
    assert [f'paper_{title[6:9]}' for title in papers] == [name[:9] for name in KILLED]


def benchmark(words, monkeypatch):
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'training_speed',
            *words,
            '--recipes',
            'paper_002_cnn',
            '--batch',
            '1',
            '--steps',
            '1',
            '--images',
            '2',
            '--workers',
            '0',
            '--device',
            'cpu',
            '--precisions',
            'fp32',
        ],
    )
    training_speed.main()


def in_two_processes(words):
    """Start processes like torchrun; the page uses one per GPU."""
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node',
            '2',
            '-m',
            'test.support.slim_training',
            *small(words),
        ],
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def kill_and_resume(words, capsys):
    """Run it like a user's shell: kill it after its first checkpoint, then resume it."""
    out = Path('runs', words[1])
    process = subprocess.Popen(
        [
            sys.executable,
            '-m',
            'test.support.slim_training',
            *small(words),
            '--checkpoint-every',
            '1',
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    while not checkpoint.exists(out) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    assert cli.main(['train', '--resume', str(out)]) == 0, capsys.readouterr().err


def environment():
    root = Path(__file__).parents[2]
    return {
        **os.environ,
        'PYTHONPATH': str(root),
        'CUDA_VISIBLE_DEVICES': '',
        'OMP_NUM_THREADS': '1',
    }


def serves(weights):
    """Tell if the node's estimator gives finite depth with a weights file."""
    estimator = DepthEstimator.load(str(weights), 'cpu', 'fp32', 'torch')
    rgb, _ = layouts.scene()
    depth = estimator.infer(rgb, CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5))
    return depth.shape == (48, 64) and np.isfinite(depth).all()


def beside_the_published(recipe, capsys):
    """Evaluate a run, write a report, and export the network."""
    weights = f'runs/{recipe}/weights.safetensors'
    nyu = str(Path.home() / 'nyu/nyu_depth_v2_labeled.mat')
    protocol = read_run(Path('runs', recipe)).description.recipe['protocol']
    scores = run(
        ['evaluate', '--weights', weights, '--data', nyu, '--protocol', protocol, '--json'], capsys
    )
    Path('scores.json').write_text(scores)
    assert json.loads(scores)[0]['scores']['RMSE'] > 0
    run(
        ['report', '--out', 'report', '--results', 'scores.json', '--runs', f'runs/{recipe}'],
        capsys,
    )
    blocks = re.split(r'^\| (?=paper_)', Path('report/report.md').read_text(), flags=re.M)
    assert [block.partition(':')[0] for block in blocks if '| ours |' in block] == [recipe]
    run(['export', weights, '--output', f'{recipe}.pt2', '--format', 'program'], capsys)
    program = torch.export.load(f'{recipe}.pt2').module()
    assert program(torch.zeros(1, 3, 64, 96)).isfinite().all()
