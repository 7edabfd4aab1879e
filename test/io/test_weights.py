# SPDX-License-Identifier: Apache-2.0
"""The weights file: exact round trips, and refusal of all other files."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import random
import re
import resource

import numpy as np
import pytest
import torch
from safetensors.torch import load, save, save_file
from torch import nn

from depth_perception.io.weights import (
    _ADDED,
    WeightsError,
    WeightsInfo,
    load_weights,
    save_weights,
)
from depth_perception.networks.registry import register_network
from test.support.weights import tiny_info, tiny_network

REMEDY = 'use a .safetensors file written by depth_perception, or name none for the bundled network'


def two_numbers() -> nn.Module:
    """A network whose file is small enough to alter each byte in turn."""
    return nn.Conv2d(1, 1, 1)


@pytest.fixture(autouse=True, scope='module')
def registered():
    """Register the network only while tests run: other tests collect all names as parameters."""
    register_network('two_numbers')(two_numbers)


@pytest.fixture
def small_file(tmp_path):
    """A weights file with two parameters."""
    path = tmp_path / 'small.safetensors'
    save_weights(path, two_numbers(), tiny_info(network='two_numbers', network_arguments={}))
    return path


def refusal(path):
    """Return the error for a file, after checking what every such error must have."""
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    text = str(caught.value)
    assert text.startswith(f'cannot use weights {path}: ') and text.endswith(f'; {REMEDY}')
    assert '\n' not in text and '. ' not in text.replace(str(path), '')
    assert text.count(REMEDY) == 1
    return text


def rewritten(path, change):
    """Rewrite the file with changed metadata and a valid checksum."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
    info = json.loads(header['__metadata__']['depth_perception'])
    change(info)
    rewrite_raw(path, json.dumps(info))


def rewrite_raw(path, text):
    """Rewrite the file with another metadata text and its valid checksum."""
    from depth_perception.io.weights import _checksum

    tensors = load(path.read_bytes())
    checksum = _checksum(save(tensors, {'depth_perception': text}))
    path.write_bytes(save(tensors, {'depth_perception': text, 'checksum': checksum}))


def test_round_trip_keeps_every_bit_and_all_metadata(tmp_path):
    network, path = tiny_network(), tmp_path / 'w.safetensors'
    checksum = save_weights(path, network, tiny_info())
    loaded = load_weights(path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name])
    assert loaded.info == tiny_info()
    assert loaded.checksum == checksum and re.fullmatch('[0-9a-f]{64}', checksum)
    assert loaded.path == path


def test_a_loaded_network_is_ready_for_inference(tmp_path):
    save_weights(tmp_path / 'w.safetensors', tiny_network(), tiny_info(), torch.float16)
    network = load_weights(tmp_path / 'w.safetensors').network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_fp16_halves_the_file_and_rounds_each_value_once(tmp_path):
    network = tiny_network()
    save_weights(tmp_path / 'full', network, tiny_info())
    save_weights(tmp_path / 'half', network, tiny_info(), torch.float16)
    assert os.path.getsize(tmp_path / 'half') < 0.6 * os.path.getsize(tmp_path / 'full')
    loaded = load_weights(tmp_path / 'half').network.state_dict()
    for name, tensor in network.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(expected, loaded[name])


