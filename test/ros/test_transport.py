# SPDX-License-Identifier: Apache-2.0
"""Selection of the Fast DDS profile for large images, and its variable name."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from depth_perception.ros import transport

OLD, NEW = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'


@pytest.fixture(autouse=True)
def roomy(monkeypatch, tmp_path):
    """Pretend that shared memory has enough room."""
    monkeypatch.setattr(transport, '_has_room', lambda: True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ('release', 'names'),
    [('humble', {OLD}), ('jazzy', {OLD}), ('kilted', {NEW}), ('rolling', {NEW}), ('', {OLD, NEW})],
)
def test_each_release_gets_its_variable_name(release, names):
    environment = {'ROS_DISTRO': release}
    assert transport.prefer_large_shared_memory(environment)
    assert environment.keys() - {'ROS_DISTRO'} == names
    assert {environment[name] for name in names} == {str(transport.PROFILE)}


def test_another_publisher_of_large_images_gets_the_same_variables():
    environment = {'ROS_DISTRO': 'jazzy', 'HOME': '/home/me'}
    assert transport.large_image_variables(environment) == {OLD: str(transport.PROFILE)}
    assert environment == {'ROS_DISTRO': 'jazzy', 'HOME': '/home/me'}
    assert transport.large_image_variables({OLD: 'mine'}) == {}


@pytest.mark.parametrize('name', [OLD, NEW, 'FASTDDS_BUILTIN_TRANSPORTS', 'ROS_DISCOVERY_SERVER'])
def test_choices_of_the_user_are_kept(name):
    environment = {name: 'mine'}
    assert not transport.prefer_large_shared_memory(environment)
    assert environment == {name: 'mine'}


def test_profiles_in_the_working_directory_are_kept(tmp_path):
    (tmp_path / 'DEFAULT_FASTRTPS_PROFILES.xml').touch()
    assert not transport.prefer_large_shared_memory({})


def test_a_camera_forgets_a_node_that_has_ended_sooner_than_by_default():
    shared_memory = ElementTree.parse(transport.PROFILE).find('.//{*}transport_descriptor')
    assert int(shared_memory.findtext('{*}segment_size')) == transport.SEGMENT
    # Much shorter, the reader of a busy machine would be taken for dead.
    assert 300 <= int(shared_memory.findtext('{*}healthy_check_timeout_ms')) < 1000


def test_nothing_is_changed_if_shared_memory_is_small(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(transport, 'SHARED_MEMORY', tmp_path / 'missing')
    assert not transport.prefer_large_shared_memory({})


CYCLONE = 'rmw_cyclonedds_cpp'
SIZED = '<SocketReceiveBufferSize max="10MB"/>'


@pytest.mark.parametrize(
    ('allowed', 'configuration', 'said'),
    [
        ('212992', '', ('rmem_max is 212992', 'no SocketReceiveBufferSize', 'docs/dds.md')),
        ('212992', SIZED, ('rmem_max is 212992',)),
        ('10000000', 'file', ()),
        ('2147483647', '', ('no SocketReceiveBufferSize',)),
        (None, SIZED, ()),
        ('much', SIZED, ()),
    ],
)
def test_small_buffers_of_cyclone_dds_are_told(monkeypatch, tmp_path, allowed, configuration, said):
    monkeypatch.setattr(transport, 'RMEM_MAX', tmp_path / 'rmem_max')
    if allowed is not None:
        (tmp_path / 'rmem_max').write_text(f'{allowed}\n')
    if configuration == 'file':
        (tmp_path / 'cyclone.xml').write_text(SIZED)
        configuration = f'file://{tmp_path}/no.xml,file://{tmp_path}/cyclone.xml'
    text = transport.buffer_problem(CYCLONE, {'CYCLONEDDS_URI': configuration})
    assert bool(text) == bool(said) and all(part in text for part in said), text


def test_a_shared_memory_without_room_for_fast_dds_is_told(monkeypatch):
    assert not transport.buffer_problem('rmw_fastrtps_cpp', {})
    monkeypatch.setattr(transport, '_has_room', lambda: False)
    assert '256 MB free' in transport.buffer_problem('rmw_fastrtps_cpp', {})
    assert not transport.buffer_problem('rmw_fastrtps_cpp', {NEW: 'mine'})
    assert not transport.buffer_problem('rmw_zenoh_cpp', {})
