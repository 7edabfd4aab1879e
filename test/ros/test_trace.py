# SPDX-License-Identifier: Apache-2.0
"""The trace of a frame: every place of the node is marked, and the budget adds up."""

from __future__ import annotations

import json
import os
import threading
import time

import numpy as np
import pytest
from sensor_msgs.msg import Image

from benchmarks import marks, processor, start, started_node, trace, traced_node
from benchmarks.camera import CameraProcess
from benchmarks.clip import read_clip
from benchmarks.marks import Mark
from benchmarks.processor import Slice, Used, processor_time
from benchmarks.sensor import clouds, serialized_clouds
from depth_perception.depth.anchor_sources import point_anchors
from depth_perception.depth.anchors import anchor_depth
from depth_perception.ros.conversions.sensor_messages import cloud_points
from depth_perception.ros.conversions.stamps import nanoseconds
from depth_perception.ros.conversions.topics import DEPTH, POINTS, SCAN
from test.support.estimators import StandIn
from test.support.ros import running_node, wait_until

MS = 1_000_000


def mark(ms: float, thread: int = 0, cpu: float = 0.0, faults: int = 0) -> Mark:
    return Mark(int(ms * MS), thread, int(cpu * MS), faults, 0, 0)


def frame(late: float = 0.0) -> dict[str, Mark]:
    """Return a frame whose depth is published before the cloud is made."""
    return {
        'stamp': mark(100),
        'callback': mark(101, thread=7, cpu=50, faults=5),
        'prepared': mark(103, thread=8, cpu=20),
        'network done': mark(112, thread=8, cpu=28, faults=3),
        f'{DEPTH}: publish': mark(113 + late, thread=8),
        f'{DEPTH}: published': mark(114 + late, thread=8),
        f'{DEPTH}: received': mark(115 + late),
        'products done': mark(116, thread=8),
        f'{POINTS}: published': mark(117, thread=8),
        f'{SCAN}: published': mark(118, thread=8),
    }


def test_a_budget_has_all_places_in_order_of_time_and_adds_up():
    rows = trace.budget([frame(), frame(), frame(late=0.5)], trace.PLACES)
    assert [row['place'] for row in rows] == [
        'callback',
        'prepared',
        'network done',
        f'{DEPTH}: publish',
        f'{DEPTH}: received',
        'products done',
    ]
    assert sum(row['ms'] for row in rows) == pytest.approx(16) == rows[-1]['at_ms']
    network = rows[2]
    assert (network['ms'], network['cpu_ms'], network['faults']) == (9, 8, 3)
    assert 'cpu_ms' not in rows[1]  # two threads


def test_frames_that_miss_a_place_do_not_count_and_a_place_that_most_miss_is_left_out():
    lost = {place: at for place, at in frame().items() if place != 'network done'}
    kept = trace.budget([frame(), frame(), lost], trace.PLACES)
    assert 'network done' in [row['place'] for row in kept]
    left_out = trace.budget([lost, lost, frame()], trace.PLACES)
    assert 'network done' not in [row['place'] for row in left_out]


def test_latency_and_what_is_beside_the_network():
    frames = [frame(), frame(), frame(late=0.5), {'stamp': mark(0)}]
    assert trace.latency(frames, DEPTH)['p50'] == 15
    assert trace.latency([], DEPTH) == {}
    assert trace.beside_network(frames) == 118 - 101 - 9
    assert trace.beside_network([]) is None


def test_the_processor_time_of_a_frame_is_told_by_what_uses_it():
    node = {
        7: Used('python', 0.006),  # the executor
        8: Used('python', 0.030),  # the worker, which also runs the network
        9: Used('python', 0.014),  # the network's other thread
        10: Used('dds.shm.1', 0.002),
    }
    one = Slice((0, 0), sent=3, got=2, node=node, camera=0.004, subscriber=0.001)
    assert processor_time([one, one], [frame()] * 4) == pytest.approx(
        {
            'network': 7 + 8,
            'node: worker': 15 - 8,
            'node: executor': 3,
            'node: DDS': 1,
            'camera': 2,
            'subscriber': 0.5,
        }
    )
    unmarked = processor_time([one], [])
    assert unmarked == pytest.approx({'node': 26, 'camera': 2, 'subscriber': 0.5})