def test_the_same_network_has_the_same_checksum_and_another_has_another(tmp_path):
    first, again, other = (
        save_weights(tmp_path / 'w', tiny_network(seed), tiny_info()) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_missing_file(tmp_path):
    assert 'there is no such file' in refusal(tmp_path / 'none.safetensors')


def test_folder(tmp_path):
    assert 'it is a folder' in refusal(tmp_path)


def test_names_that_no_file_can_have(tmp_path):
    assert 'cannot be read' in refusal(tmp_path / ('x' * 300))
    assert 'cannot be read' in refusal(tmp_path / 'a\0b')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read every file')
def test_file_without_permission(small_file):
    small_file.chmod(0)
    assert 'Permission denied' in refusal(small_file)


def test_truncated_at_every_length(small_file):
    content = small_file.read_bytes()
    for length in range(len(content)):
        small_file.write_bytes(content[:length])
        refusal(small_file)


def test_truncated_real_network(tmp_path):
    path = tmp_path / 'w.safetensors'
    save_weights(path, tiny_network(), tiny_info(), torch.float16)
    content = path.read_bytes()
    for part in (0.01, 0.1, 0.5, 0.9, 0.9999):
        path.write_bytes(content[: int(len(content) * part)])
        refusal(path)


def test_bytes_added_at_the_end(small_file):
    small_file.write_bytes(small_file.read_bytes() + b'\0')
    assert 'checksum' in refusal(small_file)


def test_a_single_altered_byte_anywhere(small_file):
    content = small_file.read_bytes()
    random.seed(0)
    for position in range(len(content)):
        # 0x20 turns letters into the other case; 0x29 turns a space of padding into a tab.
        for flip in (0x20, 0x29, random.randrange(1, 256)):
            altered = bytearray(content)
            altered[position] ^= flip
            small_file.write_bytes(altered)
            refusal(small_file)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / 'foreign.safetensors'
    save_file({'weight': torch.zeros(3)}, path)
    assert 'of another program' in refusal(path)
    save_file({'weight': torch.zeros(3)}, path, {'format': 'pt'})
    assert 'of another program' in refusal(path)


class Malicious:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('/tmp/depth_perception_pickle_was_run',)


@pytest.mark.parametrize(
    'write',
    [
        lambda path: torch.save({'weight': torch.zeros(3)}, path),
        lambda path: torch.save({'w': torch.zeros(3)}, path, _use_new_zipfile_serialization=False),
        lambda path: path.write_bytes(pickle.dumps(Malicious())),
    ],
    ids=['torch zip', 'torch legacy', 'raw pickle'],
)
def test_pickles_are_named_and_never_run(tmp_path, write):
    path = tmp_path / 'w.pt'
    write(path)
    assert 'pickle' in refusal(path)
    assert not os.path.exists('/tmp/depth_perception_pickle_was_run')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'\x89HDF\r\n\x1a\n' + bytes(100), 'HDF5'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n', 'Git LFS pointer'),
        (b'', 'truncated or not a safetensors file'),
        (b'{}', 'truncated or not a safetensors file'),
        ((2).to_bytes(8, 'little') + b'[]', 'not a safetensors file'),
        ((2).to_bytes(8, 'little') + b'{}', 'of another program'),
        ((9**5).to_bytes(8, 'little') + b'[' * 9**5, 'not a safetensors file'),
        (b'<!DOCTYPE html><html>404</html>', 'truncated or not a safetensors file'),
    ],
    ids=['hdf5', 'lfs', 'empty', 'two bytes', 'list', 'empty header', 'deep', 'html'],
)
def test_other_files(tmp_path, content, said):
    path = tmp_path / 'w.safetensors'
    path.write_bytes(content)
    assert said in refusal(path)


def test_random_bytes(tmp_path):
    path, rng = tmp_path / 'w.safetensors', np.random.default_rng(0)
    for _ in range(200):
        path.write_bytes(rng.bytes(int(rng.integers(1, 300))))
        refusal(path)


def test_newer_format_version_says_to_update(small_file):
    rewritten(small_file, lambda info: info.update(format_version=2))
    text = refusal(small_file)
    assert 'format version is 2' in text and 'update depth_perception' in text


