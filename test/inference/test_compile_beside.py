# SPDX-License-Identifier: Apache-2.0
"""A new size of images stops nothing: they are fed at a size that is there until it is compiled."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

pytest.importorskip('openvino')

from depth_perception.camera.model import CameraModel
from depth_perception.inference.backends import openvino, openvino_apart, openvino_cache
from depth_perception.inference.backends.beside import BackgroundCompiler, CompileError
from depth_perception.inference.backends.openvino_apart import compile_apart
from depth_perception.inference.backends.openvino_child import compile_to_file
from depth_perception.inference.backends.priority import gives_way
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.sharing import SharedNetworks
from depth_perception.io.weights import load_weights, save_weights
from depth_perception.networks import create_network
from test.support.estimators import INFO
from test.support.ros import picture
from test.support.waiting import wait_until

#: A process that imports torch, on a busy machine.
LONG = 240.0
WIDE = CameraModel(160, 90, 130.0, 130.0, 79.5, 44.5)


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('beside') / 'tiny.safetensors'
    info = dataclasses.replace(
        INFO, network='cnn', network_arguments={}, name='tiny'
    )  # soon converted
    save_weights(path, create_network('cnn'), info)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'depth_perception' / 'openvino'


@pytest.fixture(scope='module')
def kept(weights, tmp_path_factory) -> Path:
    """A cache with the model of the training's size."""
    folder = tmp_path_factory.mktemp('kept')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(folder))
        load(weights)
    return folder / 'depth_perception' / 'openvino'


def load(weights: Path, **more: bool) -> DepthEstimator:
    return DepthEstimator.load(weights, 'cpu', 'fp32', 'openvino', **more)


def no_conversion(*_: object, **__: object) -> None:
    raise AssertionError('this process must not convert')


def test_a_new_size_is_compiled_by_another_process_and_kept_for_the_next_start(
    weights, cache, monkeypatch
):
    estimator = load(weights, compile_beside=True)
    monkeypatch.setattr(openvino.OpenVino, '_converted', no_conversion)
    image = picture(0, 160, 90)
    stretched = estimator.estimate(image, WIDE)
    height, width = estimator.network_size(90, 160)
    assert estimator.remarks == (
        f'compiling for 160x90 (network input {width}x{height}): until then fed at 80x60',
    )
    assert stretched.depth.shape == (90, 160) and np.isfinite(stretched.depth).all()
    wait_until(lambda: not estimator.remarks, LONG)
    right = estimator.estimate(image, WIDE)
    height, width = estimator.network_size(90, 160)
    # At the other size the picture has fewer or more pixels along both axes, on average.
    assert stretched.focal_factor / right.focal_factor == pytest.approx(
        (60 * 80 / (height * width)) ** 0.5, rel=0.01
    )
    assert len(list(cache.glob('*.blob'))) == 2 and cache.stat().st_mode & 0o777 == 0o700
    again = load(weights)  # both from the disk
    assert np.array_equal(again.infer(image, WIDE), right.depth)


def test_compiling_leaves_the_cores_to_frames(weights, cache, monkeypatch):
    policies, niceness = set(), []
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    estimator = load(weights, compile_beside=True)
    plain = openvino.OpenVino._imported

    def imported(*words: object) -> object:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return plain(*words)

    monkeypatch.setattr(openvino.OpenVino, '_imported', imported)
    estimator.infer(picture(0, 160, 90))

    def is_done() -> bool:
        for child in psutil.Process().children():
            with suppress(ProcessLookupError):
                policies.add(os.sched_getscheduler(child.pid))
        return not estimator.remarks

    wait_until(is_done, LONG)
    assert os.SCHED_IDLE in policies and set(niceness) == {19}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_it_is_compiled_even_if_the_machine_is_never_idle(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_apart, 'TRIES', (('idle', 0.01), ('low', LONG)))
    file = tmp_path / 'x.blob'
    compile_apart(weights, load_weights(weights).checksum, 'fp32', (48, 80), file)
    assert file.exists()
    monkeypatch.setattr(openvino_apart, 'TRIES', (('idle', 0.01), ('low', 0.01)))
    with pytest.raises(CompileError, match='it took more than'):
        compile_apart(weights, '', 'fp32', (48, 80), tmp_path / 'y.blob')


