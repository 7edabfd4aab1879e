# SPDX-License-Identifier: Apache-2.0
"""Compute masked depth, cloud, scan and preview from depth, without ROS.

The steps for a frame:

    depth of the network -> smoothed -> scaled -> unknown where the camera saw nothing
      -> corrected by anchors, if there are any (`DepthProducts.metric`)
      -> out of range: -Inf, +Inf; not trusted: NaN (`DepthProducts.depth`, preview)
      -> flying pixels: NaN (`DepthProducts.clean`)
      -> floor moved to its known height; depth that is too near restored as an obstacle
         (`DepthProducts.standing`: cloud, scan)

Depth is a NumPy array or a torch tensor on any device. The products are of the same kind on the
same device, and are computed at their first use.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth import geometry
from depth_perception.depth.anchors import AnchoredDepth, AnchorReport, Anchors, PreparedAnchors
from depth_perception.depth.arrays import like, on_host, place_of
from depth_perception.depth.floor import FloorLayout, floor_layout, level_floor
from depth_perception.depth.floor_memory import FloorMemory
from depth_perception.depth.scan import (
    CameraPose,
    ObstacleBand,
    ScanLayout,
    scan_layout,
    scan_ranges,
)
from depth_perception.depth.settings import DEFAULT_SETTINGS, DepthSettings
from depth_perception.depth.temporal import TemporalFilter
from depth_perception.depth.visualise import colourise

if TYPE_CHECKING:
    from torch import Tensor

#: A depth image or a product computed from it: a NumPy array or a tensor.
Array = Any
LayoutMaker = Callable[..., ScanLayout]
FloorMaker = Callable[..., 'FloorLayout | None']
#: Metres between which anchors are used, whatever the network's range.
_ANCHORED = (0.1, 100.0)


@dataclass(frozen=True, eq=False)
class DepthScan:
    """An obstacle scan like sensor_msgs/LaserScan, in the camera's level frame.

    Attributes:
        ranges: (count,) metres; +Inf free, NaN unknown; see `scan.scan_ranges`.
        layout: of the beams.
        range_min: metres; nearer obstacles are at this range.
        pose: of the camera.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, CameraPose, DepthScan, scan_layout
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> layout = scan_layout(camera, range_max=10.0)
        >>> scan = DepthScan(np.full(layout.count, 2.0), layout, 0.3, CameraPose())
        >>> [round(float(angle), 2) for angle in scan.angles[[0, -1]]]    # right and left border
        [-0.55, 0.55]
    """

    ranges: Array
    layout: ScanLayout
    range_min: float
    pose: CameraPose

    @property
    def angles(self) -> NDArray[np.floating]:
        """Radians (count,), positive to the left."""
        layout = self.layout
        return layout.angle_min + layout.angle_increment * np.arange(layout.count, dtype=float)


class DepthProducts:
    """The products of one frame's depth; each is computed once, at its first use.

    Created by `ProductMaker` and `depth_products`.

    Args:
        metric: depth (H, W) in metres, NaN where unknown, before the limits.
        camera: of the depth; None: there is no cloud and no scan.
        rgb: the image uint8 (H, W, 3), of the depth's kind; None: the cloud has no colours.
        settings: settings of depth and its products.
        network_max_depth: metres, the limit if the settings have none.
        layouts: function that creates the layout of a scan, like `scan.scan_layout`.
        floors: function that creates the layout of a floor, like `floor.floor_layout`.
        anchored: whether other sensors have already corrected the distances.
        floor_memory: of the camera's last frames; None: there are none.
        time: of the frame, seconds; None: unrelated to the last frames.
        confidence: (H, W), 0 to 1, of the depth's kind; needed for `min_confidence`.

    Raises:
        ValueError: `min_confidence` is above 0, and there is no confidence.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import DepthProducts, DepthSettings
        >>> depth = np.array([[0.1, 2.0, 20.0]], np.float32)
        >>> DepthProducts(depth, None, None, DepthSettings(), network_max_depth=10.0).depth.tolist()
        [[-inf, 2.0, inf]]
    """

    def __init__(
        self,
        metric: Array,
        camera: CameraModel | None,
        rgb: Array | None,
        settings: DepthSettings,
        network_max_depth: float,
        layouts: LayoutMaker = scan_layout,
        floors: FloorMaker = floor_layout,
        anchored: bool = False,
        floor_memory: FloorMemory | None = None,
        time: float | None = None,
        confidence: Array | None = None,
    ) -> None:
        if settings.min_confidence > 0 and confidence is None:
            raise ValueError(
                f'min_confidence {settings.min_confidence:g} needs the confidence of the depth'
            )
        #: (H, W), 0 to 1, 0 where the camera saw nothing; None: not computed.
        self.confidence = confidence
        self.camera, self.settings = camera, settings
        #: Pose of the camera by the settings. If another source gives the pose, set it before the
        #: first use of cloud and scan; None means unknown.
        self.pose: CameraPose | None = stated_pose(settings)
        #: The smallest and the largest depth, metres.
        self.limits = settings.limits(network_max_depth)
        #: (H, W) metres, NaN where unknown, before the limits.
        self.metric, self._rgb = metric, rgb
        self._network_max_depth, self._layouts = network_max_depth, layouts
        self._floors, self._anchored = floors, anchored
        self._floor_memory, self._time = floor_memory, time

    def with_metric(self, metric: Array, anchored: bool = False) -> DepthProducts:
        """Return the products of another depth of the same frame."""
        products = DepthProducts(
            metric,
            self.camera,
            self._rgb,
            self.settings,
            self._network_max_depth,
            self._layouts,
            self._floors,
            anchored,
            self._floor_memory,
            self._time,
            self.confidence,
        )
        products.pose = self.pose
        return products

    @cached_property
    def depth(self) -> Array:
        """(H, W), metres: NaN unknown, -Inf too near, +Inf too far (REP-117)."""
        return self._trusted(geometry.mask_range(self.metric, *self.limits))

    def _trusted(self, depth: Array) -> Array:
        """Return depth that is NaN where the confidence is below `min_confidence`.

        What is too near stays so: how near it is may be doubtful, but it is not free space.
        """
        if self._doubtful is None:
            return depth
        return geometry.mask(depth, self._doubtful & (depth != -math.inf))

    @cached_property
    def _doubtful(self) -> Array | None:
        least = self.settings.min_confidence
        return None if least <= 0 or self.confidence is None else self.confidence < least

    @cached_property
    def clean(self) -> Array:
        """Like `depth`, but also NaN at flying pixels."""
        return self._without_flying(self.depth)

    @cached_property
    def standing(self) -> Array:
        """Like `clean`, but with the depth of near obstacles; the input of cloud and scan.

        The network cannot tell how near such an obstacle is. But if it were masked, programs that
        read cloud and scan would take it for free space, and a robot would drive into it.

        With `floor_model` and a known camera height, the floor and the objects on it are moved to
        the known height of the floor; see `floor.level_floor`.
        """
        return self._standing(self.pose)

    def _standing(self, pose: CameraPose | None) -> Array:
        levelled = self._levelled(pose)
        if levelled is None:
            return geometry.place_near(self.clean, self.metric, self.limits[0])
        clean = self._without_flying(self._trusted(geometry.mask_range(levelled, *self.limits)))
        return geometry.place_near(clean, levelled, self.limits[0])

    def _without_flying(self, depth: Array) -> Array:
        return depth if self._flying is None else geometry.mask(depth, self._flying)

    @cached_property
    def _flying(self) -> Array | None:
        threshold = self.settings.edge_threshold
        # Uses the depth before the limits: a smooth floor that crosses min_depth is not an edge.
        return geometry.flying_pixels(self.metric, threshold) if threshold > 0 else None

    def _levelled(self, pose: CameraPose | None) -> Array | None:
        """Return the metric depth with its floor at the known height; None if not possible."""
        settings = self.settings
        if not settings.floor_model or self.camera is None or pose is None or pose.height is None:
            return None
        layout = self._floors(
            self.camera, pose, settings.floor_tolerance, _kind_of_work(self.metric)
        )
        if layout is None:
            return None
        return level_floor(self.metric, layout, self._anchored, self._floor_memory, self._time)

    @cached_property
    def points(self) -> Array:
        """Points of every `point_stride`-th pixel (h, w, 3), see `geometry.back_project`."""
        return geometry.back_project(self.standing, self._known_camera, self.settings.point_stride)

    @property
    def colours(self) -> Array | None:
        """Colours of the points, uint8 (h, w, 3) RGB; None for a cloud without colours."""
        if self._rgb is None or not self.settings.point_color:
            return None
        stride = self.settings.point_stride
        return self._rgb[::stride, ::stride]

    @cached_property
    def cloud(self) -> Array:
        """The points and colours in the layout of sensor_msgs/PointCloud2, (h, w, 4) float32."""
        return geometry.pack_cloud(
            self.standing,
            self._known_camera,
            self._rgb if self.settings.point_color else None,
            self.settings.point_stride,
        )

    def scan(self, pose: CameraPose | None = None) -> DepthScan:
        """Return the obstacle scan.

        Args:
            pose: pose of the camera; None for `self.pose`, or the pose of the settings.
        """
        settings, (near, far) = self.settings, self.limits
        pose = pose or self.pose or stated_pose(settings)
        standing = self.standing if pose == self.pose else self._standing(pose)
        band = ObstacleBand(
            settings.scan_min_height, settings.scan_max_height, settings.floor_tolerance
        )
        layout = self._layouts(self._known_camera, far, band, pose, _kind_of_work(standing))
        return DepthScan(scan_ranges(standing, layout, near), layout, layout.range_min(near), pose)

    def preview(
        self, colours: tuple[float, float] | None = None, depth: NDArray[np.float32] | None = None
    ) -> NDArray[np.uint8]:
        """Draw the depth in colours, uint8 (H, W, 3) BGR, see `visualise.colourise`.

        Args:
            colours: metres of the nearest and the farthest colour; None: the limits.
            depth: `self.depth` in host memory, if it is already there.

        Raises:
            ValueError: the farthest colour is not beyond the nearest, or is infinite.
        """
        near, far = colours or self.limits
        if math.isinf(far):
            raise ValueError(
                'a preview needs a largest depth: give max_depth, or the range of its colours'
            )
        return colourise(on_host(self.depth) if depth is None else depth, near, far)

    @property
    def _known_camera(self) -> CameraModel:
        if self.camera is None:
            raise ValueError('the camera is unknown: without it there is no cloud and no scan')
        return self.camera


class ProductMaker:
    """Create the products of one camera's frames, and keep their common data.

    These are the layouts of scan and floor, the pixels that the camera does not see, the last depth
    for `temporal_smoothing`, and what the last frames showed of the floor.

    Args:
        network_max_depth: metres, `WeightsInfo.max_depth`: the limit if the settings have none.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, DepthSettings, ProductMaker
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> make, rgb = ProductMaker(10.0), np.zeros((240, 320, 3), np.uint8)
        >>> for time in (0.0, 0.1):
        ...     depth = np.full((240, 320), 2.0 + time, np.float32)
        ...     products = make(rgb, camera, depth, DepthSettings(depth_scale=1.5), time=time)
        ...     print(round(float(products.scan().ranges.min()), 2))
        3.0
        3.15
    """

    def __init__(self, network_max_depth: float = math.inf) -> None:
        self._network_max_depth = network_max_depth
        self._anchored = AnchoredDepth()
        # Only for this camera: a layout takes up to 28 bytes per pixel.
        self._layouts = functools.lru_cache(maxsize=1)(scan_layout)
        self._floors = functools.lru_cache(maxsize=1)(floor_layout)
        self._temporal = TemporalFilter()
        self._floor_memory = FloorMemory()
        self._unseen: tuple[NDArray[np.bool_] | None, Array] = (None, None)

    def __call__(
        self,
        rgb: NDArray[np.uint8] | None,
        camera: CameraModel | None,
        depth: Array,
        settings: DepthSettings = DEFAULT_SETTINGS,
        *,
        time: float | None = None,
        unseen: NDArray[np.bool_] | None = None,
        image: Tensor | None = None,
        confidence: Array | None = None,
    ) -> DepthProducts:
        """Return the products of a frame, without waiting for the device.

        Args:
            rgb: the image, uint8 (H, W, 3); None: no colours.
            camera: of image and depth; None: no cloud and no scan.
            depth: metres (H, W), the output of the network: finite, not masked.
            settings: settings of depth and its products.
            time: seconds, of frames in their order; None: unrelated to the last frame.
            unseen: bool (H, W), True where the camera saw nothing, such as the border of a
                rectified image: the network's depth is meaningless there.
            image: `rgb` on the depth's device, if it is already there.
            confidence: (H, W), 0 to 1, of the depth's kind, see `Estimate.confidence`; needed for
                `min_confidence`.

        Raises:
            ValueError: `min_confidence` is above 0, and there is no confidence.
        """
        metric = self._metric(rgb, depth, settings, time)
        if unseen is not None:
            hidden = self._unseen_like(metric, unseen)
            metric = geometry.mask(metric, hidden)
            confidence = None if confidence is None else geometry.mask(confidence, hidden, 0.0)
        colours = rgb if image is None else image
        return DepthProducts(
            metric,
            camera,
            None if colours is None else like(colours, metric),
            settings,
            self._network_max_depth,
            self._layouts,
            self._floors,
            floor_memory=self._floor_memory,
            time=time,
            confidence=confidence,
        )

    def anchored(
        self,
        products: DepthProducts,
        anchors: Anchors | PreparedAnchors,
        time: float = 0.0,
        hold: float = 0.0,
    ) -> tuple[DepthProducts, AnchorReport]:
        """Return the products of a frame with depth corrected by anchors; wait for the device.

        Args:
            products: of the frame, not corrected.
            anchors: true depths in its image; they may be prepared for `anchor_limits`.
            time: seconds, of frames in their order.
            hold: seconds in which the last correction fades if there are too few anchors.
        """
        self._anchored.hold = hold
        near, far = self.anchor_limits(products.settings)
        metric, report = self._anchored(products.metric, anchors, time, near, far)
        return products.with_metric(metric, anchored=report.strength > 0.5), report

    def anchor_limits(self, settings: DepthSettings) -> tuple[float, float]:
        """Return the depths between which anchors are used, metres."""
        near, far = _ANCHORED
        return near, min(far, self._network_max_depth * settings.depth_scale)

    def reset(self) -> None:
        """Forget the last depth, the last correction and the last floor."""
        self._temporal.reset()
        self._anchored.reset()
        self._floor_memory.reset()

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the data of the last frame, for `remember`."""
        return {
            **_prefixed('temporal', self._temporal.memory()),
            **_prefixed('anchored', self._anchored.memory()),
            **_prefixed('floor', self._floor_memory.memory()),
        }

    def remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue with the data of another object, see `memory`."""
        self._temporal.remember(_part_of('temporal', memory))
        self._anchored.remember(_part_of('anchored', memory))
        self._floor_memory.remember(_part_of('floor', memory))

    def _metric(
        self,
        rgb: NDArray[np.uint8] | None,
        depth: Array,
        settings: DepthSettings,
        time: float | None,
    ) -> Array:
        """Return the smoothed and scaled depth."""
        strength = settings.temporal_smoothing
        if time is None or rgb is None or strength <= 0:
            self._temporal.reset()
        else:
            depth = self._temporal(depth, rgb, time, strength)
        return geometry.scaled(depth, settings.depth_scale)

    def _unseen_like(self, depth: Array, unseen: NDArray[np.bool_]) -> Array:
        """Return `unseen` on the depth's device; cached, as all frames have the same array."""
        known, there = self._unseen
        if known is not unseen or place_of(there) != place_of(depth):
            there = like(unseen, depth)
            self._unseen = unseen, there
        return there