def test_unknown_network_names_the_value(small_file):
    rewritten(small_file, lambda info: info.update(network='tomorrow'))
    assert "network = 'tomorrow'" in refusal(small_file)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'encoder': 'no_such_encoder'}, 'no_such_encoder'),
        ({'colour': 1}, 'does not take'),
        ({'encoder': ['a']}, 'network_arguments'),
        ({'encoder': 'test_efficientnet', 'max_depth': 'far'}, 'max_depth'),
    ],
)
def test_unusable_network_arguments(small_file, arguments, said):
    rewritten(
        small_file,
        lambda info: info.update(network='efficientnet_sff', network_arguments=arguments),
    )
    assert said in refusal(small_file)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda tensors: tensors.update(weight=torch.zeros(2, 1, 1, 1)), 'weight is (2, 1, 1, 1)'),
        (lambda tensors: tensors.pop('bias'), 'bias is absent in the file'),
        (lambda tensors: tensors.update(more=torch.zeros(1)), 'more is (1,) in the file, absent'),
        (
            lambda tensors: tensors.update(bias=torch.tensor([float('nan')])),
            'bias has values that are',
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(small_file, change, said):
    from depth_perception.io.weights import _checksum

    tensors = load(small_file.read_bytes())
    change(tensors)
    text = json.dumps(dataclasses.asdict(tiny_info(network='two_numbers', network_arguments={})))
    checksum = _checksum(save(tensors, {'depth_perception': text}))
    small_file.write_bytes(save(tensors, {'depth_perception': text, 'checksum': checksum}))
    assert said in refusal(small_file)


@pytest.mark.parametrize(
    'name', [field.name for field in dataclasses.fields(WeightsInfo) if field.name not in _ADDED]
)
def test_each_missing_metadata_field_is_named(small_file, name):
    rewritten(small_file, lambda info: info.pop(name))
    assert ('format version is None' if name == 'format_version' else f'lacks {name}') in refusal(
        small_file
    )


def test_files_of_earlier_versions_lack_some_fields_and_are_read(small_file):
    def older(info):
        for name in _ADDED:
            del info[name]

    rewritten(small_file, older)
    info = load_weights(small_file).info
    assert (info.recipe_name, info.origin, info.test_geometry) == ('', '', 'squeeze')


WRONG = {
    'none': None,
    'list': [],
    'object': {'a': []},
    'true': True,
    'text': 'x',
    'nan': float('nan'),
    'negative': -1,
}
RIGHT = {
    ('training_data', 'text'),
    ('licence', 'text'),
    ('name', 'text'),
    ('recipe', 'text'),
    ('recipe_name', 'text'),
    ('test_geometry', 'text'),
    ('model_card', 'text'),
    ('scores', 'list'),
}


@pytest.mark.parametrize(
    ('name', 'wrong'),
    [
        (field.name, wrong)
        for field in dataclasses.fields(WeightsInfo)
        for wrong in WRONG
        if (field.name, wrong) not in RIGHT
    ],
)
def test_each_metadata_field_of_a_wrong_type_is_named(small_file, name, wrong):
    rewritten(small_file, lambda info: info.update({name: WRONG[wrong]}))
    assert re.search(name.replace('_', '[ _]'), refusal(small_file))


def test_unknown_metadata_field_is_named(small_file):
    rewritten(small_file, lambda info: info.update(colour='red'))
    assert 'unknown entries: colour' in refusal(small_file)


@pytest.mark.parametrize('text', ['[]', 'null', '{', '"text"'])
def test_metadata_that_is_not_an_object(small_file, text):
    rewrite_raw(small_file, text)
    assert 'metadata is not' in refusal(small_file)


def test_depth_range_must_not_be_empty():
    with pytest.raises(WeightsError, match=r'min_depth 5\.0 is not below max_depth 5\.0'):
        tiny_info(min_depth=5.0, max_depth=5.0)


def test_training_focal_length_scales_with_the_width():
    assert tiny_info().focal_length_at(64) == 50.0


def test_a_value_too_large_for_fp16_is_refused_when_saving(tmp_path):
    network = two_numbers()
    network.bias.data[:] = 1e6
    with pytest.raises(WeightsError, match=r'bias has values .* float16'):
        save_weights(tmp_path / 'w', network, tiny_info(), torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file_intact(small_file):
    before = small_file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk: writing fails half way.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError):
            save_weights(small_file, tiny_network(), tiny_info())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert small_file.read_bytes() == before
    assert list(small_file.parent.iterdir()) == [small_file]


def test_saving_into_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_weights(tmp_path / 'none' / 'w', two_numbers(), tiny_info())


def test_a_network_in_use_does_not_depend_on_its_file(tmp_path):
    path = tmp_path / 'net.safetensors'
    save_weights(path, tiny_network(), tiny_info())
    network = load_weights(path).network
    image = torch.zeros(1, 3, 48, 64)
    before = network(image)
    os.truncate(path, 0)  # access to a mapped file would now end the process with SIGBUS
    assert torch.equal(network(image), before)


def test_an_unknown_network_lists_those_that_are_known():
    with pytest.raises(WeightsError, match=r"network = 'dream'.*it knows cnn, .*resnet_unet"):
        tiny_info(network='dream')
