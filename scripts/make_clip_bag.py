# SPDX-License-Identifier: Apache-2.0
"""Make data/clip_bag, the bundled recording, from the rendered clip.

    python scripts/make_clip_bag.py CLIP_FOLDER

CLIP_FOLDER contains rgb_NNNNN.jpg, depth_NNNNN.png (uint16 millimetres) and clip.json (size,
intrinsics, hz). The JPEG bytes are copied to the bag unchanged; the ground truth is written next to
it as truth/<stamp in nanoseconds>.png. The result depends only on the clip.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

OUT = Path(__file__).parents[1] / 'data' / 'clip_bag'
START = 1_700_000_000_000_000_000
FRAME = 'camera_optical_frame'
IMAGE, INFO = 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/CameraInfo'


def main(clip: Path) -> None:
    """Write the bag and the truth."""
    about = json.loads((clip / 'clip.json').read_text())
    shutil.rmtree(OUT, ignore_errors=True)
    store = get_typestore(Stores.ROS2_JAZZY)
    OUT.parent.mkdir(exist_ok=True)
    with Writer(OUT, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection('/camera/image_raw/compressed', IMAGE, typestore=store)
        infos = writer.add_connection('/camera/camera_info', INFO, typestore=store)
        for index, picture in enumerate(sorted(clip.glob('rgb_*.jpg'))):
            stamp = START + round(index * 1e9 / about['hz'])
            header = _header(store, stamp)
            image = store.types[IMAGE](
                header=header,
                format='rgb8; jpeg compressed bgr8',
                data=np.frombuffer(picture.read_bytes(), np.uint8),
            )
            writer.write(images, stamp, store.serialize_cdr(image, IMAGE))
            writer.write(infos, stamp, store.serialize_cdr(_info(store, header, about), INFO))
    _copy_truth(clip, about['hz'])


def _header(store: object, stamp: int) -> object:
    second, nanosecond = divmod(stamp, 10**9)
    time = store.types['builtin_interfaces/msg/Time'](sec=second, nanosec=nanosecond)
    return store.types['std_msgs/msg/Header'](stamp=time, frame_id=FRAME)


def _info(store: object, header: object, about: dict) -> object:
    fx, fy, cx, cy = (about[key] for key in ('fx', 'fy', 'cx', 'cy'))
    region = store.types['sensor_msgs/msg/RegionOfInterest'](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return store.types[INFO](
        header=header,
        height=about['height'],
        width=about['width'],
        distortion_model='plumb_bob',
        d=np.zeros(5),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]),
        r=np.eye(3).ravel(),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def _copy_truth(clip: Path, hz: float) -> None:
    (OUT / 'truth').mkdir()
    for index, depth in enumerate(sorted(clip.glob('depth_*.png'))):
        stamp = START + round(index * 1e9 / hz)
        shutil.copyfile(depth, OUT / 'truth' / f'{stamp}.png')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