def test_the_processor_time_of_each_thread_is_read():
    before = processor.threads(os.getpid())
    own, began = threading.get_native_id(), time.thread_time()
    while time.thread_time() < began + 0.02:
        pass
    used = processor.between(before, processor.threads(os.getpid()))
    assert used[own].seconds >= 0.01 and used[own].name
    assert processor.total(used) >= used[own].seconds


def test_cores_stay_awake_while_the_file_is_open(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, 'WAKE_LATENCY', tmp_path / 'latency')
    with processor.cores_awake():
        assert (tmp_path / 'latency').read_bytes() == bytes(4)  # 0 microseconds


def test_marks_are_read_as_they_were_written(tmp_path):
    at = marks.now(3)
    marks.write(tmp_path / 'marks', [(1, 'here', at), (1, 'there', at), (2, 'here', at)])
    assert marks.read(tmp_path / 'marks') == {1: {'here': at, 'there': at}, 2: {'here': at}}


@pytest.mark.parametrize('anchors', ['', 'points'])
def test_every_place_of_the_real_node_is_marked(namespace, robot, monkeypatch, anchors):
    recorder = traced_node.Recorder()
    traced_node.install(recorder, monkeypatch.setattr)
    with running_node(namespace, load_estimator=lambda *_: StandIn(), anchors=anchors):
        for topic in (DEPTH, POINTS, SCAN):
            robot.listen(topic)
        camera = robot.camera()
        sent = camera.send()
        wait_until(lambda: any(place == f'{SCAN}: published' for _, place, _ in recorder.marks))
    places = {
        place: at.time for stamp, place, at in recorder.marks if stamp == nanoseconds(sent.stamp)
    }
    # A stand-in has no backend, and what the subscriber marks is not there.
    expected = [*trace.PLACES][:7]
    expected += ['anchors found', 'depth corrected'] if anchors else []
    expected += [f'{DEPTH}: publish', f'{DEPTH}: published']
    expected += ['products done', 'messages made', f'{POINTS}: published', f'{SCAN}: published']
    assert places.keys() >= set(expected)
    assert sorted(expected, key=places.get) == expected


def test_a_start_reaches_its_stages_in_order_and_serves_who_was_there_before(
    namespace, robot, monkeypatch, tmp_path
):
    reached = started_node.Stages(tmp_path / 'stages.json')
    reached.reach('python')
    started_node.install(reached, monkeypatch.setattr)
    got: list[Image] = []
    robot.node.create_subscription(Image, DEPTH, got.append, 1)
    camera = robot.camera(matched=False)
    with running_node(namespace, load_estimator=lambda *_: StandIn()):
        wait_until(lambda: camera.send() and got and (tmp_path / 'stages.json').exists())
    assert list(reached.times) == list(started_node.STAGES)
    assert json.loads((tmp_path / 'stages.json').read_text()) == reached.times


def test_the_stages_of_a_start_add_up():
    names = list(started_node.STAGES)
    starts = [{name: pace * (n + 1) for n, name in enumerate(names)} for pace in (0.1, 0.3, 0.2)]
    rows = start.stages(starts)
    assert [row['stage'] for row in rows] == names
    assert sum(row['s'] for row in rows) == pytest.approx(rows[-1]['since_s'])
    assert rows[-1]['since_s'] == pytest.approx(0.2 * len(names))


def test_the_sensor_of_the_benchmark_measures_what_the_camera_sees():
    frame, cloud = read_clip()[7], clouds(128)[7]
    anchors = point_anchors(cloud_points(cloud), np.eye(4), frame.camera)
    rows, columns = (np.rint(place).astype(int) for place in (anchors.v, anchors.u))
    np.testing.assert_allclose(anchors.depth, frame.truth[rows, columns], rtol=1e-5)
    assert anchor_depth(frame.truth, anchors)[1].used > 100


def test_the_camera_of_the_benchmark_sends_anchors_with_its_images(namespace, robot):
    camera = CameraProcess(namespace=namespace, size=(96, 72), clouds=serialized_clouds(32))
    try:
        with running_node(namespace, load_estimator=lambda *_: StandIn(), anchors='points'):
            robot.listen(DEPTH)
            robot.watch_diagnostics()
            camera.set_rate(5.0)
            wait_until(
                lambda: (
                    (status := robot.status('depth'))
                    and ('anchor_age_s', '0.000')
                    in [(pair.key, pair.value) for pair in status.values]
                )
            )
            values = {pair.key: float(pair.value) for pair in robot.status('depth').values}
            assert values['anchors_offered'] >= 32 and values['anchor_strength'] == 1
    finally:
        camera.close()
