# SPDX-License-Identifier: Apache-2.0
"""The page: what the server sends to a browser, and what it does without one."""

from __future__ import annotations

import argparse
import math
import signal
import socket
import sys
import time
import urllib.request
from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_perception.camera.model import CameraModel
from depth_perception.cli import view as command
from depth_perception.depth.settings import OPTIONS
from depth_perception.view.drawing import by_distance
from depth_perception.view.ending import Ending
from depth_perception.view.frame import Cloud, Frame, Level, Remark, Scan, Stand
from depth_perception.view.viewer import Viewer, ViewError

pytest.importorskip('viser', reason='the extra "view" (viser) is not installed')

from test.support.browser import Browser
from test.support.waiting import wait_until

CAMERA = CameraModel(640, 480, 500.0, 500.0, 320.0, 240.0)


@pytest.fixture
def viewer():
    viewer = Viewer(port=0, most_points=1000)
    yield viewer
    viewer.close()


def frame(level=100, points=200):
    """A frame of one brightness, with that many points."""
    image = np.full((48, 64, 3), level, np.uint8)
    cloud = np.full((1, points, 3), level / 100, np.float32)
    return Frame(
        image=image,
        depth=image // 2,
        depth_range=(0.3, 10.0),
        cloud=Cloud(cloud, np.full(cloud.shape, level, np.uint8)),
        scan=Scan(np.array([0.0, 0.1]), np.array([level / 50, math.inf])),
        camera=CAMERA,
        remarks=(Remark(Level.WARN, 'input', f'level {level}'),),
    )


def test_the_complete_page_is_served_at_its_address(viewer):
    assert viewer.url.startswith('http://127.0.0.1:')
    with urllib.request.urlopen(viewer.url) as answer:
        page = answer.read().decode()
    assert '<html' in page
    # Robots have no internet: nothing is loaded from elsewhere.
    assert 'src="http' not in page and '<link rel="stylesheet" href="http' not in page


@pytest.mark.parametrize('host, is_reached', [(None, False), ('0.0.0.0', True)])
def test_the_page_is_reached_from_other_addresses_only_if_allowed(host, is_reached):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(['--host', host] if host else [])
    viewer = Viewer(options.host)
    try:
        # An address of this machine as the one in a network is, and always there.
        with socket.socket() as visitor:
            visitor.settimeout(10)
            port = int(viewer.url.rsplit(':', 1)[1])
            assert (visitor.connect_ex(('127.0.0.2', port)) == 0) is is_reached
    finally:
        viewer.close()


def test_a_browser_gets_every_part_of_a_frame(viewer):
    with Browser(viewer.url) as browser:
        viewer.show(frame(100))
        browser.wait_for(lambda: browser.all_of('/camera/cloud') and 'level 100' in browser.text())
        assert browser.wait_for(lambda: browser.updates('points'))
        browser.drain()
    cloud = browser.all_of('/camera/cloud')[-1]
    np.testing.assert_allclose(cloud['points'].reshape(-1, 3), np.ones((200, 3)), rtol=1e-3)
    assert (cloud['colors'] == 100).all() and len(cloud['colors']) == 600
    np.testing.assert_allclose(browser.picture('Camera'), 100, atol=3)
    np.testing.assert_allclose(browser.picture('Depth'), 50, atol=3)
    hits = [points.reshape(-1, 3) for points in browser.updates('points')]
    assert any(np.allclose(points, [[2, 0, 0]]) for points in hits)
    frustum = browser.all_of('/camera/view')[-1]
    assert frustum['aspect'] == pytest.approx(4 / 3)
    assert frustum['fov'] == pytest.approx(2 * math.atan(240 / 500))
    assert '10 m' in browser.text()  # the scale of the depth's colours


def test_the_cloud_stands_upright(viewer):
    """The node that holds the cloud turns z forward, y down to x forward, z up."""
    with Browser(viewer.url) as browser:
        camera = browser.wait_for(
            lambda: [
                message
                for message in browser.messages
                if message.get('name') == '/camera' and 'wxyz' in message
            ]
        )[-1]
    w, *vector = camera['wxyz']
    vector = np.array(vector)

    def turned(point):
        twice = 2 * np.cross(vector, point)
        return point + w * twice + np.cross(vector, twice)

    np.testing.assert_allclose(turned(np.array([1.0, 2.0, 3.0])), [3, -1, -2], atol=1e-9)


