# SPDX-License-Identifier: Apache-2.0
"""Mailbox, throttle, parameter checks, health and diagnostics, each in isolation."""

from __future__ import annotations

import threading
from array import array

import numpy as np
import pytest
from rclpy.parameter import Parameter

from depth_perception.depth.scan import LEVEL, CameraPose
from depth_perception.inference.device import CPU
from depth_perception.inference.threads import share_the_cores
from depth_perception.inference.transfer import Upload
from depth_perception.io.image_messages import decode
from depth_perception.ros.conversions.topics import DEPTH, INFO, POINTS, PREVIEW, SCAN
from depth_perception.ros.node import parameters
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.diagnostics import (
    ERROR,
    OK,
    WARN,
    Context,
    diagnostic_array,
    silence,
)
from depth_perception.ros.node.health import Health
from depth_perception.ros.node.mailbox import Mailbox
from depth_perception.ros.node.parameters import DEFAULTS, RULES, ParameterError, Settings, check
from depth_perception.ros.node.pipeline import NonFiniteDepth, Pipeline
from depth_perception.ros.node.scan_pose import ScanPose
from depth_perception.ros.node.throttle import Throttle
from test.support.estimators import StandIn
from test.support.ros import camera_info, cloud_array, image_array, picture, rgb_image


def test_mailbox_keeps_the_newest_and_tells_of_the_replaced():
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(1), mailbox.put(2), mailbox.put(3)] == [False, True, True]
    assert mailbox.take(0) == 3 and mailbox.take(0) is None


def test_closing_a_mailbox_wakes_the_consumer():
    mailbox: Mailbox[int] = Mailbox()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(5)
    assert taken == [None] and mailbox.closed


def test_throttle_lets_a_different_text_through_at_once():
    now = [0.0]
    throttle = Throttle(5.0, lambda: now[0])
    assert [throttle.allows('a'), throttle.allows('a'), throttle.allows('b')] == [True, False, True]
    now[0] = 5.0
    assert throttle.allows('a')


def test_messages_stay_as_they_are_while_the_network_writes_to_the_same_memory_again():
    buffer = np.full((60, 80), 2.0, np.float32)
    estimator = StandIn(lambda rgb, camera: buffer)
    cameras = Calibrations()
    cameras.update(camera_info())
    pipeline = Pipeline(estimator, cameras, lambda *_: ScanPose(LEVEL))
    first, second = ({}, {})
    for outputs, metres in ((first, 2.0), (second, 3.0)):
        buffer[:] = metres
        outputs.update(
            pipeline.process(
                rgb_image(picture()), frozenset({DEPTH, POINTS, SCAN}), Settings()
            ).outputs
        )
    for outputs, metres in ((first, 2.0), (second, 3.0)):
        assert (image_array(outputs[DEPTH]) == metres).all()
        assert (cloud_array(outputs[POINTS])[..., 2] == metres).all()
        assert min(outputs[SCAN].ranges) == pytest.approx(metres, rel=1e-3)


@pytest.mark.parametrize('encoding', ['32FC1', '16UC1'])
def test_the_depth_image_is_made_before_the_other_outputs_are_computed(encoding):
    cameras, seen = Calibrations(), []
    cameras.update(camera_info())
    wanted = frozenset({DEPTH, INFO, POINTS, PREVIEW, SCAN})
    settings = Settings(depth_encoding=encoding)

    def pipeline() -> Pipeline:
        return Pipeline(StandIn(), cameras, lambda *_: (seen.append('pose'), ScanPose(LEVEL))[1])

    whole = pipeline().process(rgb_image(picture()), wanted, settings)
    seen.clear()
    early = pipeline()
    work = early.start(rgb_image(picture()), wanted, settings)
    assert early.first(work).outputs.keys() == {DEPTH, INFO} and not seen
    depth = work.result.outputs[DEPTH]
    result = early.finish(work)
    assert seen and result.outputs[DEPTH] is depth
    assert result.outputs == whole.outputs and result.outputs.keys() == wanted


def test_no_depth_image_is_made_first_that_is_not_finite():
    estimator = StandIn(lambda rgb, _: np.full(rgb.shape[:2], np.nan, np.float32))
    pipeline = Pipeline(estimator, Calibrations(), lambda *_: None)
    work = pipeline.start(rgb_image(picture()), frozenset({DEPTH, POINTS}), Settings())
    with pytest.raises(NonFiniteDepth):
        pipeline.first(work)
    assert not work.result.outputs