def depth_products(
    rgb: NDArray[np.uint8] | None,
    camera: CameraModel | None,
    depth: Array,
    settings: DepthSettings = DEFAULT_SETTINGS,
    *,
    network_max_depth: float = math.inf,
    confidence: NDArray[np.float32] | None = None,
) -> DepthProducts:
    """Return masked depth, cloud, scan and preview of one image; see `ProductMaker` for several.

    Args:
        rgb: the image, uint8 (H, W, 3); None: no colours.
        camera: of image and depth; None: no cloud and no scan.
        depth: metres (H, W), the result of `DepthEstimator.infer`.
        settings: settings of depth and its products.
        network_max_depth: metres, the limit if `settings.max_depth` is 0.
        confidence: the other result of `DepthEstimator.infer_with_confidence`; needed for
            `settings.min_confidence`.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, DepthSettings, depth_products
        >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
        >>> rgb = np.zeros((240, 320, 3), np.uint8)
        >>> depth = np.full((240, 320), 2.0, np.float32)
        >>> depth[:, 160:] = 7.0
        >>> settings = DepthSettings(max_depth=5.0)
        >>> products = depth_products(rgb, camera, depth, settings)
        >>> float(products.depth[0, 0]), float(products.depth[0, 319])  # the right half is too far
        (2.0, inf)
        >>> products.points.shape, products.colours.shape, products.preview().shape
        ((120, 160, 3), (120, 160, 3), (240, 320, 3))
        >>> scan = products.scan()
        >>> scan.ranges.shape == scan.angles.shape, round(float(np.nanmin(scan.ranges)), 2)
        (True, 2.0)
    """
    return ProductMaker(network_max_depth)(rgb, camera, depth, settings, confidence=confidence)


def stated_pose(settings: DepthSettings) -> CameraPose:
    """Return the camera pose by `camera_pitch` and `camera_height`."""
    return CameraPose(math.radians(settings.camera_pitch), height=settings.camera_height or None)


def _kind_of_work(depth: Array) -> Any:
    """Return where to create a layout: the depth's device, or 'numpy' for work on a CPU."""
    place = place_of(depth)
    return 'numpy' if place == 'numpy' or place.type == 'cpu' else place


def _prefixed(head: str, memory: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f'{head}.{name}': array for name, array in memory.items()}


def _part_of(head: str, memory: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(f'{head}.'): array
        for name, array in memory.items()
        if name.startswith(f'{head}.')
    }