def test_a_camera_that_looks_down_is_rotated_and_above_its_floor(viewer):
    def newest(browser, kind, name):
        found = [
            message
            for message in browser.messages
            if message['type'] == kind and message.get('name') == name
        ]
        return found[-1] if found else None

    with Browser(viewer.url) as browser:
        viewer.show(replace(frame(), stand=Stand(pitch=math.pi / 2, height=0.8)))
        browser.wait_for(lambda: newest(browser, 'SetOrientationMessage', '/camera'))
        browser.drain()
    # Straight down: what is ahead of the camera is below it, the image's top is forward.
    w, x, y, z = newest(browser, 'SetOrientationMessage', '/camera')['wxyz']
    np.testing.assert_allclose(
        [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], [0, 0, -1], atol=1e-9
    )
    assert newest(browser, 'SetPositionMessage', '/floor')['position'][2] == -0.8
    assert newest(browser, 'SetSceneNodeVisibilityMessage', '/floor')['visible']


def test_large_clouds_are_thinned(viewer):
    with Browser(viewer.url) as browser:
        viewer.show(frame(points=50_000))
        cloud = browser.wait_for(lambda: browser.all_of('/camera/cloud'))[-1]
    assert 500 < len(cloud['points']) // 3 <= 1000


def test_a_browser_that_connects_later_gets_the_last_frame(viewer):
    viewer.show(frame(120))
    with Browser(viewer.url) as browser:
        browser.wait_for(
            lambda: browser.all_of('/camera/cloud') and browser.picture('Camera') is not None
        )
        np.testing.assert_allclose(browser.picture('Camera'), 120, atol=3)


def test_unchanged_parts_are_not_sent_again(viewer):
    first = frame()
    with Browser(viewer.url) as browser:
        viewer.show(first)
        browser.wait_for(lambda: browser.all_of('/camera/cloud'))
        viewer.show(replace(first, remarks=(Remark(Level.OK, 'input', 'only this'),)))
        browser.wait_for(lambda: 'only this' in browser.text())
        browser.drain()
    assert len(browser.all_of('/camera/cloud')) == 1
    assert len(browser.updates('_data')) <= 4  # both pictures, blank before


def test_a_control_of_the_panel_acts_on_the_current_frame(viewer):
    viewer.show(frame(100))
    with Browser(viewer.url) as browser:
        browser.wait_for(lambda: browser.all_of('/camera/cloud'))
        for kind, label, value in (
            ('Dropdown', 'Cloud colours', 'distance'),
            ('Slider', 'Point size', 0.05),
        ):
            browser.set(f'Gui{kind}Message', label, value)
        cloud = browser.wait_for(
            lambda: [
                cloud for cloud in browser.all_of('/camera/cloud') if cloud['point_size'] == 0.05
            ]
        )[-1]
    expected = by_distance(np.ones((1, 3), np.float32), 0.3, 10.0)[0]
    assert (cloud['colors'].reshape(-1, 3) == expected).all()


def test_a_hidden_part_stays_hidden(viewer):
    with Browser(viewer.url) as browser:
        viewer.show(frame(100))
        browser.wait_for(lambda: browser.all_of('/camera/cloud'))
        browser.set('GuiCheckboxMessage', 'Cloud', False)
        hidden = 'SetSceneNodeVisibilityMessage'

        def states():
            return [
                message['visible']
                for message in browser.messages
                if message['type'] == hidden and message['name'] == '/camera/cloud'
            ]

        browser.wait_for(lambda: states()[-1:] == [False])
        viewer.show(frame(110))
        browser.wait_for(lambda: len(browser.all_of('/camera/cloud')) == 2)
        browser.drain()
        assert not states()[-1]