@pytest.mark.parametrize('wanted', [{POINTS}, {SCAN}, {POINTS, SCAN}])
def test_the_pose_is_asked_for_once_a_frame_where_the_cloud_needs_it_too(wanted):
    asked, cameras = [], Calibrations()
    cameras.update(camera_info())
    pose = CameraPose(0.2, 0.0, 0.4)
    pipeline = Pipeline(StandIn(), cameras, lambda *_: (asked.append(1), ScanPose(pose))[1])
    for settings, times in (
        (Settings(camera_height=0.4), 1),
        (Settings(base_frame='base_footprint'), 1),
        (Settings(camera_height=0.4, floor_model=False), int(SCAN in wanted)),
        (Settings(), int(SCAN in wanted)),
    ):
        asked.clear()
        outputs = pipeline.process(rgb_image(picture()), frozenset(wanted), settings).outputs
        assert len(asked) == times and outputs.keys() == wanted


def test_an_image_is_read_where_its_message_has_it_and_stays_as_it_was():
    image = rgb_image(picture())
    before = bytes(image.data)
    uploaded = Upload(CPU)(decode(image))
    assert np.shares_memory(uploaded, np.frombuffer(image.data, np.uint8))
    cameras = Calibrations()
    cameras.update(camera_info())
    Pipeline(StandIn(), cameras, lambda *_: ScanPose(LEVEL)).process(
        image, frozenset({DEPTH, POINTS, SCAN, PREVIEW}), Settings(temporal_smoothing=0.5)
    )
    assert bytes(image.data) == before


def test_a_sample_stays_as_it_is_while_the_network_writes_to_the_same_memory_again():
    buffer = np.full((60, 80), 2.0, np.float32)
    pipeline = Pipeline(StandIn(lambda rgb, camera: buffer), Calibrations(), lambda *_: None)
    image = rgb_image(picture())
    result = pipeline.process(image, frozenset({DEPTH}), Settings())
    contrast = result.contrast
    buffer[:] = 3.0
    image.data[:] = array('B', bytes(len(image.data)))
    assert (result.sample == 2.0).all() and result.contrast == contrast > 0


@pytest.mark.parametrize('name', RULES)
def test_every_default_is_within_its_own_rule(name):
    check(name, DEFAULTS[name])
    assert RULES[name].text


@pytest.mark.parametrize('name', [n for n, r in RULES.items() if r.low is not None])
def test_numbers_outside_the_range_are_refused_by_name(name):
    rule = RULES[name]
    for value in (rule.low, rule.high):
        check(name, type(DEFAULTS[name])(value))
    for value in (rule.low - 1, rule.high + 1, float('nan'), float('inf'), 'x', None, True):
        with pytest.raises(ParameterError, match=name):
            check(name, value)


@pytest.mark.parametrize('name', [n for n, r in RULES.items() if r.choices])
def test_closed_strings_name_their_choices(name):
    for choice in RULES[name].choices:
        check(name, choice)
    with pytest.raises(ParameterError, match=f'{name}.*{RULES[name].choices[0]}'):
        check(name, 'something else')


@pytest.mark.parametrize('name', [name for name in RULES if name.endswith('_frame')])
def test_what_tf2_takes_for_no_frame_is_refused(name):
    for frame in ('', 'camera', 'robot1/camera_optical_frame'):
        check(name, frame)
    for frame in ('/camera', 'the camera', ' '):
        with pytest.raises(ParameterError, match=f'{name} must be a frame of tf2.*{frame}'):
            check(name, frame)


def test_yaml_that_makes_a_boolean_of_a_word_is_explained():
    with pytest.raises(parameters.ParameterError, match=r'rectify .* got False; .*quote'):
        parameters.check('rectify', False)


def test_an_integer_does_for_a_float():
    check('max_depth', 5)
    with pytest.raises(ParameterError):
        check('point_stride', 2.5)


