# SPDX-License-Identifier: Apache-2.0
"""`depth-perception import-model owner/name`, with a small server for the hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_perception.cli.main import main
from depth_perception.io.weights import load_weights
from test.support.hub_server import Hub, Repository, folder_files, serving
from test.support.hugging_face import transformers, write
from test.support.processes import hears_signals
from test.support.waiting import wait_until

pytest.importorskip('huggingface_hub', reason='pip install "depth_perception[hub]"')
ROOT = Path(__file__).parents[2]
#: Larger than what huggingface_hub receives before it writes (10 MiB): what an interruption keeps.
PADDING = 12_000_000
CARD = b'---\nlicense: apache-2.0\n---\n# A network\n'
#: Runs command lines in one process, which imports for seconds; each ends with its exit code.
RUN = """
import json, os, sys
from depth_perception.cli.main import main
if limit := os.environ.get('LARGEST_FILE'):  # writing more fails, as on a full disk
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
for words in json.loads(sys.argv[1]):
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    print(f'=== {code}', file=sys.stderr, flush=True)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A network in the Hugging Face layout; a tensor that it does not need makes it large."""
    from safetensors.torch import load_file, save_file

    folder = write('glpn', tmp_path_factory.mktemp('hub') / 'net')
    tensors = load_file(folder / 'model.safetensors')
    tensors['padding'] = torch.randint(0, 255, (PADDING,), dtype=torch.uint8)
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})
    (folder / 'README.md').write_bytes(CARD)
    return folder


@pytest.fixture(scope='module')
def files(folder):
    return folder_files(folder)


@pytest.fixture(scope='module')
def small(files):
    """The same files without the weights."""
    return {name: content for name, content in files.items() if 'safetensors' not in name}


@pytest.fixture(scope='module')
def parts(folder, tmp_path_factory):
    """The same network with its weights in three files."""
    parts = tmp_path_factory.mktemp('parts') / 'net'
    model = transformers.AutoModelForDepthEstimation.from_pretrained(folder)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    model.save_pretrained(parts, max_shard_size=size // 2)
    assert len(list(parts.glob('*.safetensors'))) == 3
    for name in ('preprocessor_config.json', 'README.md'):
        shutil.copy(folder / name, parts)
    return parts


@pytest.fixture
def hub():
    with serving() as hub:
        yield hub


@pytest.fixture
def no_network(monkeypatch):
    """A block in which whoever opens a socket fails."""

    @contextmanager
    def block():
        def refuse(*_):
            raise AssertionError('a socket was opened')

        with monkeypatch.context() as patch:
            for name in ('socket', 'create_connection', 'getaddrinfo'):
                patch.setattr(socket, name, refuse)
            yield

    return block


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'hf_home'


def environment(hub: Hub, cache: Path, **more: str) -> dict[str, str]:
    """The user's environment with this hub and this cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith('HF_')}
    no_proxy = {'NO_PROXY': '127.0.0.1,localhost', 'no_proxy': '127.0.0.1,localhost'}
    ours = {'HF_ENDPOINT': hub.endpoint, 'HF_HOME': str(cache), 'PYTHONPATH': str(ROOT)}
    return {**kept, **no_proxy, **ours, **more}


def run(
    lines: list[list[str]],
    hub: Hub,
    cache: Path,
    program: tuple[str, ...] = ('import-model',),
    **more: str,
) -> list[tuple[str, str]]:
    """Run command lines; return exit code and standard error of each."""
    done = subprocess.run(
        [sys.executable, '-c', RUN, json.dumps([[*program, *words] for words in lines])],
        cwd=cache.parent,
        env=environment(hub, cache, **more),
        capture_output=True,
        text=True,
        timeout=300,
    )
    parts = re.split(r'=== (.*)\n', done.stderr)
    assert len(parts) == 2 * len(lines) + 1, done.stderr
    return list(zip(parts[1::2], parts[::2]))


