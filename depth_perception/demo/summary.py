# SPDX-License-Identifier: Apache-2.0
"""The figures of a demo for summary.json."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_perception.demo.obstacles import obstacle_scores
from depth_perception.demo.plan import Plan
from depth_perception.demo.scores import MAX_DEPTH, scores

if TYPE_CHECKING:
    from depth_perception.demo.recorder import FrameRecord, Recording


def make_summary(
    plan: Plan, recording: Recording, frames: list[FrameRecord], truths: list[np.ndarray]
) -> dict[str, Any]:
    """Return the contents of summary.json."""
    summary: dict[str, Any] = {
        'bag': plan.bag.resolve().name,
        'image_topic': plan.image.name,
        'size': list(plan.size),
        'replay_rate': plan.rate,
        'frames_in': plan.frames,
        'frames_out': {
            topic: recording.counts[topic]
            for topic in ('depth/image', 'depth/camera_info', 'depth/points', 'scan')
        },
        'latency_ms': {
            topic: _percentiles(values) for topic, values in sorted(recording.latency.items())
        },
        'latency_is': 'from header stamp (set when the replay publishes) to arrival in Python',
        'node_stages_ms': recording.stages,
        **recording.node_facts,
        'machine': f'{platform.machine()}, {_processor()}',
    }
    pairs = [
        (frame.depth, truths[frame.index])
        for frame in frames
        if frame.depth is not None and frame.index < len(truths)
    ]
    if pairs and len(frames) == plan.frames:  # otherwise frames and truths do not match
        summary['scores'] = scores(pairs)
        if plan.mounting and recording.camera:
            # Use the range of the costmap, whatever the range of the network.
            summary['obstacles'] = obstacle_scores(
                frames, truths, recording.camera, plan.mounting, MAX_DEPTH
            )
    return summary


def _percentiles(values: list[float]) -> dict[str, float]:
    p50, p95, worst = np.percentile(np.array(values) * 1000, (50, 95, 100)).round(1)
    return {'p50': float(p50), 'p95': float(p95), 'max': float(worst)}


def _processor() -> str:
    try:
        names = [
            line.split(':')[1].strip()
            for line in Path('/proc/cpuinfo').read_text().splitlines()
            if line.startswith('model name')
        ]
    except OSError:
        names = []
    return f'{names[0] if names else platform.processor() or "CPU"}, {os.cpu_count()} cores'