def test_a_paused_page_advances_by_single_frames(viewer):
    with Browser(viewer.url) as browser:
        browser.wait_for(
            lambda: any(message['type'] == 'GuiButtonGroupMessage' for message in browser.messages)
        )
        assert viewer.may_go_on() and viewer.may_go_on()
        browser.set('GuiCheckboxMessage', 'Pause', True)
        wait_until(lambda: not viewer.may_go_on())
        browser.set('GuiButtonGroupMessage', 'Frame', 'Next')
        wait_until(viewer.may_go_on)
        assert not viewer.may_go_on()
        browser.set('GuiCheckboxMessage', 'Pause', False)
        wait_until(lambda: viewer.may_go_on() and viewer.may_go_on())


def test_a_paused_footage_stands_still(viewer):
    class Source:
        rests = 0

        def next(self, timeout):
            raise AssertionError('it was asked for a frame')

        def rest(self):
            self.rests += 1

    class Soon:
        @property
        def asked(self):
            return source.rests > 3

        def sleep_until(self, moment):
            pass

    source = Source()
    with Browser(viewer.url) as browser:
        browser.wait_for(lambda: viewer.watchers)
        browser.wait_for(
            lambda: any(message['type'] == 'GuiCheckboxMessage' for message in browser.messages)
        )
        browser.set('GuiCheckboxMessage', 'Pause', True)
        wait_until(lambda: not viewer.may_go_on())
        command.play(source, viewer, 10.0, Soon())


def test_a_click_shows_the_distance_of_a_point_and_keeps_it_up_to_date(viewer):
    def texts(browser):
        return [props['text'] for props in browser.all_of('/camera/picked')] + [
            text for text in browser.updates('text') if 'away' in text
        ]

    with Browser(viewer.url) as browser:
        viewer.show(replace(frame(), cloud=Cloud(np.array([[[0, 0, 2.0]]], np.float32))))
        browser.wait_for(lambda: browser.all_of('/camera/cloud'))
        # The optical axis is x of the level frame; the eye looks at the point from above.
        browser.click((2.0, 0.0, 3.0), (0.0, 0.0, -1.0))
        browser.wait_for(lambda: '2.00 m away, depth 2.00 m' in texts(browser))
        viewer.show(
            replace(
                frame(), cloud=Cloud(np.array([[[0.01, 0, 2.5], [0, 0, 2.0]]], np.float32) * 1.0)
            )
        )
        viewer.show(replace(frame(), cloud=Cloud(np.array([[[0, -0.5, 2.0]]], np.float32))))
        browser.wait_for(lambda: '2.06 m away, depth 2.00 m' in texts(browser))
        browser.click((2.0, 0.0, 3.0), (0.0, 0.0, 1.0))
        browser.wait_for(
            lambda: [
                message
                for message in browser.messages
                if message['type'] == 'RemoveSceneNodeMessage'
                and message['name'] == '/camera/picked'
            ]
        )


def test_a_picture_is_saved_as_seen(viewer):
    with Browser(viewer.url) as browser:
        viewer.show(replace(frame(100), label='frame 3, 0.20 s'))
        browser.wait_for(lambda: browser.all_of('/camera/cloud') and 'frame 3' in browser.text())
        browser.set('GuiButtonGroupMessage', 'Frame', 'Save picture')
        content = browser.wait_for(lambda: browser.file('frame_3_0.20_s.png'))
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 3 * 64 and picture.shape[0] > 48
    assert (picture[:48, :64] == 100).all() and (picture[:48, 64:128] == 50).all()


def test_the_pose_of_the_camera_can_be_set_for_footage(viewer):
    stands = []

    def change(stand):
        stands.append(stand)
        return replace(frame(), stand=stand)

    viewer.offer_stand(Stand(pitch=math.radians(-60)), change)
    with Browser(viewer.url) as browser:
        browser.wait_for(
            lambda: any(
                message['type'] == 'GuiSliderMessage'
                and message['props']['label'] == 'Camera height'
                for message in browser.messages
            )
        )
        sliders = {
            message['props']['label']: message
            for message in browser.messages
            if message['type'] == 'GuiSliderMessage'
        }
        for label, name, value in (
            ('looks down', 'camera_pitch', -60),
            ('height', 'camera_height', 0),
        ):
            props, option = sliders[f'Camera {label}']['props'], OPTIONS[name]
            assert (props['min'], props['max']) == (option.low, option.high)
            assert sliders[f'Camera {label}']['value'] == pytest.approx(value)
        browser.set('GuiSliderMessage', 'Camera looks down', 30)
        browser.set('GuiSliderMessage', 'Camera height', 0.5)
        wait_until(lambda: stands and stands[-1].height == 0.5)
    assert stands[-1].pitch == pytest.approx(math.radians(30))
    assert stands[0].height is None


