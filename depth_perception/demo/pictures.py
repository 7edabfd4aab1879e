# SPDX-License-Identifier: Apache-2.0
"""Draw the demo's pictures: a montage of frames, and the cloud in perspective and from above."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.perspective import draw_points, middle_view
from depth_perception.depth.visualise import (
    LARGEST_ERROR,
    colourise,
    colourise_error,
    fitted_range,
    relative_error,
)
from depth_perception.io.files import write_atomically

matplotlib.use('Agg')  # no display is needed

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from depth_perception.camera.model import CameraModel
    from depth_perception.demo.plan import Mounting
    from depth_perception.demo.recorder import FrameRecord, ScanRecord

#: Size of a picture of the cloud, pixels.
CLOUD_SIZE = (960, 720)
_PREDICTED, _TRUE, _CORRECTED = '#d62728', '#1f77b4', '#2ca02c'
#: Columns for a replay with anchors.
_ANCHORED, _ANCHORED_ERROR = 'depth with anchors', 'error with anchors'


def montage(
    path: Path,
    frames: list[FrameRecord],
    truths: list[NDArray[Any] | None],
    title: str,
    camera: CameraModel | None = None,
    mounting: Mounting | None = None,
) -> None:
    """Draw one row per frame: image, depth and scan; true depth and error if they are known.

    After a replay with anchors, each row also has depth, error and scan of that replay.

    Args:
        path: the PNG file.
        frames: the frames to show.
        truths: true depth of each frame, metres, 0 unknown; None if not known.
        title: title of the picture.
        camera: camera of the depth, for the scan of the true depth.
        mounting: pose of the camera, also for that scan.
    """
    with_truth = any(truth is not None for truth in truths)
    with_anchors = any(frame.anchored is not None for frame in frames)
    columns = [
        'camera',
        'depth',
        *([_ANCHORED] * with_anchors),
        *(['true depth', 'error'] if with_truth else []),
        *([_ANCHORED_ERROR] * (with_truth and with_anchors)),
        'obstacle scan from above',
    ]
    figure, axes = plt.subplots(
        len(frames),
        len(columns),
        squeeze=False,
        figsize=(3.2 * len(columns) + 0.6, 2.5 * len(frames) + 1.2),
        layout='constrained',
    )
    figure.suptitle(title)
    near, far = depth_range(frames, truths)
    for row, (frame, truth) in enumerate(zip(frames, truths)):
        cells = dict(zip(columns, axes[row]))
        _show_frame(cells, frame, truth, near, far)
        _draw_scan(
            cells[columns[-1]],
            frame.scan,
            true_scan(truth, camera, far, mounting),
            far,
            frame.anchored.scan if frame.anchored else None,
        )
        if frame.anchored is not None:
            _show_anchored(cells, frame.anchored, truth, near, far)
    for name, cell in zip(columns, axes[0]):
        cell.set_title(name)
    errors = columns.index('error') if with_truth else len(columns) - 1
    _depth_bar(figure, axes[:, 1:errors], near, far)
    if with_truth:
        _error_bar(figure, axes[:, errors:-1])
    _save(figure, path)


def _show_frame(
    cells: dict[str, Any], frame: FrameRecord, truth: NDArray[Any] | None, near: float, far: float
) -> None:
    """Show image and depth, and also true depth and error if the truth has a column."""
    _show(cells['camera'], frame.rgb)
    cells['camera'].set_ylabel(f'frame {frame.index}')
    _show(cells['depth'], _depth_picture(frame.depth, near, far))
    if 'error' in cells:
        _show(cells['true depth'], _depth_picture(truth, near, far))
        _show(cells['error'], _error_picture(frame.depth, truth))


def _show_anchored(
    cells: dict[str, Any],
    frame: FrameRecord,
    truth: NDArray[np.float32] | None,
    near: float,
    far: float,
) -> None:
    """Show depth and error of a frame with anchors, and the positions of the anchors."""
    _show(cells[_ANCHORED], _depth_picture(frame.depth, near, far))
    if frame.anchors is not None:
        cells['camera'].scatter(frame.anchors.u, frame.anchors.v, s=2, c='red')
    if _ANCHORED_ERROR in cells and frame.depth is not None:
        _show(cells[_ANCHORED_ERROR], _error_picture(frame.depth, truth))


def cloud_views(path: Path, frame: FrameRecord, camera: CameraModel | None = None) -> None:
    """Draw a frame's cloud in perspective, and from above in metres together with the scan."""
    cloud = frame.cloud
    assert cloud is not None
    figure, (view, above) = plt.subplots(
        1, 2, figsize=(13, 6), layout='constrained', width_ratios=(1.35, 1)
    )
    figure.suptitle(f'point cloud of frame {frame.index}')
    points, colours = cloud_points(cloud)
    _show(
        view,
        draw_points(
            points, colours, middle_view(points), *CLOUD_SIZE, spacing(camera, cloud.shape[1])
        ),
    )
    view.set_title('seen from next to the camera')
    left, up, forward = -points[:, 0], -points[:, 1], points[:, 2]
    order = np.argsort(up)  # draw the points nearest to the viewpoint last
    above.scatter(-left[order], forward[order], s=0.4, c=colours[order] / 255, linewidths=0)
    _scan_points(above, frame.scan, float(forward.max(initial=1)), _PREDICTED, 'scan')
    above.set(
        title='from above, the camera is the triangle',
        xlabel='metres to the right',
        ylabel='metres ahead',
    )
    above.set_aspect('equal')
    above.grid(alpha=0.3)
    _save(figure, path)


