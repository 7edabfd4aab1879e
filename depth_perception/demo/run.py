# SPDX-License-Identifier: Apache-2.0
"""Play a bag to a depth node in its own process, record the outputs, and show them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_perception.demo.animation import FRAMES
from depth_perception.demo.plan import Plan, make_plan
from depth_perception.demo.processes import isolate_ros
from depth_perception.demo.scores import read_truth
from depth_perception.demo.session import DemoError, record
from depth_perception.demo.summary import make_summary
from depth_perception.io.bag import Bag, BagError
from depth_perception.io.files import folder_aside, write_atomically

if TYPE_CHECKING:
    from depth_perception.camera.model import CameraModel
    from depth_perception.demo.recorder import FrameRecord

#: Number of frames in the pictures.
PICTURES = 4
#: Description of the anchors of `--anchors`.
ANCHORS = (
    'the middle row of the true depth, a beam each half degree, with noise of 3 % + 2 cm '
    'and 10 % outliers'
)
RESULTS = ('montage.png', 'animation.gif', 'cloud.png', 'cloud.ply', 'summary.json')


def main(options: argparse.Namespace) -> int:
    """Run with parsed options; return 0 if all is written, 1 after one sentence on failure."""
    isolate_ros()
    try:
        run(options.bag, options.image, options.out, options.anchors, options.model)
    except (DemoError, BagError) as error:
        sys.stderr.write(f'demo: {error}\n')
        return 1
    except OSError as error:
        sys.stderr.write(f'demo: cannot write to {options.out}: {error.strerror or error}\n')
        return 1
    return 0


def run(
    bag: Path, image: str | None, out: Path, anchors: bool = False, model: Path | None = None
) -> dict[str, Any]:
    """Play, record and write everything; return the summary."""
    if model:
        _refuse_without_metres(model)
    out.mkdir(parents=True, exist_ok=True)
    # Write to a temporary folder, and move complete results. Fails now if nothing can be written.
    with folder_aside(out, 'demo') as aside:
        os.environ.setdefault('ROS_LOG_DIR', str(aside))
        summary = _produce(aside, replace(make_plan(bag, image), model=model), anchors)
        for name in RESULTS:
            (out / name).unlink(missing_ok=True)
            if (aside / name).exists():
                os.replace(aside / name, out / name)
    print_summary(out, summary)
    return summary


def _refuse_without_metres(model: Path) -> None:
    from depth_perception.io.weights import WeightsError, check_weights

    try:
        info = check_weights(model).info
    except WeightsError as error:
        raise DemoError(str(error)) from error
    if not info.is_metric:
        raise DemoError(
            f'{model} gives {info.output}, not metres: use it in the node, with anchors '
            '(docs/networks.md)'
        )


def _produce(out: Path, plan: Plan, anchors: bool) -> dict[str, Any]:
    truths = read_truth(plan.bag / 'truth')
    keep, film = _spread(plan.frames, PICTURES), _spread(plan.frames, FRAMES)
    plan, recording = record(plan, keep, film, bool(truths))
    frames = sorted(recording.frames.values(), key=lambda frame: frame.index)
    if len(frames) == plan.frames:
        _fill_in_images(plan, [frame for frame in frames if frame.index in keep | film])
    summary = make_summary(plan, recording, frames, truths)
    if anchors:
        summary['anchored'] = _record_anchored(out / 'lidar', plan, keep, film, frames, truths)
    seen = [frame for frame in frames if frame.rgb is not None and frame.depth is not None]
    if not seen:
        raise DemoError('the node gave no depth: see its messages above')
    write_pictures(
        out,
        plan,
        [frame for frame in seen if frame.index in keep] or seen[:1],
        truths,
        summary,
        recording.camera,
    )
    write_animation(out, plan, seen, recording.camera)
    write_atomically(out / 'summary.json', [json.dumps(summary, indent=2).encode() + b'\n'])
    return summary


def _record_anchored(
    folder: Path,
    plan: Plan,
    keep: set[int],
    film: set[int],
    frames: list[FrameRecord],
    truths: list[np.ndarray],
) -> dict[str, Any]:
    """Record a second replay with a lidar; add its data to the frames, and return its summary."""
    from depth_perception.demo.lidar import Lidar, recorded_camera, with_lidar

    camera = recorded_camera(plan)
    if camera is None:
        raise DemoError('--anchors needs the camera, and the recording has no camera_info')
    lidar = Lidar(truths, camera)
    plan, recording = record(with_lidar(plan, lidar, folder), keep, film, True)
    by_index = {frame.index: frame for frame in recording.frames.values()}
    for frame in frames:
        frame.anchored = by_index.get(frame.index)
        if frame.anchored is not None and frame.index in keep:
            frame.anchored.anchors = lidar.anchors(frame.index)
    again = make_summary(plan, recording, list(by_index.values()), truths)
    return {
        'anchors': ANCHORS,
        'replay_rate': plan.rate,
        **{
            key: again[key]
            for key in ('scores', 'obstacles', 'frames_out', 'node_stages_ms')
            if key in again
        },
    }


def _spread(count: int, most: int) -> set[int]:
    """Return the indices of at most `most` evenly spread frames out of `count`."""
    return set(np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist())


def _fill_in_images(plan: Plan, frames: list[FrameRecord]) -> None:
    """Read camera images that the recorder missed from the bag: frame n is its n-th image."""
    from depth_perception.io.image_messages import decode

    missing = {frame.index: frame for frame in frames if frame.rgb is None}
    if not missing:
        return
    with Bag(plan.bag) as bag:
        for index, message in enumerate(bag.messages([plan.image.name])):
            if index in missing:
                missing[index].rgb = decode(bag.deserialize(message))


def write_animation(
    out: Path, plan: Plan, frames: list[FrameRecord], camera: CameraModel | None
) -> None:
    """Write animation.gif at the pace of the recording, if it has one."""
    from depth_perception.demo.animation import animation
    from depth_perception.demo.pictures import depth_range

    every = plan.frames / max(1, len(frames))
    seconds = every / plan.hertz if plan.hertz else 0.2
    animation(out / 'animation.gif', frames, camera, depth_range(frames, []), min(seconds, 1.0))


def write_pictures(
    out: Path,
    plan: Plan,
    frames: list[FrameRecord],
    truths: list[np.ndarray],
    summary: dict[str, Any],
    camera: CameraModel | None,
) -> None:
    """Write montage.png, and cloud.png and cloud.ply if there is a camera."""
    from depth_perception.demo.pictures import cloud_points, cloud_views, montage
    from depth_perception.io.ply import write_ply

    pictured = [truths[frame.index] if frame.index < len(truths) else None for frame in frames]
    montage(out / 'montage.png', frames, pictured, _title(plan, summary), camera, plan.mounting)
    clouds = [(frame, frame.cloud) for frame in frames if frame.cloud is not None]
    if clouds:
        frame, cloud = clouds[len(clouds) // 2]
        cloud_views(out / 'cloud.png', frame, camera)
        write_ply(out / 'cloud.ply', *cloud_points(cloud))


def print_summary(out: Path, summary: dict[str, Any]) -> None:
    """Print where the results are and the main figures."""
    latency = summary['latency_ms']['depth/image']
    lines = [
        f'{summary["frames_in"]} frames in, {summary["frames_out"]["depth/image"]} depth images '
        f'out at {summary["replay_rate"]:g}x; stamp to arrival p50 {latency["p50"]:.0f} ms, '
        f'p95 {latency["p95"]:.0f} ms',
        f'{out}/montage.png   camera, depth, true depth and error (where known) and obstacle scan',
        f'{out}/animation.gif camera, depth and point cloud in motion',
    ]
    if (out / 'cloud.ply').exists() and summary['frames_out']['depth/points']:
        lines += [
            f'{out}/cloud.png     a point cloud in perspective and from above',
            f'{out}/cloud.ply     the same cloud, for MeshLab, CloudCompare or Blender',
        ]
    else:
        lines.append('no camera_info in this bag: depth only, no cloud and no scan')
    lines.append(f'{out}/summary.json  all figures')
    if 'scores' in summary:
        s = summary['scores']
        if anchored := summary.get('anchored', {}).get('scores'):
            lines.insert(
                1,
                f'with one row of a lidar:  AbsRel {anchored["AbsRel"]:.3f}, RMSE '
                f'{anchored["RMSE_m"]:.2f} m, delta1 {anchored["delta1"]:.3f}',
            )
        lines.insert(
            1,
            f'against the truth: AbsRel {s["AbsRel"]:.3f}, RMSE {s["RMSE_m"]:.2f} m, '
            f'delta1 {s["delta1"]:.3f} ({s["protocol"]})',
        )
    for title, found in (
        ('obstacles within 3 m', summary.get('obstacles')),
        ('with the lidar', summary.get('anchored', {}).get('obstacles')),
    ):
        if found:
            lines.insert(
                -1,
                f'{title}: {found["found_percent"]} % found, '
                f'{found["missed_percent"]} % missed, {found["hidden_percent"]} % '
                'behind a false nearer one (docs/obstacles.md)',
            )
    sys.stdout.write('\n'.join(lines) + '\n')


def _title(plan: Plan, summary: dict[str, Any]) -> str:
    title = f'{plan.bag.resolve().name}, network "{summary.get("model", "unknown")}"'
    if 'scores' in summary:
        title += (
            f': depth is off by {100 * summary["scores"]["AbsRel"]:.0f} % on average over '
            'all frames, not aligned to the truth'
        )
    if anchored := summary.get('anchored', {}).get('scores'):
        title += f'; by {100 * anchored["AbsRel"]:.0f} % with one row of a lidar (red)'
    return title