def test_a_slow_browser_skips_frames_and_gets_the_newest():
    """Nothing is queued for it: 300 frames of 300 kB would be 90 MB."""
    viewer = Viewer(port=0, most_points=100_000)
    points = np.random.default_rng(0).random((33_000, 3), np.float32)
    try:
        with Browser(viewer.url, max_queue=1) as browser:
            browser.wait_for(lambda: viewer.watchers)
            for number in range(300):
                viewer.show(Frame(cloud=Cloud(points + number)))
            browser.wait_for(
                lambda: any(
                    cloud['points'].min() >= 299 for cloud in browser.all_of('/camera/cloud')
                )
            )
            assert len(browser.all_of('/camera/cloud')) < 150
    finally:
        viewer.close()


def test_watchers_are_counted(viewer):
    assert not viewer.wait_for_watchers(0.05)
    with Browser(viewer.url) as browser:
        browser.wait_for(lambda: viewer.watchers == 1)
        assert viewer.wait_for_watchers(0.05)
    deadline = time.monotonic() + 30
    while viewer.watchers and time.monotonic() < deadline:
        time.sleep(0.02)
    assert viewer.watchers == 0


class Counting:
    """A source that counts."""

    def __init__(self):
        self.asked, self.rested = 0, 0

    def next(self, timeout):
        self.asked += 1
        return frame(self.asked % 200)

    def rest(self):
        self.rested += 1


def test_nothing_is_computed_while_nobody_watches(viewer, monkeypatch):
    source = Counting()
    monkeypatch.setattr(command, 'PATIENCE', 0.05)

    def until(condition):
        ending = Ending()

        def wait(timeout):
            ending.asked = condition()
            return Viewer.wait_for_watchers(viewer, timeout)

        monkeypatch.setattr(viewer, 'wait_for_watchers', wait)
        command.play(source, viewer, 50, ending)

    until(lambda: source.rested > 3)
    assert source.asked == 0
    with Browser(viewer.url) as browser:
        browser.wait_for(lambda: viewer.watchers)
        until(lambda: source.asked > 3)


class Destroyed:
    """An object that gets a signal in its destructor, where Python swallows exceptions."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


class Interrupted(Counting):
    """A source that is interrupted in the first frame."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def next(self, timeout):
        super().next(timeout)
        if self.asked == 1:
            Destroyed(self.number)
        assert self.asked < 100, 'the signal was lost'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_page_at_any_point(number, monkeypatch):
    source = Interrupted(number)
    source.close = lambda: None
    monkeypatch.setattr(command, '_source', lambda _: source)
    monkeypatch.setattr(Viewer, 'wait_for_watchers', lambda *_: True)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(['clip.mp4', '--port', '0', '--points', '1000', '--rate', '60'])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert command.run(options) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert source.asked == 1


@pytest.mark.parametrize('handler', [signal.default_int_handler, signal.SIG_IGN])
def test_a_second_signal_interrupts_at_once(handler):
    # A shell lets background jobs ignore SIGINT; `kill -INT` must still work.
    before = signal.signal(signal.SIGINT, handler)
    try:
        with Ending() as ending:
            signal.raise_signal(signal.SIGINT)
            assert ending.asked
            ending.sleep_until(math.inf)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_browser_cannot_make_the_server_open_a_tunnel(viewer):
    assert viewer._server.request_share_url() is None
    assert viewer._server._share_tunnel is None


def test_a_port_in_use_is_one_sentence():
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ViewError, match=f'port {port} is in use: .*--port'):
            Viewer(port=port)


def test_an_address_of_another_machine_is_one_sentence():
    with pytest.raises(ViewError, match=r'192\.0\.2\.1'):
        Viewer('192.0.2.1', 0)


def test_a_missing_viser_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'viser', None)
    with pytest.raises(ViewError, match=r'pip install'):
        Viewer(port=0)
