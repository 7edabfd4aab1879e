# SPDX-License-Identifier: Apache-2.0
"""Play a bag to a depth node in its own process, record what it says, and show it.

    python -m depth_perception.demo [BAG] [--image TOPIC] [--out FOLDER]
"""
from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_perception.bag import COMPRESSED, Bag, BagError, Topic
from depth_perception.demo.processes import child, isolate_ros
from depth_perception.demo.scores import read_truth, scores
from depth_perception.files import write_atomically

if TYPE_CHECKING:
    from depth_perception.demo.recorder import FrameRecord, Recorder, Recording

CLIP_BAG = Path(__file__).parents[2] / 'data' / 'clip_bag'
#: Frames that get a picture.
PICTURES = 4
#: Seconds without anything new after which waiting ends.
SILENCE = 10.0
#: Hz; a machine that cannot follow even this drops frames rather than trying a visitor's patience.
SLOWEST = 0.5
#: Seconds for the node to load its network.
START = 120.0


class DemoError(RuntimeError):
    """The demo cannot go on; one sentence says why."""


@dataclass(frozen=True)
class Plan:
    """What is played, and how fast.

    Attributes:
        bag: folder.
        image: topic of the images.
        info: topic of camera_info, or None.
        frames: number of images.
        rate: of the replay; below 1 where this machine could not follow.
        size: (width, height) of the images.
    """

    bag: Path
    image: Topic
    info: Topic | None
    frames: int
    rate: float
    size: tuple[int, int]

    @property
    def compressed(self) -> bool:
        """Whether images are compressed."""
        return self.image.type == COMPRESSED


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when all is written, 1 with one sentence when not."""
    options = _parser().parse_args(arguments)
    isolate_ros()
    try:
        run(options.bag, options.image, options.out)
    except (DemoError, BagError) as error:
        sys.stderr.write(f'demo: {error}\n')
        return 1
    except OSError as error:
        sys.stderr.write(f'demo: cannot write to {options.out}: {error.strerror or error}\n')
        return 1
    except KeyboardInterrupt:
        sys.stderr.write('demo: interrupted\n')
        return 130
    return 0


def run(bag: Path, image: str | None, out: Path) -> dict[str, Any]:
    """Play, record and write everything; the summary."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / 'summary.json', [b'{}\n'])  # not writable: say so before the work
    plan = make_plan(bag, image)
    truths = read_truth(bag / 'truth')
    keep = set(np.linspace(0, plan.frames - 1, min(PICTURES, plan.frames)).round().astype(int))
    recording = record(plan, keep, bool(truths))
    frames = sorted(recording.frames.values(), key=lambda frame: frame.index)
    summary = make_summary(plan, recording, frames, truths)
    write_pictures(out, plan, frames, truths, summary)
    write_atomically(out / 'summary.json', [json.dumps(summary, indent=2).encode() + b'\n'])
    tell(out, summary)
    return summary


def make_plan(path: Path, image: str | None) -> Plan:
    """Choose topics, and a pace at which this machine's network can process every frame."""
    from depth_perception.estimator import DepthEstimator
    from depth_perception.ros.pipeline import decode

    with Bag(path) as bag:
        topic = bag.image_topic(image)
        info = bag.camera_info_topic(topic)
        rgb = decode(bag.deserialize(next(iter(bag.messages([topic.name])))))
        recorded = bag.rate(topic.name)
    estimator = DepthEstimator.load()
    seconds = min(_timed(lambda: estimator.infer(rgb)) for _ in range(5))
    # Replay, recorder and node share the machine: this leaves each of them room.
    possible = max(SLOWEST, 1 / (2.5 * seconds + 0.08))
    rate = min(1.0, possible / recorded) if recorded else 1.0
    return Plan(path, topic, info, topic.count, round(rate, 3), (rgb.shape[1], rgb.shape[0]))


def _timed(function: Any) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def record(plan: Plan, keep: set[int], keep_depth: bool) -> Recording:
    """Run node and replay as processes of their own and record over DDS."""
    import rclpy

    from depth_perception.demo.recorder import Recorder

    remaps = {'image/compressed' if plan.compressed else 'image': plan.image.name,
              'camera_info': plan.info.name if plan.info else 'camera_info'}
    parameters = {'image_transport': 'compressed' if plan.compressed else 'raw', 'max_age': '0.0'}
    rclpy.init(args=[])
    recorder = Recorder(plan.image.name, plan.compressed, keep, keep_depth)
    try:
        with child('depth_perception.ros.node', remaps=remaps, parameters=parameters) as node:
            _wait_for_node(recorder, node)
            topics = [plan.image.name, *([plan.info.name] if plan.info else [])]
            with child('depth_perception.ros.replay', str(plan.bag), '--restamp', '--rate',
                       str(plan.rate), '--wait-for-subscribers', '30', '--topics',
                       *topics) as replay:
                _record_all(recorder, plan, node, replay)
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown()
    return recorder.recording


def _wait_for_node(recorder: Recorder, node: Popen) -> None:
    import rclpy

    deadline = time.monotonic() + START
    while not recorder.matched():
        rclpy.spin_once(recorder, timeout_sec=0.1)
        if node.poll() is not None:
            raise DemoError(f'depth_node ended at once: {node.stderr.read().strip()}')
        if time.monotonic() > deadline:
            raise DemoError(f'depth_node did not get ready within {START:.0f} s')


