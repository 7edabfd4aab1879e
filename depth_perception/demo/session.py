# SPDX-License-Identifier: Apache-2.0
"""Run a node and a replay as processes, and record them over DDS at a pace the machine can keep."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from depth_perception.demo.plan import Plan
from depth_perception.demo.processes import Child, child
from depth_perception.progress import Progress
from depth_perception.ros.conversions.topics import ANCHOR_POINTS

if TYPE_CHECKING:
    from depth_perception.demo.recorder import Recorder, Recording

#: Seconds without new messages after which waiting ends.
SILENCE = 10.0
#: Seconds for the node to load its network.
START = 120.0
#: Largest number of replays, each slower than the one before, until the machine keeps up.
ATTEMPTS = 4
#: Largest assumed seconds per frame; a slower or very busy machine loses frames.
SLOWEST = 1.5
#: A frame lost later than this is a hiccup and not worth another replay.
EARLY = 100


class DemoError(RuntimeError):
    """The demo cannot continue; the message is one sentence."""


def record(plan: Plan, keep: set[int], film: set[int], keep_depth: bool) -> tuple[Plan, Recording]:
    """Run the node and the replay as processes and record over DDS.

    Args:
        plan: the recording to play.
        keep: indices of the frames to keep completely.
        film: indices of the frames whose image and depth to keep.
        keep_depth: whether to keep the depth of all frames.

    Returns:
        The plan with the speed at which every frame was processed, and the recording.
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from depth_perception.demo.recorder import Recorder
    from depth_perception.ros.start import enter_ros

    remaps = {
        'image/compressed' if plan.compressed else 'image': plan.image.name,
        'camera_info': plan.info.name if plan.info else 'camera_info',
    }
    parameters = {
        'image_transport': 'compressed' if plan.compressed else 'raw',
        'max_age': '0.0',
        'image_sizes': f'{plan.size[0]}x{plan.size[1]}',
    }  # no frame at another size
    if plan.model:
        parameters['model_file'] = str(plan.model)
    if plan.mounting:
        parameters['camera_pitch'] = str(float(plan.mounting.pitch_deg))
        parameters['camera_height'] = str(float(plan.mounting.height_m))
    if plan.anchors:
        remaps[ANCHOR_POINTS] = plan.anchors
        parameters['anchors'] = 'points'
    # Python keeps handling signals: KeyboardInterrupt also ends the children.
    enter_ros([], signal_handler_options=SignalHandlerOptions.NO)
    recorder = Recorder(plan.image.name, plan.compressed, keep, film, keep_depth)
    try:
        with child('depth_perception.ros.node.main', remaps=remaps, parameters=parameters) as node:
            _wait_for_node(recorder, node)
            return _record_at_sustainable_rate(recorder, plan, node), recorder.recording
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown()


def _record_at_sustainable_rate(recorder: Recorder, plan: Plan, node: Child) -> Plan:
    """Replay, slower each time, until no frame is lost; return the plan with that rate."""
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        with _replay(plan) as replay:
            if _record_all(recorder, plan, node, replay, to_the_end=last):
                break
        plan = replace(plan, rate=_slower(plan, recorder.recording))
        sys.stderr.write(f'this machine cannot keep up; again at {plan.rate:g}x\n')
        _spin_for(recorder, 1.0)  # let outputs of the finished replay arrive
        recorder.forget()
    return plan


def _replay(plan: Plan) -> AbstractContextManager[Child]:
    topics = [
        plan.image.name,
        *([plan.info.name] if plan.info else []),
        *([plan.anchors] if plan.anchors else []),
    ]
    return child(
        'depth_perception.ros.replay.replay_bag',
        str(plan.bag),
        '--restamp',
        '--rate',
        str(plan.rate),
        '--wait-for-subscribers',
        '30',
        '--wait-for',
        *topics,
        '--topics',
        *topics,
    )


def _slower(plan: Plan, recording: Recording) -> float:
    """Return a rate with 1.5 times the seconds that a frame takes; at most half the last rate."""
    seconds = min(float(np.median(recording.latency['depth/image'])), SLOWEST)
    fitting = 1 / (1.5 * seconds * plan.hertz) if plan.hertz else plan.rate
    return float(f'{min(plan.rate / 2, fitting):.2g}')


def _wait_for_node(recorder: Recorder, node: Child) -> None:
    import rclpy

    deadline = time.monotonic() + START
    while not recorder.matched():
        rclpy.spin_once(recorder, timeout_sec=0.1)
        if node.ended() or node.complaint():
            raise DemoError(f'depth_node cannot start: {node.complaint()}')
        if time.monotonic() > deadline:
            raise DemoError(f'depth_node did not get ready within {START:.0f} s')


def _record_all(
    recorder: Recorder, plan: Plan, node: Child, replay: Child, *, to_the_end: bool
) -> bool:
    """Spin until all outputs of all frames have arrived, or nothing new arrives.

    Returns:
        False as soon as a frame is lost, unless `to_the_end` is set.
    """
    import rclpy

    counts = recorder.recording.counts
    outputs = ['depth/image', *(['depth/points', 'scan', 'depth/camera_info'] * bool(plan.info))]
    last_news, seen = time.monotonic(), 0
    with Progress(f'replay at {plan.rate:g}x', plan.frames, ' frames') as progress:
        while min(counts[topic] for topic in outputs) < plan.frames:
            rclpy.spin_once(recorder, timeout_sec=0.1)
            if sum(counts.values()) != seen or not replay.ended():
                last_news, seen = time.monotonic(), sum(counts.values())
            progress.step(counts['depth/image'] - progress.done)
            for process, name in ((node, 'depth_node'), (replay, 'replay_bag')):
                if process.failed():
                    raise DemoError(f'{name} ended: {process.complaint()}')
            if recorder.recording.lost and seen and not to_the_end and progress.done < EARLY:
                return False
            if time.monotonic() - last_news > SILENCE:
                break
    _spin_for(recorder, 1.2)  # one more diagnostics message, with the final figures
    return True


def _spin_for(recorder: Recorder, seconds: float) -> None:
    import rclpy

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rclpy.spin_once(recorder, timeout_sec=0.05)
