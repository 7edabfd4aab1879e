# SPDX-License-Identifier: Apache-2.0
"""Run the node for an hour at its highest sustained rate and check for leaks, hangs and losses.

A camera process feeds the bundled clip to the real `depth_node` process over DDS, with a subscriber
to every output. First it finds the highest rate at which less than 5 % of the frames are lost (the
method of ros2_benchmark), then it monitors the node at that rate:

    python -m benchmarks.soak                 60 minutes
    python -m benchmarks.soak --minutes 2     a trial

Writes soak.json and soak.png; the exit status is 1 if something hung, died or grew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import Bench, BenchError, say
from benchmarks.camera import CameraProcess
from benchmarks.machine import machine
from benchmarks.process import prepare_process
from benchmarks.resources import LIMITS, resources, slope
from benchmarks.results import write_json
from depth_perception.demo.processes import child
from depth_perception.ros.conversions.topics import DEPTH

#: Seconds between two samples.
PERIOD = 10.0
#: Seconds without output or diagnostics after which the node counts as hung.
SILENCE = 15.0
#: Start of a run, when caches and pools fill: its share, and at most these seconds.
WARM_UP_SHARE, WARM_UP = 0.25, 600.0


@dataclass
class Record:
    """Measurements of a run.

    Attributes:
        rate: images per second sent by the camera.
        samples: one row every PERIOD.
        received: numbers of outputs by topic.
        sent: number of images.
        problem: what hung or died, or ''.
    """

    rate: float
    samples: list[dict[str, float]] = field(default_factory=list)
    received: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    problem: str = ''


def soak(bench: Bench, rate: float, seconds: float) -> Record:
    """Monitor the node at a rate."""
    record = Record(rate)
    before, start, last_word = bench.camera.sent, time.monotonic(), 0.0
    bench.listener.take()
    bench.camera.set_rate(rate)
    while time.monotonic() - start < seconds and not record.problem:
        due = start + (len(record.samples) + 1) * PERIOD
        time.sleep(max(0.0, due - time.monotonic()))
        record.problem = _problem(bench)
        if not record.problem:
            record.samples.append(_sample(bench, record, time.monotonic() - start))
        if time.monotonic() - last_word > 60 and record.samples:
            last_word = time.monotonic()
            say(_line(record.samples[-1]))
    record.sent = bench.camera.sent - before
    bench.camera.set_rate(0.0)
    time.sleep(2.0)
    record.received += bench.listener.take().counts
    return record


def _problem(bench: Bench) -> str:
    if bench.node.ended():
        return f'the node ended with {bench.node.exit_code}: {bench.node.complaint()}'
    if not bench.camera.alive:
        return 'the camera process ended'
    for topic, at in sorted(bench.listener.last.items()):
        if time.monotonic() - at > SILENCE:
            return f'hung: nothing on {topic} for {time.monotonic() - at:.0f} s'
    return ''


def _sample(bench: Bench, record: Record, seconds: float) -> dict[str, float]:
    heard = bench.listener.take()
    record.received += heard.counts
    row = {
        'seconds': seconds,
        **resources(bench.process),
        'sent': bench.camera.sent,
        'depth_hz': heard.counts[DEPTH] / PERIOD,
    }
    if 'gpu_memory_mb' in bench.listener.values:
        row['gpu_mb'] = float(bench.listener.values['gpu_memory_mb'])
    if heard.latencies:
        middle, p95 = np.percentile(heard.latencies, (50, 95))
        row |= {'latency_p50_ms': 1000 * middle, 'latency_p95_ms': 1000 * p95}
    return row


def judge(record: Record, seconds: float) -> dict[str, Any]:
    """Return slopes after the warm-up, losses, and the verdict."""
    warm_up = min(WARM_UP, WARM_UP_SHARE * seconds)
    rows = [row for row in record.samples if row['seconds'] >= warm_up]
    slopes = {}
    for key, limit in LIMITS.items():
        found = [row for row in rows if key in row]
        line = slope([row['seconds'] for row in found], [row[key] for row in found], limit)
        if line is not None:
            slopes[key] = {
                'per_hour': line.per_hour,
                'standard_error': line.error,
                'first': found[0][key],
                'last': found[-1][key],
                'leaks': line.leaks,
            }
    lost = 1 - record.received[DEPTH] / max(1, record.sent)
    return {
        'rate_hz': record.rate,
        'minutes': seconds / 60,
        'warm_up_s': warm_up,
        'images_sent': record.sent,
        'outputs_received': dict(record.received),
        'lost_percent': 100 * lost,
        'slopes': slopes,
        'problem': record.problem,
        'well': not record.problem and not any(s['leaks'] for s in slopes.values()),
    }


def plot(path: Path, record: Record, verdict: dict[str, Any]) -> None:
    """Draw every figure over time."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    rows = [
        ('rss_mb', 'resident memory, MB'),
        ('gpu_mb', 'GPU memory, MB'),
        ('handles', 'open handles'),
        ('threads', 'threads'),
        ('depth_hz', 'depth images a s'),
        ('latency_p95_ms', 'stamp to arrival p95, ms'),
    ]
    rows = [row for row in rows if any(row[0] in sample for sample in record.samples)]
    figure, axes = plt.subplots(
        len(rows), 1, sharex=True, figsize=(9, 1.7 * len(rows)), layout='constrained'
    )
    for axis, (key, label) in zip(np.atleast_1d(axes), rows):
        found = [sample for sample in record.samples if key in sample]
        axis.plot([s['seconds'] / 60 for s in found], [s[key] for s in found], lw=1.2)
        axis.axvspan(0, verdict['warm_up_s'] / 60, color='0.93')
        axis.set_title(label + _slope_text(verdict['slopes'].get(key)), loc='left', fontsize=9)
        axis.ticklabel_format(axis='y', useOffset=False)
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.98 * high if key != 'depth_hz' else 0), high)
        axis.grid(alpha=0.3)
    np.atleast_1d(axes)[-1].set_xlabel('minutes (grey: warm-up, not in the slopes)')
    figure.suptitle(
        f'{verdict["minutes"]:.0f} min at {record.rate:.1f} Hz: '
        f'{verdict["images_sent"]} images, {verdict["lost_percent"]:.2f} % lost'
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _slope_text(line: dict[str, float] | None) -> str:
    if line is None:
        return ''
    return f'   {line["per_hour"]:+.2f} ± {line["standard_error"]:.2f} an hour'


def _line(row: dict[str, float]) -> str:
    return (
        f'{row["seconds"] / 60:5.1f} min  {row["rss_mb"]:7.1f} MB  {row["handles"]:.0f} '
        f'handles  {row["threads"]:.0f} threads  {row["depth_hz"]:.1f} depth images/s'
    )


def report(verdict: dict[str, Any]) -> None:
    """Print the verdict."""
    say(
        f'{verdict["images_sent"]} images sent at {verdict["rate_hz"]:.2f} Hz, '
        f'{verdict["lost_percent"]:.2f} % lost; outputs {verdict["outputs_received"]}'
    )
    for key, line in verdict['slopes'].items():
        say(
            f'{key:8} {line["per_hour"]:+9.3f} ± {line["standard_error"]:.3f} an hour '
            f'({line["first"]:.1f} -> {line["last"]:.1f}){"  LEAKS" if line["leaks"] else ""}'
        )
    for text, times in sorted(verdict['diagnostics'].items()):
        say(f'{times:6} x {text}')
    say(f'well: {verdict["well"]}  {verdict["problem"]}')


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Find the rate, run, stop, evaluate; return the verdict, also written to the folder."""
    from benchmarks.listener import Listener

    options.out.mkdir(parents=True, exist_ok=True)
    listener = Listener()
    camera = CameraProcess()
    try:
        with child('depth_perception.ros.node.main', parameters={'device': options.device}) as node:
            bench = Bench(node, camera, listener)
            bench.wait_until_ready()
            rate = options.rate or bench.highest_rate(options.ceiling)
            listener.diagnostics.clear()
            record = soak(bench, rate, 60 * options.minutes)
        if not record.problem and node.exit_code != 0:
            record.problem = f'SIGINT did not end the node well: {node.exit_code}'
    finally:
        camera.close()
        listener.close()
    verdict = {
        'machine': machine(),
        **judge(record, 60 * options.minutes),
        'node': {
            key: listener.values.get(key)
            for key in ('model', 'device', 'precision', 'size', 'encoding')
        },
        'diagnostics': dict(listener.diagnostics),
    }
    content = {**verdict, 'samples': record.samples}
    write_json(options.out / 'soak.json', content)
    plot(options.out / 'soak.png', record, verdict)
    return verdict


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if all is well, 1 if something hung, died or grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--rate', type=float, help='rate in Hz, instead of searching for it')
    parser.add_argument('--ceiling', type=float, default=60.0, help='highest rate to try, Hz')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--out', type=Path, default=Path('soak_output'))
    options = parser.parse_args(arguments)
    prepare_process()
    try:
        verdict = run(options)
    except BenchError as error:
        sys.stderr.write(f'soak: {error}\n')
        return 1
    report(verdict)
    return 0 if verdict['well'] else 1


if __name__ == '__main__':
    sys.exit(main())
