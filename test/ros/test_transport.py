# SPDX-License-Identifier: Apache-2.0
"""Which processes take the profile for large images, and under which name."""
from __future__ import annotations

import pytest

from depth_perception.ros import transport

OLD, NEW = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'


@pytest.fixture(autouse=True)
def roomy(monkeypatch, tmp_path):
    """A shared memory with room, whatever this machine has."""
    monkeypatch.setattr(transport, '_has_room', lambda: True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(('release', 'names'), [
    ('humble', {OLD}), ('jazzy', {OLD}), ('kilted', {NEW}), ('rolling', {NEW}), ('', {OLD, NEW})])
def test_each_release_gets_the_name_that_it_knows(release, names):
    environment = {'ROS_DISTRO': release}
    assert transport.prefer_large_shared_memory(environment)
    assert environment.keys() - {'ROS_DISTRO'} == names
    assert {environment[name] for name in names} == {str(transport.PROFILE)}


def test_another_process_that_publishes_large_images_gets_the_same():
    environment = {'ROS_DISTRO': 'jazzy', 'HOME': '/home/me'}
    assert transport.large_image_variables(environment) == {OLD: str(transport.PROFILE)}
    assert environment == {'ROS_DISTRO': 'jazzy', 'HOME': '/home/me'}
    assert transport.large_image_variables({OLD: 'mine'}) == {}


@pytest.mark.parametrize('name', [
    OLD, NEW, 'FASTDDS_BUILTIN_TRANSPORTS', 'ROS_DISCOVERY_SERVER'])
def test_what_the_user_has_chosen_stays(name):
    environment = {name: 'mine'}
    assert not transport.prefer_large_shared_memory(environment)
    assert environment == {name: 'mine'}


def test_profiles_of_the_working_directory_stay(tmp_path):
    (tmp_path / 'DEFAULT_FASTRTPS_PROFILES.xml').touch()
    assert not transport.prefer_large_shared_memory({})


def test_a_small_shared_memory_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(transport, 'SHARED_MEMORY', tmp_path / 'missing')
    assert not transport.prefer_large_shared_memory({})