def imported(name: str, out: Path, hub: Hub, cache: Path, *words: str, **more: str):
    """Run the command as its user does."""
    program = [sys.executable, '-m', 'depth_perception.cli.main']
    return subprocess.run(
        [*program, 'import-model', name, '--out', str(out), *words],
        cwd=cache.parent,
        env=environment(hub, cache, **more),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_network_is_downloaded_checked_and_used_without_a_network(
    hub, cache, files, tmp_path, no_network
):
    commit = 'b' * 40
    unwanted = {'pytorch_model.bin': b'x', 'model.fp16.safetensors': b'x', 'net.py': b'x'}
    hub.repositories['maker/net'] = Repository(
        {**files, **unwanted}, {'main': 'a' * 40, 'refs/pr/1': commit}
    )
    # The commit that the revision was before; a second name shows whether its file is overwritten.
    reference = cache / 'hub' / 'models--maker--net' / 'refs' / 'refs' / 'pr' / '1'
    reference.parent.mkdir(parents=True)
    reference.write_text('c' * 40)
    (tmp_path / 'before').hardlink_to(reference)
    out = tmp_path / 'net.safetensors'
    done = imported('maker/net', out, hub, cache, '--revision', 'refs/pr/1', HF_TOKEN='hf_secret')
    assert done.returncode == 0, done.stderr
    for name, content in files.items():
        assert f'sha256 {hashlib.sha256(content).hexdigest()}  {name}, ' in done.stdout
    assert f'commit {commit}: as the hub announces' in done.stdout
    assert not [one for one in hub.requests if one.path.rpartition('/')[2] in unwanted]
    assert {one.path.split('/')[1] for one in hub.requests} == {'api', 'maker', 'cdn'}
    assert {one.path for one in hub.requests if one.path.startswith('/api')} == {
        '/api/models/maker/net/revision/refs/pr/1'
    }
    by_host = {one.host.partition(':')[0]: one.token for one in hub.requests}
    assert by_host == {'127.0.0.1': 'Bearer hf_secret', 'localhost': None}
    with no_network():
        info = load_weights(out).info
    assert (info.name, info.licence) == ('maker/net', 'apache-2.0')
    assert info.model_card == f'{hub.endpoint}/maker/net/tree/{commit}'
    assert info.recipe == f'depth-perception import-model maker/net --revision {commit}'
    assert reference.read_text() == commit and (tmp_path / 'before').read_text() == 'c' * 40
    assert [file.name for file in reference.parent.iterdir()] == ['1']
    # The hub's own programs find the download.
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    found = try_to_load_from_cache('maker/net', 'config.json', cache / 'hub', 'refs/pr/1')
    assert Path(found).read_bytes() == files['config.json']
    assert not scan_cache_dir(cache / 'hub').warnings


def test_an_interrupted_download_is_resumed(hub, cache, files, tmp_path):
    repository = Repository(files, drop_after=11_000_000)
    hub.repositories['maker/net'], out = repository, tmp_path / 'net.safetensors'
    broken = imported('maker/net', out, hub, cache)
    assert broken.returncode == 2 and not out.exists()
    last = broken.stderr.strip().splitlines()[-1]
    assert 'was interrupted' in last and 'the same command resumes it' in last
    repository.drop_after = None
    before = len(hub.downloads('model.safetensors'))
    done = imported('maker/net', out, hub, cache)
    assert done.returncode == 0, done.stderr
    asked = [one.range for one in hub.downloads('model.safetensors')[before:]]
    assert asked and set(asked) == {'bytes=10485760-'}
    assert hashlib.sha256(files['model.safetensors']).hexdigest() in done.stdout
    assert load_weights(out).info.licence == 'apache-2.0'
    assert not list(cache.rglob('*.incomplete'))


def test_ctrl_c_keeps_what_was_downloaded(hub, cache, files, tmp_path):
    hub.repositories['maker/net'] = Repository(files, drop_after=11_000_000, stall=True)
    out = tmp_path / 'net.safetensors'
    program = [sys.executable, '-m', 'depth_perception.cli.main', 'import-model', 'maker/net']
    child = subprocess.Popen(
        [*program, '--out', str(out)],
        env=environment(hub, cache),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_signals,
    )
    try:
        assert hub.stalled.wait(120)
        wait_until(lambda: sum(path.stat().st_size for path in cache.rglob('*.incomplete')))
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 130 and not out.exists(), said
    assert 'Traceback' not in said and 'the same command goes on from there' in said
    (partial,) = cache.rglob('*.incomplete')
    assert partial.read_bytes() == files['model.safetensors'][: partial.stat().st_size]


def test_without_a_connection_the_cache_is_used(hub, cache, files, parts, tmp_path):
    hub.repositories['maker/net'] = Repository(files)
    hub.repositories['maker/parts'] = Repository(folder_files(parts))
    out, out_of_parts = tmp_path / 'net.safetensors', tmp_path / 'parts.safetensors'
    lines = [
        ['maker/net', '--out', str(out)],
        ['maker/parts', '--out', str(out_of_parts)],
        ['maker/other', '--out', str(out)],
    ]
    assert [code for code, _ in run(lines[:2], hub, cache)] == ['0', '0']
    asked = len(hub.requests)
    checksums = [load_weights(path).checksum for path in (out, out_of_parts)]
    # Offline by the user's wish.
    *found, (code, said) = run(lines, hub, cache, HF_HUB_OFFLINE='1')
    for one in found:
        assert one[0] == '0' and 'HF_HUB_OFFLINE is set: taking what was downloaded' in one[1]
    assert [load_weights(path).checksum for path in (out, out_of_parts)] == checksums
    assert code == '2' and said.count('\n') == 1 and len(hub.requests) == asked
    assert 'maker/other cannot be downloaded: HF_HUB_OFFLINE is set' in said
    # Offline because nobody answers, with a damaged file in the cache.
    (blob,) = cache.rglob('blobs/' + hashlib.sha256(files['model.safetensors']).hexdigest())
    blob.write_bytes(files['model.safetensors'][:-1] + b'\0')
    gone = Hub()
    gone.endpoint = 'http://127.0.0.1:9'
    damaged, missing = run([lines[0], lines[2]], gone, cache)
    assert damaged[0] == '2' and 'model.safetensors is not what the hub announces' in damaged[1]
    assert missing[0] == '2' and missing[1].count('\n') == 1
    assert 'http://127.0.0.1:9 cannot be reached' in missing[1]


def test_what_is_refused_is_one_sentence(hub, cache, files, small, parts, tmp_path):
    config = json.loads(small['config.json'])
    language = {**files, 'config.json': json.dumps({**config, 'model_type': 'bert'}).encode()}
    named = {**files, 'preprocessor_config.json': b'{"image_processor_type": "Other"}'}
    shards, second = folder_files(parts), 'model-00002-of-00003.safetensors'
    hub.repositories = {
        'maker/net': Repository(files),
        'maker/wrong': Repository(shards, announced={second: 'e' * 64}),
        'maker/card': Repository(shards, announced={'README.md': 'e' * 40}),
        'maker/gated': Repository(files, gated=True),
        'maker/pickle': Repository({**small, 'pytorch_model.bin': b'x'}),
        'maker/bare': Repository({'depth.pth': b'x', 'README.md': b''}),
        'maker/language': Repository(language),
        'maker/other': Repository(named),
        'maker/portal': Repository(files, listing=b'<html>log in first</html>'),
        'maker/bare-list': Repository(files, listing=b'{"id": "maker/bare-list"}'),
    }
    (tmp_path / 'maker' / 'here').mkdir(parents=True)
    (tmp_path / 'file').touch()
    out = str(tmp_path / 'net.safetensors')
    cases = [
        ('maker/unknown', 'there is neither a folder maker/unknown here nor such a network on'),
        ('maker/net --revision v9', 'maker/net has no revision v9'),
        ('maker/gated', 'maker/gated is gated: accept its conditions on'),
        ('maker/pickle', 'has no model.safetensors; pytorch_model.bin is a pickle'),
        ('maker/bare', 'it has no config.json on the hub'),
        ('maker/language', "maker/language cannot be imported: its model_type is 'bert'"),
        ('maker/other', "preprocessor_config.json is for 'Other'"),
        ('maker/portal', 'does not answer like a Hugging Face hub'),
        ('maker/bare-list', 'does not answer like a Hugging Face hub'),
        ('maker/net --revision ../../v1', '--revision ../../v1 is no branch, tag or commit'),
        ('maker--x/net', 'maker--x/net is no name on the hub'),
        ('https://huggingface.co/maker/net/tree/main', 'name the network as maker/net'),
        ('a/b/c', 'does not have the form owner/name'),
        ('dpt-large', 'of a network on the hub: do you mean Intel/dpt-large?'),
        ('maker', 'there is no config.json'),
        ('file', 'file is a file: name the folder'),
        ('net.pth', 'net.pth is a pickle'),
        ('maker/here --revision main', '--revision main is for a network on the hub'),
        ('maker/net --out file/net.safetensors', 'is a file, not a folder'),
        ('maker/wrong', f'{second} is not what the hub announces'),
        ('maker/card', 'README.md is not what the hub announces'),
    ]
    full_disk = ('maker/net', 'HF_HOME names another folder for downloads')
    lines = [
        [*words.split(), *(['--out', out] * ('--out' not in words))]
        for words, _ in (*cases, full_disk)
    ]
    done = run(lines, hub, cache, LARGEST_FILE='1000000')
    for (words, expected), (code, said) in zip((*cases, full_disk), done):
        said = re.sub(r'import-model: downloading .* from http://.*\n', '', said)
        assert code == '2' and said.count('\n') == 1, (words, said)
        assert expected in said, (words, said)
    asked = [one.path for one in hub.requests if one.path.startswith('/cdn/')]
    assert not [path for path in asked if path.split('/')[3] not in ('net', 'wrong')]
    assert not list(tmp_path.glob('*.safetensors'))
    assert not list(cache.rglob('e' * 40 + '*'))  # what was wrong
    (partial,) = cache.rglob('*.incomplete')
    assert partial.stat().st_size == 1_000_000


def test_a_folder_wins_over_the_hub(folder, tmp_path, monkeypatch, capsys, no_network):
    (tmp_path / 'maker').mkdir()
    (tmp_path / 'maker' / 'net').symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    with no_network():
        assert main(['import-model', 'maker/net', '--out', 'net.safetensors']) == 0
    assert 'taking the folder maker/net, not the hub' in capsys.readouterr().err


def test_weights_in_several_files(folder, parts, tmp_path, capsys):
    out, missing = tmp_path / 'net.safetensors', tmp_path / 'missing'
    assert main(['import-model', str(parts), '--out', str(out)]) == 0
    found = load_weights(out).network.model.state_dict()
    origin = transformers.AutoModelForDepthEstimation.from_pretrained(folder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in origin.items())
    shutil.copytree(parts, missing)
    (missing / 'model-00002-of-00003.safetensors').unlink()
    capsys.readouterr()
    assert main(['import-model', str(missing), '--out', str(tmp_path / 'none.safetensors')]) == 2
    assert 'there is no model-00002-of-00003.safetensors' in capsys.readouterr().err


def test_the_commands_of_the_page_lead_to_a_network_that_predicts(hub, tmp_path):
    page = (ROOT / 'docs' / 'networks.md').read_text()
    lines = re.search(r'```bash\n(.*?)```', page, re.DOTALL)[1].splitlines()
    words = [line.partition(' #')[0].split() for line in lines]
    install, models, download, predict, demo, launch = words
    assert install[:2] == ['pip', 'install'] and launch[:2] == ['ros2', 'launch']
    assert demo == ['scripts/demo', '--model', predict[predict.index('--model') + 1]]
    network = write('depth_anything_metric', tmp_path / 'net')
    hub.repositories[download[2]] = Repository(folder_files(network))
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.full((96, 128, 3), 90, np.uint8))
    lines = [words[1:] for words in (models, download, predict)]
    assert all(words[0] == 'depth-perception' for words in (models, download, predict))
    done = run(lines, hub, tmp_path / 'hf_home', program=())
    assert [code for code, _ in done] == ['0'] * 3, done
    assert (tmp_path / 'results' / 'photo_depth.png').exists()
    file = next(word for word in launch if word.startswith('model:=')).removeprefix('model:=$PWD/')
    assert load_weights(tmp_path / file).info.name == download[2]