def test_settings_that_contradict_each_other_are_refused():
    def change(**values: float) -> parameters.Settings:
        return parameters.changed(
            Settings(), [Parameter(name, value=value) for name, value in values.items()], 'active'
        )

    for pair in (
        {'scan_min_height': 1.0, 'scan_max_height': 0.5},
        {'min_depth': 2.0, 'max_depth': 1.0},
    ):
        with pytest.raises(ParameterError, match=max(pair)):
            change(**pair)
    assert change() == Settings()
    for name, value in (('scan_min_height', 0.4), ('scan_max_height', -0.5), ('max_depth', 0.2)):
        kept, remark = parameters.in_effect(change(**{name: value}), Settings())
        assert kept == Settings() and f'{name} {value}' in remark and 'are used' in remark


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock) -> Health:
    return Health(clock)


def feed(
    health: Health,
    clock: Clock,
    frames: int,
    period: float = 0.1,
    stamp: float = 0.0,
    every: int = 1,
    frame_id: str = 'camera_optical_frame',
) -> None:
    """Receive only every `every`-th frame of the camera."""
    for index in range(0, frames, every):
        clock.now += period * every
        health.image_received(stamp + index * period, 0.01, {'frame_id': frame_id})


def statuses(health: Health, **context) -> dict:
    values = {
        'active': True,
        'state': 'active',
        'since': 100.0,
        'image_topic': '/x',
        'info_topic': '/y',
        **context,
    }
    array = diagnostic_array('depth_node', 'cpu', health.snapshot(), Context(**values))
    return {status.name.split(': ')[1]: status for status in array.status}


def expect(status, level, text: str) -> None:
    assert (status.level, text in status.message) == (level, True), status.message


def test_all_is_well(health, clock):
    feed(health, clock, 20)
    health.count('processed', 20)
    for status in statuses(health).values():
        expect(status, OK, 'OK')
    values = {v.key: v.value for v in statuses(health)['input'].values}
    assert values['rate_hz'] == '10.00' and values['frames_arriving'] == '1.000'


@pytest.mark.parametrize(
    'context, text',
    [
        ({'camera_problem': 'no camera_info'}, 'no camera_info on /y'),
        ({'camera_problem': 'the camera is uncalibrated (K[0] = 0)'}, 'uncalibrated'),
        ({'fell_back': True}, 'QoS fell back to best effort'),
    ],
)
def test_input_warnings_from_the_node(health, clock, context, text):
    feed(health, clock, 3)
    expect(statuses(health, **context)['input'], WARN, text)


def test_silence_is_reported_with_its_length(health, clock):
    clock.now += 3.1
    expect(statuses(health)['input'], WARN, 'no image on /x for 3.1 s')
    feed(health, clock, 1)
    expect(statuses(health)['input'], OK, 'OK')
    clock.now += 2.5
    expect(statuses(health)['input'], WARN, 'no image on /x for 2.5 s')


def test_silence_names_where_there_are_images(health, clock):
    clock.now += 3.0
    status = statuses(health, elsewhere='images are on /a')['input']
    expect(status, WARN, 'no image on /x for 3.0 s: nobody publishes it; images are on /a')
    status = statuses(health, elsewhere='', publishers=1)['input']
    expect(status, WARN, 'its publisher is silent')
    assert not silence(health.snapshot(), Context(active=False, state='inactive'), 2.0)


@pytest.mark.parametrize('every', [1, 5, 30])
def test_lost_frames_are_those_that_the_middleware_counts(health, clock, every):
    """At 5 Hz, few images arrive; if 1 in 30 arrives, the window contains only one."""
    for index in range(150):
        clock.now += 0.2
        if index % every == 0:
            health.image_received(index * 0.2, 0.0, {})
        else:
            health.lost(1)
    status = statuses(health)['input']
    assert ('loses frames' in status.message) is (every > 1)
    if every > 1:
        expect(status, WARN, f'input loses frames ({100 - 100 / every:.0f} %)')
    assert {v.key: v.value for v in status.values}['frames_arriving'] == f'{1 / every:.3f}'


def test_irregular_stamps_without_a_loss_are_no_warning(health, clock):
    rng = np.random.default_rng(0)
    for index in range(60):
        clock.now += 0.05
        if rng.random() < 0.6:
            health.image_received(index * 0.05, 0.0, {})
    expect(statuses(health)['input'], OK, 'OK')
    status = statuses(health, counts_losses=False)['input']
    expect(status, OK, 'images come irregularly')
    assert 'lose' not in status.message


