# SPDX-License-Identifier: Apache-2.0
"""Packages of compiled networks: the same depth, and only code that the user has made is run."""
from __future__ import annotations

import os
import shutil

import cv2
import numpy as np
import pytest
import torch

from depth_perception.cli import main as cli
from depth_perception.inference.backends import compiled
from depth_perception.inference.backends.choice import BackendError
from depth_perception.inference.backends.compiled import PackageError, load_package
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import save_weights
from test.inference.test_estimator import photograph
from test.support.weights import tiny_info, tiny_network

CPU = torch.device('cpu')
with_compiler = pytest.mark.skipif(
    shutil.which('g++') is None, reason='no C++ compiler (g++) here')
in_minutes = pytest.mark.skipif(
    'COMPILE_TEST' not in os.environ, reason='takes minutes: set COMPILE_TEST=1 to run it')


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path


@pytest.fixture
def weights(tmp_path):
    save_weights(tmp_path / 'w', tiny_network(), tiny_info())
    return str(tmp_path / 'w')


@pytest.fixture
def package(cache):
    """A file that passes every check but for being a package."""
    compiled.folder().mkdir(mode=0o700, parents=True)
    path = compiled.package_path('0123', 'fp32', CPU, (48, 64))
    path.write_bytes(b'machine code')
    path.chmod(0o600)
    path.with_suffix('.sha256').write_text(compiled._digest(path))
    return path


@with_compiler
@in_minutes
@pytest.mark.filterwarnings('ignore')
def test_a_compiled_network_gives_the_depth_of_pytorch(cache, weights, capsys):
    assert cli.main(['compile', '--model', weights, '--device', 'cpu']) == 0
    assert '48x64.pt2' in capsys.readouterr().out
    estimator = DepthEstimator.load(weights, 'cpu', 'fp16', 'compiled')
    plain = DepthEstimator.load(weights, 'cpu', 'fp32', 'torch')
    assert (estimator.backend, estimator.precision, estimator.remarks) == ('compiled', 'fp32', ())
    for size in ((96, 128), (48, 64)):  # resized, and the network's own
        np.testing.assert_allclose(
            estimator.infer(photograph(*size)), plain.infer(photograph(*size)), rtol=1e-4)
    # Another aspect ratio was not compiled.
    np.testing.assert_array_equal(
        estimator.infer(photograph(72, 128)), plain.infer(photograph(72, 128)))
    assert 'not compiled for this image size' in estimator.remarks[0]


def test_without_a_package_it_is_said_what_to_run(cache, weights):
    with pytest.raises(BackendError, match='run "depth-perception compile"'):
        DepthEstimator.load(weights, 'cpu', 'fp32', 'compiled')


def test_the_command_line_says_so_too(cache, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'a.png'), photograph())
    assert cli.main(['predict', str(tmp_path / 'a.png'), '--out', str(tmp_path / 'out'),
                     '--device', 'cpu', '--backend', 'compiled']) == 2
    assert 'depth-perception: no compiled package' in capsys.readouterr().err


def test_names_tell_networks_precisions_sizes_and_versions_apart(cache, monkeypatch):
    names = {compiled.package_path(*parts).name for parts in (
        ('0123', 'fp32', CPU, (48, 64)), ('4567', 'fp32', CPU, (48, 64)),
        ('0123', 'fp16', CPU, (48, 64)), ('0123', 'fp32', CPU, (64, 48)))}
    monkeypatch.setattr(torch, '__version__', '1.0')
    names.add(compiled.package_path('0123', 'fp32', CPU, (48, 64)).name)
    assert len(names) == 5


def loads(path, monkeypatch):
    """Whether the file's code would be run."""
    import torch._inductor

    monkeypatch.setattr(torch._inductor, 'aoti_load_package', lambda *_, **__: 'loaded')
    return load_package(path, CPU) == 'loaded'


def test_what_others_may_have_written_is_not_run(package, monkeypatch):
    assert loads(package, monkeypatch)
    for place, mode in ((package, 0o620), (package, 0o602), (package.parent, 0o777)):
        before = place.stat().st_mode
        place.chmod(mode)
        with pytest.raises(PackageError, match='somebody else'):
            loads(package, monkeypatch)
        place.chmod(before)
    monkeypatch.setattr(compiled.os, 'getuid', lambda: 12345)
    with pytest.raises(PackageError, match='somebody else'):
        loads(package, monkeypatch)


def test_a_link_is_not_followed(package, monkeypatch):
    elsewhere = package.with_name('elsewhere')
    package.rename(elsewhere)
    package.symlink_to(elsewhere)
    with pytest.raises(PackageError, match='somebody else'):
        loads(package, monkeypatch)


def test_what_was_altered_or_cut_off_is_not_run(package, monkeypatch):
    package.write_bytes(b'other code')
    with pytest.raises(PackageError, match='damaged'):
        loads(package, monkeypatch)
    package.with_suffix('.sha256').unlink()
    with pytest.raises(PackageError, match='damaged'):
        loads(package, monkeypatch)
    package.unlink()
    with pytest.raises(PackageError, match='there is no'):
        loads(package, monkeypatch)


def test_a_failed_compilation_is_one_sentence_and_leaves_nothing(
        cache, weights, monkeypatch, capsys):
    import torch._inductor

    def fail(*_, package_path, **__):
        open(package_path, 'w').close()
        raise RuntimeError('g++: not found\nand much more')

    monkeypatch.setattr(torch._inductor, 'aoti_compile_and_package', fail)
    assert cli.main(['compile', '--model', weights, '--device', 'cpu']) == 2
    assert capsys.readouterr().err.endswith('cannot be compiled here: g++: not found\n')
    assert not list(compiled.folder().iterdir())


def test_a_size_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(['compile', '--size', '640'])
    assert "'640' is not HEIGHTxWIDTH" in capsys.readouterr().err
