# SPDX-License-Identifier: Apache-2.0
"""Videos, folders, bags and webcams as footage, and the pace at which they are played."""

from __future__ import annotations

import dataclasses
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from depth_perception.camera.model import CameraModel
from depth_perception.camera.source import CameraSource
from depth_perception.errors import UsageError
from depth_perception.io.bag import BagError
from depth_perception.io.image_files import ImageError
from depth_perception.view import footage
from depth_perception.view.footage import Footage, Pace, Picture, Shot, open_footage
from test.support import bags
from test.support.bags import write_bag

UNKNOWN = CameraSource()
CLIP = Path(__file__).parents[2] / 'data' / 'clip_bag'


def pictures(count, width=64, height=48):
    """Plain pictures, each of another brightness."""
    return [np.full((height, width, 3), 20 + 10 * index, np.uint8) for index in range(count)]


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20, (64, 48))
    for picture in pictures(5):
        writer.write(picture)
    writer.release()
    return path


def levels(shots):
    """Times and mean brightness of shots."""
    return [(round(shot.time, 3), round(float(shot.picture().rgb.mean()))) for shot in shots]


def test_video_gives_its_frames_at_its_rate(video):
    shots = open_footage(str(video), None, CameraSource(horizontal_fov_deg=60)).shots()
    first = next(shots)
    assert first.picture().camera == CameraModel.from_field_of_view(64, 48, 60)
    found = levels(shots)
    assert [time for time, _ in found] == [0.05, 0.1, 0.15, 0.2]
    np.testing.assert_allclose([level for _, level in found], [30, 40, 50, 60], atol=3)


def test_folder_gives_its_images_in_the_order_of_their_names(tmp_path):
    for index, picture in enumerate(pictures(3)):
        cv2.imwrite(str(tmp_path / f'{index}.png'), picture)
    (tmp_path / 'notes.txt').write_text('no image')
    assert levels(open_footage(str(tmp_path), None, UNKNOWN).shots()) == [(0, 20), (1, 30), (2, 40)]


def test_one_image_is_a_folder_of_one(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), pictures(1)[0])
    assert levels(open_footage(str(tmp_path / 'a.png'), None, UNKNOWN).shots()) == [(0, 20)]


@pytest.mark.parametrize('jpeg', [True, False], ids=['compressed', 'raw'])
def test_bag_gives_its_images_with_their_camera(tmp_path, jpeg):
    bag = write_bag(tmp_path / 'bag', pictures(4), storage=StoragePlugin.SQLITE3, jpeg=jpeg)
    shots = list(open_footage(str(bag), None, UNKNOWN).shots())
    assert levels(shots) == [(0, 20), (0.05, 30), (0.1, 40), (0.15, 50)]
    camera = shots[2].picture().camera
    assert (camera.width, camera.height, camera.fx) == (64, 48, pytest.approx(0.8 * 64))


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_one_file_of_a_bag_and_a_folder_without_metadata_are_bags(tmp_path, storage):
    bag = write_bag(tmp_path / 'bag', pictures(2), storage=storage, jpeg=False)
    (bag / 'metadata.yaml').unlink()
    for place in (bag, next(bag.iterdir())):
        shots = list(open_footage(str(place), None, UNKNOWN).shots())
        assert len(shots) == 2 and shots[0].picture().camera is not None


def test_error_for_a_bag_of_ros_1(tmp_path):
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0')
    with pytest.raises(BagError, match='a bag of ROS 1'):
        open_footage(str(tmp_path / 'old.bag'), None, UNKNOWN)


def test_a_bag_of_an_odd_calibration_is_shown_with_remarks(tmp_path, monkeypatch):
    usual = bags.info

    def odd(*arguments):
        message = usual(*arguments)
        return dataclasses.replace(
            message,
            distortion_model='thin_prism',
            d=np.full(4, 0.1),
            k=message.k * [0.01, 1, 1, 1, 0.01, 1, 1, 1, 1],
        )

    monkeypatch.setattr(bags, 'info', odd)
    bag = write_bag(tmp_path / 'bag', pictures(1), storage=StoragePlugin.SQLITE3, jpeg=False)
    picture = next(open_footage(str(bag), None, UNKNOWN).shots()).picture()
    assert any("'thin_prism' with 4 coefficients" in remark for remark in picture.remarks)
    assert any('field of view' in remark for remark in picture.remarks)


def test_a_bag_without_camera_info_has_only_a_given_camera(tmp_path):
    bag = write_bag(
        tmp_path / 'bag', pictures(1), storage=StoragePlugin.SQLITE3, jpeg=False, with_info=False
    )
    assert next(open_footage(str(bag), None, UNKNOWN).shots()).picture().camera is None
    given = CameraSource(horizontal_fov_deg=60)
    assert next(open_footage(str(bag), None, given).shots()).picture().camera is not None


def test_images_of_a_distorting_camera_are_rectified(tmp_path, monkeypatch):
    from test.support import bags

    plain = bags.info

    def distorting(*arguments):
        message = plain(*arguments)
        message.d[0] = 0.3
        return message

    monkeypatch.setattr(bags, 'info', distorting)
    bag = write_bag(tmp_path / 'bag', pictures(2), storage=StoragePlugin.SQLITE3, jpeg=False)
    picture = next(open_footage(str(bag), None, UNKNOWN).shots()).picture()
    # Pincushion distortion: the rectified picture reaches beyond the raw one.
    assert picture.rgb[0, 0].max() == 0 and picture.rgb[24, 32].min() == 20