def test_where_nobody_counts_a_best_effort_camera_s_losses_are_unknown(health, clock):
    feed(health, clock, 3)
    status = statuses(health, counts_losses=False, fell_back=True)['input']
    assert 'unknown' in status.message and 'docs/dds.md' in status.message
    assert {v.key: v.value for v in status.values}['frames_arriving'] == 'unknown'


def test_silence_of_a_camera_whose_images_all_get_lost_has_its_cause(health, clock):
    for _ in range(30):
        clock.now += 0.1
        health.lost(1)
    status = statuses(health, publishers=1)['input']
    expect(status, WARN, 'no image on /x for 3.0 s: they get lost on the way')
    expect(status, WARN, 'input loses frames (100 %)')


def test_frame_and_clock_are_doubted(health, clock):
    feed(health, clock, 3, frame_id='camera_link')
    expect(statuses(health)['input'], WARN, "'camera_link' does not name an optical frame")
    health.image_received(5.0, 1e9, {'frame_id': 'optical'})
    expect(statuses(health)['input'], WARN, 'use_sim_time?')
    health.image_received(0.0, 1e9, {'frame_id': 'optical'})
    expect(statuses(health)['input'], WARN, 'differ by 1000000000 s: the camera stamps its')


def test_overload_is_a_warning_unless_the_rate_is_limited(health, clock):
    feed(health, clock, 10)
    health.count('replaced', 6)
    expect(statuses(health)['inference'], WARN, 'overloaded: 60 % of frames replaced')
    expect(statuses(health, rate_limited=True)['inference'], OK, '60 % of frames replaced')


def test_idle_paused_stale_and_inactive(health, clock):
    health.count('idle')
    expect(statuses(health)['inference'], OK, 'idle: no subscribers')
    expect(statuses(health, paused=True)['inference'], OK, 'paused')
    health.count('stale')
    expect(statuses(health)['inference'], WARN, '1 frames older than max_age')
    expect(statuses(health, active=False, state='inactive')['inference'], OK, 'inactive')
    expect(
        statuses(health, active=False, problem='cannot configure: x')['depth'],
        ERROR,
        'cannot configure',
    )


@pytest.mark.parametrize(
    'kind, task', [('input', 'input'), ('inference', 'inference'), ('memory', 'inference')]
)
def test_errors_show_for_a_while_and_go(health, clock, kind, task):
    feed(health, clock, 1)
    health.error(kind, 'what happened')
    expect(statuses(health)[task], ERROR, 'what happened')
    feed(health, clock, 60)
    assert statuses(health)[task].level == OK


def test_depth_that_says_nothing_is_a_warning(health, clock):
    health.depth_seen(np.full((4, 4), np.inf, np.float32), {'contrast': 50.0})
    expect(statuses(health)['depth'], WARN, '0 % valid pixels')
    health.depth_seen(np.full((4, 4), 2.0, np.float32), {'contrast': 1.0})
    expect(statuses(health)['depth'], WARN, 'camera covered?')
    values = {v.key: v.value for v in statuses(health)['depth'].values}
    assert values['p50_m'] == '2.000' and values['valid_percent'] == '100.000'


def test_latency_percentiles(health):
    for value in range(1, 101):
        health.latencies({'inference': value / 1000})
    median, p95, largest = health.snapshot().latency['inference']
    assert (median, largest) == (pytest.approx(0.0505), 0.1) and 0.094 < p95 < 0.097


def test_threads_that_wait_sleep_unless_the_user_decided_otherwise():
    environment = {}
    share_the_cores(environment)
    assert environment == {'OMP_WAIT_POLICY': 'passive'}
    environment = {'OMP_WAIT_POLICY': 'active'}
    share_the_cores(environment)
    assert environment == {'OMP_WAIT_POLICY': 'active'}


def test_a_jump_back_in_time_keeps_what_went_wrong(health, clock):
    feed(health, clock, 5)
    health.error('input', 'what happened')
    health.start_anew()
    expect(statuses(health)['input'], ERROR, 'what happened')
    assert not health.snapshot().counts


def test_reset_forgets_everything(health, clock):
    feed(health, clock, 5)
    health.reset()
    snapshot = health.snapshot()
    assert not snapshot.counts and snapshot.last_image_at is None
