# SPDX-License-Identifier: Apache-2.0
"""Follow frames from the camera's publish to the subscriber, and tell where the time goes.

    python -m benchmarks.trace                     the node and the usual pattern, 3 minutes
    python -m benchmarks.trace --rates 15 --turns 1 --seconds 3    a trial
    python -m benchmarks.trace --anchors 128       the node, without and with a sensor
    python -m benchmarks.trace --awake             with cores that are not allowed to sleep

A camera process sends raw 640x480 images of the bundled clip over DDS; a subscriber takes depth,
the cloud of every second pixel and the scan. All nodes run from the start, each with a camera of
its own, and are measured in turns of some seconds, like the network alone in another process.
Writes trace.json. With --anchors the second node is depth_node again, which corrects its depth by
clouds of true points (`benchmarks.sensor`), and the file is anchors.json.

The network alone runs without a pause, and also at the rate of the camera: what it takes longer
then is due to cores that have slept. Of each process and kind of thread, the processor time of a
frame is noted.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from benchmarks import marks, processor
from benchmarks.bench import ALLOWED_LOSS, START, BenchError, say
from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.marks import Frames, Mark
from benchmarks.process import prepare_process
from benchmarks.processor import Slice, processor_time
from benchmarks.results import write_json
from benchmarks.sensor import serialized_clouds
from depth_perception.demo.processes import Child, child
from depth_perception.ros.conversions.stamps import serialized_stamp
from depth_perception.ros.conversions.topics import DEPTH, POINTS, SCAN
from depth_perception.ros.node.publishers import TYPES

TOPICS = (DEPTH, POINTS, SCAN)
#: Modules of the nodes by name; one that writes marks takes the file as its first argument.
NODES = {'depth_node': 'benchmarks.traced_node', 'usual pattern': 'benchmarks.usual_node'}
#: Name of the node that a sensor corrects.
ANCHORED = 'depth_node with anchors'
#: Places of the budget up to the arrival of depth, and what ends there. A node passes them in the
#: order of time, which may be another one.
PLACES = {
    'camera writes': 'camera: stamp, convert, serialize',
    'node has it in DDS': 'DDS: camera to node',
    'executor wakes': 'node: executor wakes up',
    'executor takes it': 'node: executor finds what is ready',
    'callback': 'node: take and deserialize',
    'handed over': 'node: callback',
    'worker has it': 'node: worker wakes up',
    'decoded': 'node: decode, camera',
    'prepared': 'node: resize, normalise',
    'network done': 'network',
    'resized back': 'node: depth in full size',
    'anchors found': 'node: anchors of the sensor',
    'depth corrected': 'node: fit the anchors, correct depth',
    'products done': 'node: masks, edges, cloud, scan',
    'messages made': 'node: messages',
    f'{DEPTH}: publish': 'node: until depth is published',
    f'{DEPTH}: DDS': 'node: convert and serialize depth',
    f'{DEPTH}: arrived': 'DDS: node to subscriber',
    f'{DEPTH}: received': 'subscriber: executor wakes up and takes it',
}
#: The way of the other outputs, after depth.
REST = {
    f'{DEPTH}: published': 'publish returns',
    f'{POINTS}: published': 'cloud published',
    f'{SCAN}: published': 'scan published',
    f'{POINTS}: received': 'cloud received',
    f'{SCAN}: received': 'scan received',
}


class Subscriber:
    """Subscribe to the outputs of a node; note when each arrives in DDS and in the callback.

    Attributes:
        frames: marks by stamp.
        counts: messages received, by topic.
        anchors: numbers of anchors that agreed, of the last frame before each diagnostics message.
    """

    def __init__(self, namespace: str) -> None:
        self._context = Context()
        self._context.init()
        self._node = Node(
            'subscriber', context=self._context, namespace=namespace, start_parameter_services=False
        )
        self.frames: Frames = defaultdict(dict)
        self.counts = dict.fromkeys(TOPICS, 0)
        self.anchors: list[float] = []
        for topic in TOPICS:
            self._node.create_subscription(
                TYPES[topic],
                topic,
                self._callback(topic),
                QoSProfile(depth=10),
                raw=True,
            )
        self._node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, QoSProfile(depth=10)
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unsubscribe."""
        self._executor.shutdown()
        self._thread.join(10)
        self._node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        own = self._node.get_namespace().lstrip('/') + '/'
        self.anchors += [
            float(pair.value)
            for status in message.status
            if status.name.startswith(own)
            for pair in status.values
            if pair.key == 'anchors_used'
        ]

    def _callback(self, topic: str) -> Any:
        def receive(data: bytes, info: dict[str, int]) -> None:
            at = marks.now(0)
            frame = self.frames[serialized_stamp(data)]
            frame[f'{topic}: DDS'] = Mark(info['source_timestamp'], 0, 0, 0, 0, 0)
            frame[f'{topic}: arrived'] = Mark(info['received_timestamp'], 0, 0, 0, 0, 0)
            frame[f'{topic}: received'] = at
            self.counts[topic] += 1

        return receive


