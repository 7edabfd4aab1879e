# SPDX-License-Identifier: Apache-2.0
"""Write small bags with an independent library."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
START = 1_700_000_000_000_000_000
IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
INFO, TF = 'sensor_msgs/msg/CameraInfo', 'tf2_msgs/msg/TFMessage'


def header(stamp: int, frame_id: str = 'camera_optical_frame'):
    time = STORE.types['builtin_interfaces/msg/Time'](*divmod(stamp, 10**9))
    return STORE.types['std_msgs/msg/Header'](stamp=time, frame_id=frame_id)


def image(stamp: int, rgb: np.ndarray):
    height, width = rgb.shape[:2]
    return STORE.types[IMAGE](
        header=header(stamp),
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=0,
        step=3 * width,
        data=rgb.ravel(),
    )


def compressed(stamp: int, rgb: np.ndarray):
    data = cv2.imencode('.jpg', rgb[..., ::-1])[1].ravel()
    return STORE.types[COMPRESSED](header=header(stamp), format='jpeg', data=data)


def info(stamp: int, width: int, height: int):
    k = np.array([0.8 * width, 0, width / 2, 0, 0.8 * width, height / 2, 0, 0, 1.0])
    p = np.insert(k, [3, 6, 9], 0.0)
    region = STORE.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    return STORE.types[INFO](
        header=header(stamp),
        height=height,
        width=width,
        distortion_model='plumb_bob',
        d=np.zeros(5),
        k=k,
        r=np.eye(3).ravel(),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def write_bag(
    path: Path,
    pictures: list[np.ndarray],
    *,
    storage: StoragePlugin,
    jpeg: bool,
    hz: float = 20.0,
    with_info: bool = True,
    topic: str = '/camera/image_raw',
    start: int = 0,
) -> Path:
    """Write a bag of images (H, W, 3) and their camera_info; start in seconds after START."""
    kind, make = (COMPRESSED, compressed) if jpeg else (IMAGE, image)
    with Writer(path, version=9, storage_plugin=storage) as writer:
        images = writer.add_connection(topic + '/compressed' * jpeg, kind, typestore=STORE)
        infos = (
            writer.add_connection('/camera/camera_info', INFO, typestore=STORE)
            if with_info
            else None
        )
        for index, rgb in enumerate(pictures):
            stamp = START + start * 10**9 + round(index * 1e9 / hz)
            writer.write(images, stamp, STORE.serialize_cdr(make(stamp, rgb), kind))
            if infos is not None:
                message = info(stamp, rgb.shape[1], rgb.shape[0])
                writer.write(infos, stamp, STORE.serialize_cdr(message, INFO))
    return path


def transform(stamp: int, parent: str, child: str) -> bytes:
    """Return a serialized tf2_msgs/msg/TFMessage with the identity between two frames."""
    of = STORE.types
    stamped = of['geometry_msgs/msg/TransformStamped'](
        header=header(stamp, parent),
        child_frame_id=child,
        transform=of['geometry_msgs/msg/Transform'](
            translation=of['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0),
            rotation=of['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
        ),
    )
    return STORE.serialize_cdr(of[TF](transforms=[stamped]), TF).tobytes()


def append_topics(path: Path, messages: list[tuple[str, str, int, bytes]]) -> Path:
    """Copy the bag of `path` and add messages, each with topic, type, time and bytes."""
    from depth_perception.io.bag import Bag

    with Bag(path) as bag:
        all_messages = [
            (message.topic, bag.topics[message.topic].type, message.time, message.data)
            for message in bag.messages(bag.topics)
        ]
    more = path.with_name(f'{path.name}_more')
    with Writer(more, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {}
        for topic, kind, time, data in sorted([*all_messages, *messages], key=lambda m: m[2]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time, data)
    return more