@pytest.mark.parametrize(
    'name, content, named',
    [
        ('a.mp4', b'no video', 'not a video'),
        ('empty', None, 'no image'),
        ('missing', False, 'there is'),
        ('a.avi', b'', 'it is empty'),
    ],
)
def test_unusable_footage_gives_one_sentence(tmp_path, name, content, named):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif content is not False:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=named) as caught:
        open_footage(str(path), None, UNKNOWN)
    assert name in str(caught.value) and '\n' not in str(caught.value)


def test_a_video_without_frames_is_one_sentence(tmp_path):
    path = tmp_path / 'none.avi'
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20, (64, 48)).release()
    with pytest.raises(UsageError, match=r'it has no frame|it is not a video'):
        open_footage(str(path), None, UNKNOWN)


def test_a_network_address_has_its_own_error():
    with pytest.raises(UsageError, match=r'a\.mp4: it is a network address'):
        open_footage('http://host/a.mp4', None, UNKNOWN)


def test_an_animation_says_that_its_first_picture_is_shown(tmp_path):
    from PIL import Image

    frames = [Image.fromarray(picture) for picture in pictures(3)]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:])
    shown = next(open_footage(str(tmp_path / 'a.gif'), None, UNKNOWN).shots()).picture()
    assert 'only the first of its 3 pictures' in shown.remarks


def test_a_missing_webcam_gives_one_sentence():
    with pytest.raises(UsageError, match='webcam 97'):
        open_footage('97', None, UNKNOWN)


def test_a_topic_that_is_not_in_the_bag_is_named():
    with pytest.raises(BagError, match='/nothing'):
        open_footage(str(CLIP), '/nothing', UNKNOWN)


class QueueingWebcam:
    """A driver that queues three pictures: those come at once, newer ones take a while."""

    def __init__(self, _index):
        self.number, self.queued = 0, 3

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return True

    def grab(self):
        self.number += 1
        if self.queued:
            self.queued -= 1
        else:
            time.sleep(0.03)
        return self.number < 8

    def retrieve(self):
        return True, np.full((4, 4, 3), self.number, np.uint8)


def test_a_webcam_skips_the_pictures_that_its_driver_queued(monkeypatch):
    monkeypatch.setattr(footage.cv2, 'VideoCapture', QueueingWebcam)
    shots = open_footage('0', None, UNKNOWN).shots()
    assert [int(shot.picture().rgb[0, 0, 0]) for shot in islice(shots, 2)] == [4, 5]
    assert len(list(shots)) == 2  # it ends with the camera


class Timed(Footage):
    """Shots every tenth of a second."""

    name = 'timed'

    def __init__(self, count, may_skip=True):
        self._count = count
        self.may_skip = may_skip

    def shots(self):
        for index in range(self._count):
            yield Shot(index / 10, lambda: Picture(np.zeros((1, 1, 3), np.uint8), None))


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock of the pace."""
    fake = FakeTime()
    monkeypatch.setattr(footage, 'time', fake)
    return fake


def played(pace, count):
    found = []
    while len(found) < count:
        shot = pace.next(0.05)
        if shot is not None:
            found.append(round(shot.time, 3))
    return found


def test_shots_come_in_order_and_when_they_are_due(clock):
    assert played(Pace(Timed(5)), 5) == [0, 0.1, 0.2, 0.3, 0.4]
    assert clock.now == pytest.approx(100.4)


def test_late_shots_are_skipped(clock):
    pace = Pace(Timed(30))
    assert played(pace, 1) == [0]
    clock.sleep(1.0)
    assert played(pace, 1)[0] >= 0.9


def test_no_image_of_a_folder_is_skipped(clock):
    pace = Pace(Timed(5, may_skip=False))
    assert played(pace, 1) == [0]
    clock.sleep(0.5)
    assert played(pace, 4) == [0.1, 0.2, 0.3, 0.4]


def test_no_shot_is_skipped_after_a_pause(clock):
    pace = Pace(Timed(30))
    assert played(pace, 2) == [0, 0.1]
    clock.sleep(0.5)
    pace.pause()
    assert played(pace, 1) == [0.2]


def test_footage_repeats_or_ends(clock):
    assert played(Pace(Timed(2)), 5) == [0, 0.1, 0, 0.1, 0]
    once = Pace(Timed(2), repeat=False)
    assert played(once, 2) == [0, 0.1]
    assert once.next(0.01) is None


def test_footage_that_stops_giving_pictures_says_so_once(monkeypatch):
    class Emptied(Timed):
        def shots(self):  # as a file that is overwritten while it is shown
            yield from super().shots()
            self._count = 0

    monkeypatch.setattr(footage.cv2, 'VideoCapture', QueueingWebcam)
    unplugged = open_footage('0', None, UNKNOWN)
    for stopping, count in ((unplugged, 4), (Emptied(2), 2), (Timed(0), 0)):
        pace = Pace(stopping)
        assert len(played(pace, count)) == count
        with pytest.raises(ImageError, match=f'^{stopping.name}: no more pictures come'):
            pace.next(0.01)
        assert pace.next(0.01) is None


def test_a_slow_machine_still_gets_shots(clock):
    class Slow(Timed):
        def shots(self):
            for shot in super().shots():
                clock.sleep(0.25)  # as a video whose frames take longer to decode than to play
                yield shot

    pace = Pace(Slow(20))
    assert len(played(pace, 3)) == 3


def test_an_unreadable_image_gives_its_own_error(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    shot = next(open_footage(str(tmp_path), None, UNKNOWN).shots())
    with pytest.raises(ImageError):
        shot.picture()