class Network:
    """The bundled network in a process of its own, to measure it without a node."""

    def __init__(self, size: tuple[int, int]) -> None:
        processes = multiprocessing.get_context('spawn')
        self._pipe, other = processes.Pipe()
        self._process = processes.Process(target=_run_network, args=(other, size), daemon=True)
        self._process.start()
        self._pipe.recv()

    def seconds(self, duration: float, rate: float = 0.0) -> list[float]:
        """Return the seconds of each run for a duration, at a rate or one after the other."""
        self._pipe.send((duration, 1 / rate if rate else 0.0))
        return list(self._pipe.recv())

    def close(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join(10)


def _run_network(pipe: Any, size: tuple[int, int]) -> None:
    from depth_perception.inference.estimator import DepthEstimator
    from depth_perception.inference.threads import share_the_cores

    share_the_cores()
    estimator = DepthEstimator.load(device='cpu')
    image = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    pipe.send(None)
    while (order := pipe.recv()) is not None:
        duration, period = order
        due = time.monotonic()
        end, taken = due + duration, []
        while time.monotonic() < end:
            taken.append(estimator.estimate(image).network_seconds)
            due += period
            time.sleep(max(0.0, due - time.monotonic()))
        pipe.send(taken)


@dataclass
class Traced:
    """A node with its camera and its subscriber.

    Attributes:
        name: as in NODES.
        slices: what was measured, by camera rate.
    """

    name: str
    process: Child
    camera: CameraProcess
    subscriber: Subscriber
    file: Path
    slices: dict[float, list[Slice]] = field(default_factory=lambda: defaultdict(list))

    def wait_until_ready(self) -> None:
        """Wait for the first depth image."""
        deadline = time.monotonic() + START
        self.camera.set_rate(2.0)
        while not self.subscriber.counts[DEPTH]:
            if self.process.ended() or time.monotonic() > deadline:
                raise BenchError(
                    f'{self.name}: no depth image: '
                    f'{self.process.complaint() or "the node is silent"}'
                )
            time.sleep(0.1)
        self.camera.set_rate(0.0)

    def measure(self, rate: float, seconds: float) -> Slice:
        """Send images for some seconds, after one second that does not count."""
        self.camera.set_rate(rate)
        time.sleep(1.0)
        start, before = time.time_ns(), self._counters()
        time.sleep(seconds)
        end, after = time.time_ns(), self._counters()
        self.camera.set_rate(0.0)
        time.sleep(0.5)
        found = Slice(
            (start, end),
            after.sent - before.sent,
            after.got - before.got,
            processor.between(before.node, after.node),
            after.camera - before.camera,
            after.subscriber - before.subscriber,
        )
        self.slices[rate].append(found)
        return found

    def _counters(self) -> Slice:
        """Return everything since the start."""
        return Slice(
            (0, 0),
            self.camera.sent,
            self.subscriber.counts[DEPTH],
            processor.threads(self.process.pid),
            processor.total(processor.threads(self.camera.pid)),
            time.process_time(),
        )

    def frames(self, rate: float) -> list[dict[str, Mark]]:
        """Return all marks of each frame of a rate; to be called after the node has ended."""
        own = marks.read(self.file) if self.file.exists() else {}
        spans = [one.span for one in self.slices[rate]]
        return [
            {'stamp': Mark(stamp, 0, 0, 0, 0, 0), **own.get(stamp, {}), **heard}
            for stamp, heard in sorted(self.subscriber.frames.items())
            if any(start <= stamp <= end for start, end in spans)
        ]


@contextlib.contextmanager
def traced(
    name: str, module: str, size: tuple[int, int], folder: Path, anchors: int = 0
) -> Iterator[Traced]:
    """Run a node in a namespace of its own, with a sensor that gives so many anchors."""
    namespace = '/' + ''.join(letter if letter.isalnum() else '_' for letter in name)
    file = folder / f'{namespace[1:]}.json'
    subscriber = Subscriber(namespace)
    camera = CameraProcess(namespace=namespace, size=size, clouds=serialized_clouds(anchors))
    parameters = {'image_sizes': '{}x{}'.format(*size)}
    arguments = [] if module == NODES.get('usual pattern') else [str(file)]
    try:
        with child(
            module,
            *arguments,
            remaps={'__ns': namespace},
            parameters=parameters | ({'anchors': 'points'} if anchors else {}),
        ) as process:
            yield Traced(name, process, camera, subscriber, file)
    finally:
        camera.close()
        subscriber.close()


def budget(frames: list[dict[str, Mark]], places: dict[str, str]) -> list[dict[str, Any]]:
    """Return what happens up to each place that most frames pass, in order of time.

    Times are medians in milliseconds: `ms` since the place before, `at_ms` since the stamp. Where
    one thread has come from the place before, also its processor time, and the mean number of its
    page faults, of its waits and of the times that its core was taken from it.
    """
    found = [place for place in places if sum(place in frame for frame in frames) > len(frames) / 2]
    found = ['stamp', *found]
    frames = [frame for frame in frames if all(place in frame for place in found)]
    at = {
        place: np.array([frame[place].time - frame['stamp'].time for frame in frames]) / 1e6
        for place in found
    }
    found.sort(key=lambda place: float(np.median(at[place])))
    return [
        {
            'place': place,
            'what': places[place],
            'at_ms': float(np.median(at[place])),
            'ms': float(np.median(at[place] - at[before])),
            'p95_ms': float(np.percentile(at[place] - at[before], 95)),
            **_used([frame[before] for frame in frames], [frame[place] for frame in frames]),
        }
        for before, place in itertools.pairwise(found)
    ]


def _used(before: list[Mark], after: list[Mark]) -> dict[str, float]:
    """Return what a thread has used between two places, nothing if there were two threads."""
    pairs = [
        (one, two) for one, two in zip(before, after) if one.thread and one.thread == two.thread
    ]
    if len(pairs) < len(before) / 2:
        return {}
    return {
        'cpu_ms': float(np.median([two.cpu - one.cpu for one, two in pairs])) / 1e6,
        **{
            name: float(np.mean([getattr(two, name) - getattr(one, name) for one, two in pairs]))
            for name in ('faults', 'waits', 'pushed')
        },
    }


def latency(frames: list[dict[str, Mark]], topic: str) -> dict[str, float]:
    """Return percentiles of the milliseconds from stamp to arrival of a topic."""
    place = f'{topic}: received'
    taken = [frame[place].time - frame['stamp'].time for frame in frames if place in frame]
    if not taken:
        return {}
    return {f'p{q}': round(float(np.percentile(taken, q)) / 1e6, 2) for q in (50, 95, 99)}


def beside_network(frames: list[dict[str, Mark]]) -> float | None:
    """Return the median milliseconds from the callback to the last publish, without the network."""
    last = f'{SCAN}: published', f'{POINTS}: published', f'{DEPTH}: published'
    needed = ('callback', 'prepared', 'network done', *last)
    taken = [
        max(frame[place].time for place in last)
        - frame['callback'].time
        - frame['network done'].time
        + frame['prepared'].time
        for frame in frames
        if all(place in frame for place in needed)
    ]
    return float(np.median(taken)) / 1e6 if taken else None


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all nodes and the network in turns."""
    network: list[float] = []
    paced: dict[float, list[float]] = defaultdict(list)
    share: dict[str, Slice] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        alone = stack.enter_context(contextlib.closing(Network(options.size)))
        with contextlib.ExitStack() as running:
            nodes = [
                running.enter_context(
                    traced(
                        name,
                        module,
                        options.size,
                        Path(folder),
                        options.anchors if name == ANCHORED else 0,
                    )
                )
                for name, module in options.nodes.items()
            ]
            for node in nodes:
                node.wait_until_ready()
            for _ in range(options.turns):
                for rate in options.rates:
                    network += alone.seconds(options.seconds / 4)
                    paced[rate] += alone.seconds(options.seconds / 2, rate)
                    for node in nodes:
                        node.measure(rate, options.seconds)
            own_rate = 1 / float(np.median(network))
            if options.share:
                for node in nodes:
                    share[node.name] = node.measure(options.share * own_rate, 2 * options.seconds)
        results = {node.name: _figures(node, options.rates) for node in nodes}
        at_share = _at_share(share, nodes, options.share * own_rate)
        agreed = [number for node in nodes for number in node.subscriber.anchors]
    if options.anchors and not any(agreed):
        raise BenchError('no depth was corrected by anchors')
    return {
        'machine': machine(),
        'size': list(options.size),
        'note': options.note,
        'cores': len(os.sched_getaffinity(0)),
        'cores_awake': options.awake,
        'anchors': round(float(np.median(agreed))) if agreed else 0,
        'network_ms': _milliseconds(network),
        'network_ms_at_hz': {f'{rate:g}': _milliseconds(paced[rate]) for rate in options.rates},
        'share_of_network_rate': options.share,
        **at_share,
        'nodes': results,
    }


def _at_share(share: dict[str, Slice], nodes: list[Traced], rate: float) -> dict[str, Any]:
    """Return what was lost at a share of the network's rate, and what a depth image has cost."""
    return {
        'lost': {name: 1 - one.got / max(1, one.sent) for name, one in share.items()},
        'processor_ms_at_share': {
            node.name: processor_time([share[node.name]], node.frames(rate))
            for node in nodes
            if node.name in share
        },
    }


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    return {f'p{q}': round(1000 * float(np.percentile(seconds, q)), 2) for q in (50, 95)}


def _figures(node: Traced, rates: list[float]) -> dict[str, Any]:
    found = {}
    for rate in rates:
        frames = node.frames(rate)
        found[f'{rate:g}'] = {
            'frames': len(frames),
            **{topic: latency(frames, topic) for topic in TOPICS},
            'beside_network_ms': beside_network(frames),
            'processor_ms': processor_time(node.slices[rate], frames),
            'budget': budget(frames, PLACES),
            'rest': budget(frames, REST),
        }
    return found


def text(found: dict[str, Any]) -> str:
    """Format the figures for a terminal."""
    network = found['network_ms']['p50']
    lines = [
        f'{found["machine"]}; network alone {network:.2f} ms, p95 {found["network_ms"]["p95"]:.2f}'
    ]
    lines += [
        f'network alone at {rate} Hz {paced["p50"]:.2f} ms, p95 {paced["p95"]:.2f}'
        for rate, paced in found['network_ms_at_hz'].items()
    ]
    for name, rates in found['nodes'].items():
        for rate, row in rates.items():
            depth = row[DEPTH]
            if not depth:
                lines.append(f'{name}, {rate} Hz: no depth')
                continue
            beside = row['beside_network_ms']
            lines.append(
                f'{name}, {rate} Hz, {row["frames"]} frames: depth {depth}, '
                f'{depth["p50"] / network:.2f} x network, p95/p50 '
                f'{depth["p95"] / depth["p50"]:.2f}, cloud p50 {row[POINTS].get("p50")}, '
                f'beside the network {"-" if beside is None else f"{beside:.2f}"} ms; '
                f'processor {_parts_text(row["processor_ms"])}'
            )
    for name, share in found['lost'].items():
        lines.append(
            f'{name} at {100 * found["share_of_network_rate"]:.0f} % of the rate of the network: '
            f'{100 * share:.1f} % lost{" (too much)" if share >= ALLOWED_LOSS else ""}; '
            f'processor {_parts_text(found["processor_ms_at_share"][name])}'
        )
    return '\n'.join(lines)


def _parts_text(parts: dict[str, float]) -> str:
    each = ', '.join(f'{part} {milliseconds:.1f}' for part, milliseconds in parts.items())
    return f'{sum(parts.values()):.1f} ms a frame ({each})'


def budget_text(rows: list[dict[str, Any]]) -> str:
    """Format a budget for a terminal."""
    head = (
        f'{"":<46}{"ms":>7}{"p95":>7}{"since":>7}{"cpu":>7}{"faults":>8}{"waits":>7}{"pushed":>8}'
    )
    lines = [head]
    for row in rows:
        used = (
            f'{row["cpu_ms"]:7.2f}{row["faults"]:8.1f}{row["waits"]:7.1f}{row["pushed"]:8.2f}'
            if 'cpu_ms' in row
            else ''
        )
        lines.append(
            f'{row["what"]:<46}{row["ms"]:7.2f}{row["p95_ms"]:7.2f}{row["at_ms"]:7.2f}{used}'
        )
    return '\n'.join(lines)


def _nodes(words: list[str]) -> dict[str, str]:
    return dict(word.split('=', 1) for word in words)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--size', type=int, nargs=2, default=(640, 480), metavar=('WIDTH', 'HEIGHT')
    )
    parser.add_argument('--rates', type=float, nargs='+', default=[5.0, 15.0, 30.0])
    parser.add_argument('--seconds', type=float, default=6.0, help='duration of each slice')
    parser.add_argument('--turns', type=int, default=2)
    parser.add_argument(
        '--share', type=float, default=0.7, help="also send at this share of the network's own rate"
    )
    parser.add_argument('--nodes', nargs='+', metavar='NAME=MODULE', help='variants of the node')
    parser.add_argument(
        '--anchors', type=int, default=0, metavar='N', help='true distances, in a second node'
    )
    parser.add_argument(
        '--awake', action='store_true', help='keep cores from sleeping (PM QoS; needs root)'
    )
    parser.add_argument('--note', default='', help='a sentence about the run')
    parser.add_argument('--out', type=Path, default=Path('trace_output'))
    options = parser.parse_args(arguments)
    options.size = tuple(options.size)
    options.nodes = _nodes(options.nodes) if options.nodes else dict(NODES)
    if options.anchors:
        options.nodes.pop('usual pattern', None)
        options.nodes[ANCHORED] = NODES['depth_node']
    prepare_process()
    try:
        with processor.cores_awake() if options.awake else contextlib.nullcontext():
            found = run(options)
    except (BenchError, PermissionError) as error:
        sys.stderr.write(f'trace: {error}\n')
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    name = 'anchors.json' if options.anchors else 'trace.json'
    write_json(options.out / name, found)
    for name, rates in found['nodes'].items():
        for rate, row in rates.items():
            if len(row['budget']) > 4:
                say(f'\n{name} at {rate} Hz')
                say(budget_text(row['budget']) + '\n' + budget_text(row['rest']))
    say(text(found))
    return 0


if __name__ == '__main__':
    sys.exit(main())
