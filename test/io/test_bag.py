# SPDX-License-Identifier: Apache-2.0
"""Reading rosbag2 folders without ROS."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import yaml

pytest.importorskip('rosbags', reason='the package rosbags is not installed')

from rosbags.rosbag2 import StoragePlugin

from depth_perception.io.bag import Bag, BagError
from test.support.bags import write_bag

PICTURES = [np.full((6, 8, 3), value, np.uint8) for value in (10, 20, 30)]
STORAGES = [StoragePlugin.SQLITE3, StoragePlugin.MCAP]


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('jpeg', [False, True])
def test_messages_are_read_in_order_and_complete(tmp_path, storage, jpeg):
    path = write_bag(tmp_path / 'bag', PICTURES, storage=storage, jpeg=jpeg)
    with Bag(path) as bag:
        image = bag.image_topic()
        assert image.name == '/camera/image_raw' + '/compressed' * jpeg and image.count == 3
        assert bag.camera_info_topic(image).name == '/camera/camera_info'
        assert bag.rate(image.name) == pytest.approx(20)
        messages = list(bag.messages([image.name]))
        assert [m.time for m in messages] == sorted(m.time for m in messages)
        if not jpeg:
            values = [bag.deserialize(m).data.reshape(6, 8, 3) for m in messages]
            np.testing.assert_array_equal(values, PICTURES)


def test_error_for_a_wrong_topic_lists_the_topics(tmp_path):
    path = write_bag(tmp_path / 'bag', PICTURES, storage=STORAGES[0], jpeg=False)
    with Bag(path) as bag, pytest.raises(BagError, match=r'/nope.*/camera/image_raw'):
        bag.image_topic('/nope')


def test_bag_without_camera_info(tmp_path):
    path = write_bag(tmp_path / 'bag', PICTURES, storage=STORAGES[0], jpeg=False, with_info=False)
    with Bag(path) as bag:
        assert bag.camera_info_topic(bag.image_topic()) is None


def _no_folder(path):
    return path / 'missing'


def _no_files(path):
    (path / 'metadata.yaml').unlink()
    next(path.glob('*.db3')).unlink()
    return path


def _other_file(path):
    return path / 'metadata.yaml'


def _no_yaml(path):
    (path / 'metadata.yaml').write_text('{[')
    return path


def _no_database(path):
    next(path.glob('*.db3')).unlink()
    return path


def _rubbish(path):
    next(path.glob('*.db3')).write_bytes(b'not a database' * 100)
    return path


def _cut(path):
    file = next(path.glob('*.db3'))
    file.write_bytes(file.read_bytes()[:5000])
    return path


@pytest.mark.parametrize(
    'fault', [_no_folder, _no_files, _other_file, _no_yaml, _no_database, _rubbish, _cut]
)
def test_damaged_bags_are_refused_in_one_sentence_with_their_name(tmp_path, fault):
    path = fault(write_bag(tmp_path / 'bag', PICTURES, storage=STORAGES[0], jpeg=False))
    with pytest.raises(BagError, match=str(tmp_path)) as caught, Bag(path) as bag:
        list(bag.messages(bag.topics))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('storage', STORAGES)
def test_one_file_and_a_folder_without_metadata_are_read_like_the_bag(tmp_path, storage):
    path = write_bag(tmp_path / 'bag', PICTURES, storage=storage, jpeg=False)
    with Bag(path) as bag:
        topics, messages = bag.topics, list(bag.messages(bag.topics))
    (path / 'metadata.yaml').unlink()
    for place in (path, next(path.iterdir())):
        with Bag(place) as bag:
            assert bag.topics == topics and list(bag.messages(bag.topics)) == messages


def test_files_of_a_folder_without_metadata_are_one_recording(tmp_path):
    for name, start in (('a', 0), ('b', 10)):
        part = write_bag(tmp_path / name, PICTURES, storage=STORAGES[1], jpeg=False, start=start)
        (tmp_path / 'whole').mkdir(exist_ok=True)
        next(part.glob('*.mcap')).rename(tmp_path / 'whole' / f'{name}.mcap')
    with Bag(tmp_path / 'whole') as bag:
        assert bag.image_topic().count == 6
        times = [message.time for message in bag.messages([bag.image_topic().name])]
        assert len(times) == 6 and times == sorted(times)


@pytest.mark.parametrize('storage', STORAGES)
def test_images_are_read_despite_unknown_definitions_or_metadata_without_qos(tmp_path, storage):
    from rosbags.rosbag2 import Writer

    from depth_perception.io.bag_writer import _latched
    from test.support import bags

    path = tmp_path / 'bag'
    with Writer(path, version=9, storage_plugin=storage) as writer:
        images = writer.add_connection(
            '/image', bags.IMAGE, typestore=bags.STORE, offered_qos_profiles=[_latched()]
        )
        odd = writer.add_connection(
            '/odd', 'my_msgs/msg/Odd', msgdef='@@ no definition {{\n', rihs01='RIHS01_00'
        )
        message = bags.STORE.serialize_cdr(bags.image(bags.START, PICTURES[0]), bags.IMAGE)
        writer.write(images, bags.START, message)
        writer.write(odd, bags.START, b'\0\1\0\0')
    metadata = yaml.safe_load((path / 'metadata.yaml').read_text())
    for topic in metadata['rosbag2_bagfile_information']['topics_with_message_count']:
        topic['topic_metadata']['offered_qos_profiles'] = ''
    (path / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    with Bag(path) as bag:
        assert len(list(bag.messages(bag.topics))) == 2
        assert bag.topics['/image'].transient_local, 'as the file says'
        first = bag.deserialize(next(bag.messages(['/image'])))
        np.testing.assert_array_equal(first.data.reshape(6, 8, 3), PICTURES[0])


def test_a_bag_of_ros_1_is_refused_with_the_command_that_converts_it(tmp_path):
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0')
    with pytest.raises(BagError, match=r'ROS 1: convert it first, with rosbags-convert'):
        Bag(tmp_path / 'old.bag')


def _write_images(path, kinds):
    """Write one message per topic with an encoding, or the format of a compressed image."""
    from rosbags.rosbag2 import Writer

    from test.support import bags

    with Writer(path, version=9, storage_plugin=STORAGES[0]) as writer:
        for topic, (kind, change) in kinds.items():
            make = bags.compressed if kind == bags.COMPRESSED else bags.image
            message = dataclasses.replace(make(bags.START, PICTURES[0]), **change)
            connection = writer.add_connection(topic, kind, typestore=bags.STORE)
            writer.write(connection, bags.START, bags.STORE.serialize_cdr(message, kind))
    return path


DEPTHS = {
    '/depth/image_rect_raw/compressedDepth': ('compressed', {'format': '16UC1; compressedDepth'}),
    '/renamed': ('compressed', {'format': '16UC1; compressedDepth png'}),
    '/metres': ('raw', {'encoding': '32FC1'}),
    '/camera/depth/image_raw': ('raw', {'encoding': '16UC1'}),
}


@pytest.mark.parametrize('topic', DEPTHS)
def test_a_bag_with_only_depth_has_no_camera(tmp_path, topic):
    from test.support import bags

    kind, change = DEPTHS[topic]
    kind = bags.COMPRESSED if kind == 'compressed' else bags.IMAGE
    path = _write_images(tmp_path / 'bag', {topic: (kind, change)})
    for wanted in (None, topic):
        with Bag(path) as bag, pytest.raises(BagError, match=f'{topic} holds depth'):
            bag.image_topic(wanted)


def test_depth_topics_are_ignored_and_infrared_is_a_camera(tmp_path):
    from test.support import bags

    path = _write_images(
        tmp_path / 'bag',
        {
            '/color/compressedDepth': (bags.COMPRESSED, {'format': '16UC1; compressedDepth'}),
            '/infra1/image_rect_raw': (bags.IMAGE, {'encoding': 'mono16'}),
        },
    )
    with Bag(path) as bag:
        assert [topic.name for topic in bag.image_topics()] == ['/infra1/image_rect_raw']


def test_a_truncated_mcap_is_refused(tmp_path):
    path = write_bag(tmp_path / 'bag', PICTURES, storage=STORAGES[1], jpeg=False)
    file = next(path.glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(BagError), Bag(path) as bag:
        list(bag.messages(bag.topics))


def test_an_empty_bag_is_refused(tmp_path):
    path = write_bag(tmp_path / 'bag', [], storage=STORAGES[0], jpeg=False)
    with pytest.raises(BagError, match='no messages'):
        Bag(path)


def test_the_colour_image_is_preferred(tmp_path):
    from rosbags.rosbag2 import Writer

    from test.support import bags

    with Writer(tmp_path / 'bag', version=9, storage_plugin=STORAGES[0]) as writer:
        for topic in ('/camera/depth/image_rect_raw', '/camera/color/image_raw', '/camera/infra1'):
            connection = writer.add_connection(topic, bags.IMAGE, typestore=bags.STORE)
            message = bags.STORE.serialize_cdr(bags.image(bags.START, PICTURES[0]), bags.IMAGE)
            writer.write(connection, bags.START, message)
    with Bag(tmp_path / 'bag') as bag:
        assert bag.image_topic().name == '/camera/color/image_raw'


def test_the_bundled_bag_has_ground_truth_for_each_frame():
    from pathlib import Path

    path = Path(__file__).parents[2] / 'data' / 'clip_bag'
    with Bag(path) as bag:
        stamps = [m.time for m in bag.messages([bag.image_topic().name])]
    truths = sorted(int(file.stem) for file in (path / 'truth').glob('*.png'))
    assert stamps == truths and len(stamps) == 40