def _record_all(recorder: Recorder, plan: Plan, node: Popen, replay: Popen) -> None:
    """Spin until every frame gave every output, or nothing new comes."""
    import rclpy
    from tqdm import tqdm

    counts = recorder.recording.counts
    outputs = ['depth/image'] + ['depth/points', 'scan', 'depth/camera_info'] * bool(plan.info)
    last_news, seen = time.monotonic(), 0
    with tqdm(total=plan.frames, unit='frame', desc=f'replay at {plan.rate:g}x') as bar:
        while min(counts[topic] for topic in outputs) < plan.frames:
            rclpy.spin_once(recorder, timeout_sec=0.1)
            total = sum(counts.values())
            if total != seen or replay.poll() is None:
                last_news, seen = time.monotonic(), total
            bar.update(counts['depth/image'] - bar.n)
            if node.poll() is not None:
                raise DemoError(f'depth_node ended: {node.stderr.read().strip()}')
            if time.monotonic() - last_news > SILENCE:
                break
    _spin_for(recorder, 1.2)  # one more diagnostics message, with the final figures


def _spin_for(recorder: Recorder, seconds: float) -> None:
    import rclpy

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rclpy.spin_once(recorder, timeout_sec=0.05)


def make_summary(plan: Plan, recording: Recording, frames: list[FrameRecord],
                 truths: list[np.ndarray]) -> dict[str, Any]:
    """What is written to summary.json."""
    summary: dict[str, Any] = {
        'bag': plan.bag.name, 'image_topic': plan.image.name, 'size': list(plan.size),
        'replay_rate': plan.rate, 'frames_in': plan.frames,
        'frames_out': {topic: recording.counts[topic] for topic in
                       ('depth/image', 'depth/camera_info', 'depth/points', 'scan')},
        'latency_ms': {topic: _percentiles(values)
                       for topic, values in sorted(recording.latency.items())},
        'latency_is': 'from header stamp (set when the replay publishes) to arrival in Python',
        'node_stages_ms': recording.stages, **recording.node_facts,
        'machine': f'{platform.machine()}, {_processor()}'}
    pairs = [(frame.depth, truths[frame.index]) for frame in frames
             if frame.depth is not None and frame.index < len(truths)]
    if pairs:
        summary['scores'] = scores(pairs)
    return summary


def write_pictures(out: Path, plan: Plan, frames: list[FrameRecord], truths: list[np.ndarray],
                   summary: dict[str, Any]) -> None:
    """montage.png; cloud.png and cloud.ply where there is a camera."""
    from depth_perception.demo.pictures import cloud_points, cloud_views, montage
    from depth_perception.ply import write_ply

    shown = [frame for frame in frames if frame.rgb is not None and frame.depth is not None]
    if not shown:
        raise DemoError('the node gave no depth: see its messages above')
    pictured = [truths[frame.index] if frame.index < len(truths) else None for frame in shown]
    montage(out / 'montage.png', shown, pictured, _title(plan, summary))
    clouds = [frame for frame in shown if frame.cloud is not None]
    if clouds:
        frame = clouds[len(clouds) // 2]
        cloud_views(out / 'cloud.png', frame)
        write_ply(out / 'cloud.ply', *cloud_points(frame.cloud))


def tell(out: Path, summary: dict[str, Any]) -> None:
    """Say where the results are and what they show."""
    latency = summary['latency_ms']['depth/image']
    lines = [
        f'{summary["frames_in"]} frames in, {summary["frames_out"]["depth/image"]} depth images '
        f'out; stamp to arrival p50 {latency["p50"]:.0f} ms, p95 {latency["p95"]:.0f} ms',
        f'{out}/montage.png   input, depth, truth (where known) and obstacle scan of a few frames']
    if (out / 'cloud.ply').exists() and summary['frames_out']['depth/points']:
        lines += [f'{out}/cloud.png     a point cloud from above and from the side',
                  f'{out}/cloud.ply     the same cloud, for MeshLab, CloudCompare or Blender']
    else:
        lines.append('no camera_info in this bag: depth only, no cloud and no scan')
    lines.append(f'{out}/summary.json  all figures')
    if 'scores' in summary:
        s = summary['scores']
        lines.insert(1, f'against the truth: AbsRel {s["AbsRel"]:.3f}, RMSE {s["RMSE_m"]:.2f} m, '
                        f'delta1 {s["delta1"]:.3f} ({s["protocol"]})')
    sys.stdout.write('\n'.join(lines) + '\n')


def _title(plan: Plan, summary: dict[str, Any]) -> str:
    title = f'{plan.bag.name}: {summary.get("model", "network")}'
    if 'scores' in summary:
        title += f', AbsRel {summary["scores"]["AbsRel"]:.3f} (metric, no alignment)'
    return title


def _percentiles(values: list[float]) -> dict[str, float]:
    p50, p95, worst = np.percentile(np.array(values) * 1000, (50, 95, 100)).round(1)
    return {'p50': float(p50), 'p95': float(p95), 'max': float(worst)}


def _processor() -> str:
    import os

    try:
        names = [line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text()
                 .splitlines() if line.startswith('model name')]
    except OSError:
        names = []
    return f'{names[0] if names else platform.processor() or "CPU"}, {os.cpu_count()} cores'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='demo', description='Metric depth, cloud and scan of a recorded camera.')
    parser.add_argument('bag', type=Path, nargs='?', default=CLIP_BAG,
                        help='rosbag2 folder (default: the bundled clip)')
    parser.add_argument('--image', metavar='TOPIC', help="the bag's image topic, if not obvious")
    parser.add_argument('--out', type=Path, default=Path('demo_output'),
                        help='where the results go (default: demo_output)')
    return parser