def spacing(camera: CameraModel | None, columns: int) -> float:
    """Return the distance in metres between two points of a cloud one metre ahead."""
    return 1.2 / columns if camera is None else camera.width / columns / camera.fx


def cloud_points(cloud: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return the known points (N, 3) of a packed cloud (h, w, 4), and their RGB (N, 3)."""
    flat = cloud.reshape(-1, 4)
    flat = flat[np.isfinite(flat[:, :3]).all(axis=1)]
    bits = np.ascontiguousarray(flat[:, 3]).view(np.uint32)
    colours = np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], -1).astype(np.uint8)
    return flat[:, :3], colours


def depth_range(
    frames: list[FrameRecord], truths: list[NDArray[Any] | None]
) -> tuple[float, float]:
    """Return the distances of the nearest and farthest colour: one scale for all frames."""
    depths = [depth for depth in (*(frame.depth for frame in frames), *truths) if depth is not None]
    return fitted_range(depths, 0.0, 1000.0) if depths else (0.0, 10.0)


def true_scan(
    truth: NDArray[np.float32] | None,
    camera: CameraModel | None,
    far: float,
    mounting: Mounting | None = None,
) -> ScanRecord | None:
    """Return the scan that the node would compute from the true depth, with default settings."""
    if truth is None or camera is None or truth.shape != (camera.height, camera.width):
        return None
    from depth_perception.demo.recorder import ScanRecord
    from depth_perception.depth.products import depth_products
    from depth_perception.depth.settings import DepthSettings

    known = np.where(truth > 0, truth, np.float32('nan'))
    # True depth has no flying pixels, and its floor is at the right height.
    exact: dict[str, Any] = {'edge_threshold': 0.0, 'floor_model': False}
    settings = mounting.settings(**exact) if mounting else DepthSettings(**exact)
    scan = depth_products(None, camera, known, settings, network_max_depth=far).scan()
    return ScanRecord(scan.angles, scan.ranges)


def _depth_picture(
    depth: NDArray[np.float32] | None, near: float, far: float
) -> NDArray[np.uint8] | None:
    if depth is None:
        return None
    depth = np.where(depth == 0, np.float32('nan'), depth)  # 0 is "unknown" in the truth
    return colourise(depth, near, far)[..., ::-1]


def _error_picture(
    depth: NDArray[np.float32] | None, truth: NDArray[np.float32] | None
) -> NDArray[np.uint8] | None:
    if depth is None or truth is None or truth.shape != depth.shape:
        return None
    return colourise_error(relative_error(depth, truth))[..., ::-1]


def _show(axes: Any, picture: NDArray[Any] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if picture is not None:
        axes.imshow(picture)


def _draw_scan(
    axes: Any,
    predicted: ScanRecord | None,
    true: ScanRecord | None,
    far: float,
    anchored: ScanRecord | None = None,
) -> None:
    axes.set_aspect('equal')
    axes.set(xlim=(-far / 1.5, far / 1.5), ylim=(-0.05 * far, far))
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    axes.set_ylabel('metres ahead', fontsize=7)
    _scan_points(axes, true, far, _TRUE, 'from the true depth')
    _scan_points(axes, predicted, far, _PREDICTED, 'predicted')
    if anchored is not None:
        _scan_points(axes, anchored, far, _CORRECTED, 'with anchors')
    if true is not None:
        axes.legend(fontsize=7, loc='upper right', markerscale=2)


def _scan_points(axes: Any, scan: ScanRecord | None, far: float, colour: str, label: str) -> None:
    """Draw free space as a pale fan, obstacles as points, the camera as a triangle."""
    axes.plot(0, 0, 'k^', markersize=9)
    if scan is None:
        return
    reach = np.where(np.isposinf(scan.ranges), far, scan.ranges)
    seen = np.isfinite(reach)
    corner_x, corner_y = -reach * np.sin(scan.angles), reach * np.cos(scan.angles)
    axes.fill(
        [0, *corner_x[seen], 0], [0, *corner_y[seen], 0], color=colour, alpha=0.08, linewidth=0
    )
    hit = np.isfinite(scan.ranges)
    axes.plot(corner_x[hit], corner_y[hit], '.', color=colour, markersize=3, label=label)


def _depth_bar(figure: Any, axes: Any, near: float, far: float) -> None:
    levels = np.linspace(near, far, 256, dtype=np.float32)[None]
    _colour_bar(figure, axes, colourise(levels, near, far), (near, far), 'metres')


def _error_bar(figure: Any, axes: Any) -> None:
    levels = np.linspace(0, LARGEST_ERROR, 256, dtype=np.float32)[None]
    _colour_bar(
        figure, axes, colourise_error(levels), (0, 100 * LARGEST_ERROR), '% of the true depth'
    )


def _colour_bar(
    figure: Any, axes: Any, bgr: NDArray[np.uint8], ends: tuple[float, float], label: str
) -> None:
    mapping = matplotlib.cm.ScalarMappable(
        matplotlib.colors.Normalize(*ends), matplotlib.colors.ListedColormap(bgr[0, :, ::-1] / 255)
    )
    figure.colorbar(mapping, ax=axes, label=label, shrink=0.7, location='bottom', pad=0.01)


def _save(figure: Any, path: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, dpi=110, format='png')
    plt.close(figure)
    write_atomically(path, [content.getvalue()])