def test_an_error_of_background_work_reaches_the_caller():
    assert gives_way(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        gives_way(lambda: 1 // 0)


def test_prepared_sizes_are_ready_also_for_a_shared_network(weights, cache, monkeypatch):
    networks = SharedNetworks(lambda *words: load(weights, compile_beside=True))
    front = networks.loader('front')('', 'cpu', 'fp32')
    monkeypatch.setattr(openvino.OpenVino, '_converted', no_conversion)
    front.prepare([(90, 160), (60, 80)])
    front.estimate(picture(0, 160, 90))
    assert front.remarks == ()


@pytest.mark.parametrize('harm', ['cut', 'altered', 'others may write', 'a link', 'foreign'])
def test_a_cached_model_is_used_only_if_it_is_unchanged(
    weights, cache, kept, tmp_path, monkeypatch, harm
):
    shutil.copytree(kept, cache)
    (file,) = cache.glob('*.blob')
    content = file.read_bytes()
    if harm == 'cut':
        file.write_bytes(content[:-100])
    elif harm == 'altered':
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == 'others may write':
        file.chmod(0o666)
    elif harm == 'a link':
        file.rename(tmp_path / 'elsewhere')
        file.symlink_to(tmp_path / 'elsewhere')
    else:  # whole, but nothing that OpenVINO has written
        openvino_cache.write(file, b'no model at all')
    converted, plain = [], openvino.OpenVino._converted
    monkeypatch.setattr(
        openvino.OpenVino, '_converted', lambda *words: converted.append(words) or plain(*words)
    )
    load(weights)
    assert len(converted) == 1


def test_without_a_cache_folder_it_compiles_anyway(weights, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/proc/nowhere')
    estimator = load(weights, compile_beside=True)
    estimator.infer(picture(0, 160, 90))
    monkeypatch.setattr(openvino.OpenVino, '_converted', no_conversion)  # the other process does
    wait_until(lambda: not estimator.remarks, LONG)
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setattr(
        Path,
        'home',
        classmethod(
            lambda cls: (_ for _ in ()).throw(RuntimeError('Could not determine home directory.'))
        ),
    )
    assert openvino_cache.model_path('abc', 'fp32', '1', (60, 80)) is None


def test_old_models_are_deleted(cache):
    for index in range(openvino_cache.KEPT + 5):
        assert openvino_cache.write(cache / f'{index}.blob', b'model')
        os.utime(cache / f'{index}.blob', (index, index))
    assert len(list(cache.glob('*.blob'))) == openvino_cache.KEPT
    assert not (cache / '0.blob').exists()
    assert openvino_cache.read(cache / f'{openvino_cache.KEPT}.blob') == b'model'


def test_a_process_that_cannot_compile_says_why(weights, tmp_path):
    with pytest.raises(CompileError, match='is no longer the file that was loaded'):
        compile_to_file(str(weights), '0' * 64, 'fp32', (48, 80), tmp_path / 'x.blob')
    checksum = load_weights(weights).checksum
    with pytest.raises(CompileError, match='cannot be written'):
        compile_to_file(str(weights), checksum, 'fp32', (48, 80), Path('/proc/x/x.blob'))
    with pytest.raises(CompileError, match='there is no such file'):
        compile_apart(tmp_path / 'none', '', 'fp32', (48, 80), tmp_path / 'x.blob')


def test_this_process_compiles_if_no_other_can(weights, cache, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise CompileError('no memory for another process')

    monkeypatch.setattr(openvino, 'compile_apart', fail)
    estimator = load(weights, compile_beside=True)
    estimator.infer(picture(0, 160, 90))
    wait_until(lambda: not estimator.remarks, LONG)


def test_a_failed_compilation_is_reported_and_images_are_served(weights, cache, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError('no such layer')

    estimator = load(weights, compile_beside=True)
    monkeypatch.setattr(openvino, 'compile_apart', lambda *_, **__: None)  # wrote nothing
    monkeypatch.setattr(openvino.OpenVino, 'compiled', fail)
    for _ in range(3):
        assert estimator.infer(picture(0, 160, 90)).shape == (90, 160)
        wait_until(lambda: 'RuntimeError: no such layer' in ''.join(estimator.remarks), LONG)
    assert estimator.remarks[0].startswith('cannot compile for 160x90 (network input ')
    assert '), fed at 80x60: ' in estimator.remarks[0]
    with pytest.raises(CompileError, match='cannot compile for 160x90: RuntimeError'):
        estimator.prepare([(90, 160)])


def test_only_the_newest_sizes_of_a_changing_stream_are_queued():
    go, made = threading.Event(), []
    beside = BackgroundCompiler(lambda size: go.wait(30) and made.append(size))
    for width in range(1, 20):
        beside.want((1, width), str(width), (1, 1))
    assert beside.remark == (
        'compiling for 1 (network input 1x1); compiling for 17 (network input 17x1), 18 (network '
        'input 18x1) and 19 (network input 19x1): until then fed at 1x1'
    )
    go.set()
    wait_until(lambda: not beside.remark)
    assert made[0] == (1, 1) and made[-1] == (1, 19) and len(made) == 4


def test_sizes_that_fail_alike_share_a_clause():
    def fail(size):
        raise RuntimeError('no memory' if size[1] < 3 else 'no such layer')

    beside = BackgroundCompiler(fail)
    for width in (1, 2, 3):
        beside.want((1, width), f'{width}00x100', (9, 9))
    wait_until(lambda: 'such' in beside.remark and 'compiling' not in beside.remark)
    assert beside.remark == (
        'cannot compile for 100x100 (network input 1x1) and 200x100 (network input 2x1), fed at '
        '9x9: RuntimeError: no memory; cannot compile for 300x100 (network input 3x1), fed at 9x9: '
        'RuntimeError: no such layer'
    )


def test_each_input_size_of_one_image_size_is_named_once():
    go = threading.Event()
    beside = BackgroundCompiler(lambda size: go.wait(30))
    for height in (96, 128):  # of a changing focal length
        beside.want((height, 160), '320x240', (240, 320))
    remark = beside.remark
    go.set()
    assert all(remark.count(f'network input 160x{height}') == 1 for height in (96, 128))


def test_the_least_recently_used_are_deleted(tmp_path):
    for age, name in enumerate(('newest', 'used', 'old', 'oldest')):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'network.engine').write_bytes(b'engine')
        os.utime(folder, (1e9 - age, 1e9 - age))
    target = tmp_path.with_name('elsewhere')
    target.mkdir()
    (target / 'of the user').touch()
    (tmp_path / 'link').symlink_to(target)
    openvino_cache.mark_used(tmp_path / 'used')
    openvino_cache.prune([*tmp_path.iterdir(), tmp_path / 'deleted meanwhile'], 3)
    assert {place.name for place in tmp_path.iterdir()} == {'link', 'used', 'newest'}
    openvino_cache.prune(tmp_path.iterdir(), 0)
    assert not list(tmp_path.iterdir()) and list(target.iterdir())


def test_a_model_that_is_read_is_in_use(cache):
    file, other = cache / 'a.blob', cache / 'b.blob'
    for path in (file, other):
        openvino_cache.write(path, b'model')
        os.utime(path, (1e9, 1e9))
    openvino_cache.read(file)
    assert file.stat().st_mtime > other.stat().st_mtime
