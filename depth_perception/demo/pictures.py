# SPDX-License-Identifier: Apache-2.0
"""The demo's pictures: a montage of frames, and the cloud from above and from the side."""
from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from depth_perception.files import write_atomically
from depth_perception.visualise import colourise

matplotlib.use('Agg')  # no display is needed

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from depth_perception.demo.recorder import FrameRecord

#: Metres at the near end of the colours.
NEAR = 0.3


def montage(path: Path, frames: list[FrameRecord], truths: list[NDArray | None],
            title: str) -> None:
    """One row a frame: image, depth, truth where there is one, and the scan from above."""
    with_truth = any(truth is not None for truth in truths)
    columns = ['camera image', 'depth'] + ['true depth'] * with_truth + ['obstacle scan']
    figure, axes = plt.subplots(
        len(frames), len(columns), squeeze=False,
        figsize=(3.4 * len(columns) + 0.6, 2.6 * len(frames) + 0.8), layout='constrained')
    figure.suptitle(title)
    far = reach(frames, truths)
    for row, (frame, truth) in enumerate(zip(frames, truths)):
        cells = dict(zip(columns, axes[row]))
        _show(cells['camera image'], frame.rgb)
        cells['camera image'].set_ylabel(f'frame {frame.index}')
        _show(cells['depth'], _depth_picture(frame.depth, far))
        if with_truth:
            _show(cells['true depth'], _depth_picture(truth, far))
        _draw_scan(cells['obstacle scan'], frame, far)
    for name, cell in zip(columns, axes[0]):
        cell.set_title(name)
    _colour_bar(figure, axes[:, 1:-1], far)
    _save(figure, path)


def cloud_views(path: Path, frame: FrameRecord) -> None:
    """The cloud from above and from the side, in metres, with the scan drawn in."""
    figure, (above, side) = plt.subplots(1, 2, figsize=(12, 6), layout='constrained')
    figure.suptitle(f'point cloud of frame {frame.index}: the camera is at (0, 0)')
    points, colours = cloud_points(frame.cloud)
    left, up, forward = -points[:, 0], -points[:, 1], points[:, 2]
    # What is nearest to the eye is drawn last.
    order = np.argsort(up)
    above.scatter(-left[order], forward[order], s=0.4, c=colours[order] / 255, linewidths=0)
    _scan_points(above, frame, float(forward.max(initial=1)))
    above.set(title='from above', xlabel='metres to the right', ylabel='metres ahead')
    order = np.argsort(-np.abs(left))
    side.scatter(forward[order], up[order], s=0.4, c=colours[order] / 255, linewidths=0)
    side.plot(0, 0, 'k>', markersize=9)
    side.set(title='from the side', xlabel='metres ahead', ylabel='metres above the camera')
    for cell in (above, side):
        cell.set_aspect('equal')
        cell.grid(alpha=0.3)
    _save(figure, path)


def cloud_points(cloud: NDArray[np.float32]) -> tuple[NDArray, NDArray[np.uint8]]:
    """Packed cloud (h, w, 4) -> known points (N, 3) and their RGB (N, 3)."""
    flat = cloud.reshape(-1, 4)
    flat = flat[np.isfinite(flat[:, :3]).all(axis=1)]
    bits = np.ascontiguousarray(flat[:, 3]).view(np.uint32)
    colours = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], -1).astype(np.uint8)
    return flat[:, :3], colours


def reach(frames: list[FrameRecord], truths: list[NDArray | None]) -> float:
    """Whole metres that hold nearly all depths of all frames: one scale for the whole picture."""
    depths = [depth[np.isfinite(depth)] for depth in
              (*(frame.depth for frame in frames), *truths) if depth is not None]
    return max([2.0, *(float(np.ceil(np.percentile(depth, 98))) for depth in depths if depth.size)])


def _depth_picture(depth: NDArray[np.float32] | None,
                   far: float) -> NDArray[np.uint8] | None:
    if depth is None:
        return None
    depth = np.where(depth == 0, np.float32('nan'), depth)  # 0 is "unknown" in the truth
    return colourise(depth, NEAR, far)[..., ::-1]


def _show(axes: Any, picture: NDArray | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if picture is not None:
        axes.imshow(picture)


def _draw_scan(axes: Any, frame: FrameRecord, far: float) -> None:
    axes.set_aspect('equal')
    axes.set(xlim=(-far / 1.5, far / 1.5), ylim=(-0.05 * far, far))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    axes.set_ylabel('metres ahead', fontsize=7)
    _scan_points(axes, frame, far)


def _scan_points(axes: Any, frame: FrameRecord, far: float) -> None:
    """Free space as a pale fan, obstacles in red, the camera as a triangle."""
    axes.plot(0, 0, 'k^', markersize=9)
    if frame.scan is None:
        return
    angles, ranges = frame.scan.angles, frame.scan.ranges
    reach = np.where(np.isposinf(ranges), far, ranges)
    seen = np.isfinite(reach)
    corner_x, corner_y = -reach * np.sin(angles), reach * np.cos(angles)
    axes.fill([0, *corner_x[seen], 0], [0, *corner_y[seen], 0], color='tab:green', alpha=0.12,
              linewidth=0)
    hit = np.isfinite(ranges)
    axes.plot(corner_x[hit], corner_y[hit], 'r.', markersize=3)


def _colour_bar(figure: Any, axes: Any, far: float) -> None:
    levels = np.linspace(NEAR, far, 256, dtype=np.float32)[None]
    colours = colourise(levels, NEAR, far)[0, :, ::-1] / 255
    mapping = matplotlib.cm.ScalarMappable(
        matplotlib.colors.Normalize(NEAR, far), matplotlib.colors.ListedColormap(colours))
    figure.colorbar(mapping, ax=axes, label='metres', shrink=0.5, location='bottom', pad=0.01)


def _save(figure: Any, path: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, dpi=110, format='png')
    plt.close(figure)
    write_atomically(path, [content.getvalue()])
