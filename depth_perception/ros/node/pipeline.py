# SPDX-License-Identifier: Apache-2.0
"""Process one frame from input to output messages: decode, rectify, infer, encode.

The products of depth are computed by `depth.products`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_perception.camera.model import CameraModel
from depth_perception.depth import geometry
from depth_perception.depth.anchors import LEAST_ANCHORS, AnchorReport, Anchors
from depth_perception.depth.products import DepthProducts, DepthScan, ProductMaker
from depth_perception.depth.relative import SHOWN_RATIO, RelativeDepth, shown_relation
from depth_perception.depth.scan import CameraPose, ScanLayout
from depth_perception.inference.protocol import Estimate, Estimator
from depth_perception.inference.transfer import Download, Upload
from depth_perception.io.image_messages import Decoder
from depth_perception.ros.conversions import messages, stamps
from depth_perception.ros.conversions.camera_info import ImageCamera
from depth_perception.ros.conversions.topics import (
    CONFIDENCE,
    DEPTH,
    DEPTH_PNG,
    INFO,
    POINTS,
    PREVIEW,
    PREVIEW_JPEG,
    SCAN,
)
from depth_perception.ros.node.anchor_inputs import AnchorInputs, FrameAnchors
from depth_perception.ros.node.calibrations import Calibrations, CameraState
from depth_perception.ros.node.health import OTHER_CLOCK
from depth_perception.ros.node.measurement import CameraView
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.scan_pose import ScanPose

#: Outputs that require inference.
NEEDS_INFERENCE = frozenset({DEPTH, POINTS, PREVIEW, SCAN, DEPTH_PNG, PREVIEW_JPEG, CONFIDENCE})
#: Outputs computed from the depth image in host memory.
_OF_DEPTH = frozenset({DEPTH, PREVIEW, DEPTH_PNG, PREVIEW_JPEG})
#: Outputs available for relative depth without anchors.
_SHOWS = frozenset({INFO, PREVIEW, PREVIEW_JPEG})
NEEDS_CAMERA = frozenset({INFO, POINTS, SCAN})


class NonFiniteDepth(RuntimeError):  # noqa: N818 - names the finding
    """The network's output contains NaN or infinity."""


@dataclass(frozen=True)
class AnchorOutcome:
    """The correction of a frame by other sensors.

    Attributes:
        report: report of the correction.
        age: seconds between the image and the oldest measurement; None if there is none.
        problem: a problem with the sensors or their measurements, or ''.
    """

    report: AnchorReport
    age: float | None
    problem: str

    def facts(self) -> dict[str, float]:
        """Return the figures for diagnostics."""
        report = self.report
        age = {} if self.age is None else {'anchor_age_s': self.age}
        return {
            'anchors_offered': report.offered,
            'anchors_compared': report.compared,
            'anchors_used': report.used,
            'anchor_residual_before_percent': 100 * math.expm1(report.residual_before),
            'anchor_residual_after_percent': 100 * math.expm1(report.residual_after),
            'anchor_factor': report.factor,
            'anchor_strength': report.strength,
            **age,
        }


@dataclass
class Result:
    """The result of a frame.

    Attributes:
        outputs: messages by topic, only for the wanted topics.
        seconds: time spent in each stage: decode, inference, network (part of inference, only on a
            CPU), postprocess. On a GPU, inference is the time to start the work, and postprocess
            includes waiting for it to finish.
        size: (width, height) of the image.
        camera_problem: why the camera is unknown, or ''.
        input_remarks: apparent problems of the images or their calibration.
        scan_problem: why there is no scan, or what is wrong with its frame; or ''.
        anchors: how other sensors corrected the depth; None if no sensor is configured.
        pose: camera pose used for the scan; None without a scan.
        beams: the scan's layout and frame_id; None without a scan.
        focal_factor: factor applied to depth.
        sample: a subsampled depth image for statistics, or None.
        confidence: its subsampled confidence; None if it is not computed.
        thumbnail: a subsampled image, or None.
        published: topics whose messages have been published.
    """

    size: tuple[int, int]
    outputs: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    camera_problem: str = ''
    input_remarks: tuple[str, ...] = ()
    scan_problem: str = ''
    anchors: AnchorOutcome | None = None
    pose: CameraPose | None = None
    beams: tuple[ScanLayout, str] | None = None
    focal_factor: float = 1.0
    sample: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None
    thumbnail: NDArray[np.uint8] | None = None
    published: set[str] = field(default_factory=set)

    @property
    def contrast(self) -> float:
        """Standard deviation of the thumbnail in grey levels, 0..255; computed on each access."""
        return 0.0 if self.thumbnail is None else float(self.thumbnail.std())


@dataclass
class Work:
    """A frame between `Pipeline.start` and `Pipeline.finish`.

    Attributes:
        result: the result so far.
        header: header of the outputs.
        settings: the parameters when the frame was started.
        wanted: topics to compute.
        camera: the camera; None if unknown.
        products: the products of depth, which a device may still be computing; None if no
            inference is needed.
        finite: whether the network's output is finite.
        is_anchored: whether `products` are corrected by other sensors, if there are any.
        stand: the camera pose; None until it is determined.
        colours: depths of the nearest and farthest colour, metres; None = the depth limits. Set if
            the network's depth is relative and its scale is unknown.
    """

    result: Result
    header: Header
    settings: Settings
    wanted: frozenset[str]
    camera: ImageCamera | None
    products: DepthProducts | None = None
    finite: Any = None
    is_anchored: bool = False
    stand: ScanPose | None = None
    colours: tuple[float, float] | None = None


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time of the context to a stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def _header(image: Header, optical_frame: str) -> Header:
    """Return the header of the image, with another frame_id if one is given."""
    return Header(stamp=image.stamp, frame_id=optical_frame) if optical_frame else image


def _uncorrected(report: AnchorReport) -> str:
    """Return a remark if too few anchors could be compared, or ''."""
    if report.compared >= LEAST_ANCHORS or not report.offered:
        return ''
    return (
        f'depth is not corrected by anchors: of {report.offered} in the image, '
        f'{report.compared} are in range and away from edges, {LEAST_ANCHORS} are needed'
    )


def _without_metres(has_sensors: bool, problem: str) -> str:
    """Return why relative depth stays relative."""
    if not has_sensors:
        need = 'anchors (parameter anchors)'
    else:
        need = 'anchors' + (
            f': {problem}'
            if problem
            else f', {LEAST_ANCHORS} or more in the image, of which most agree'
        )
    return (
        f'no metric output: the network gives relative depth, whose scale needs {need}; only '
        'the preview is published'
    )


def _remarks(decoding: str, state: CameraState) -> tuple[str, ...]:
    remarks = state.camera.remarks if state.camera else ()
    return (decoding, *remarks) if decoding else remarks


class Pipeline:
    """Convert one image message to the wanted output messages.

    Args:
        estimator: the network.
        cameras: provides the camera of each image.
        scan_pose: returns the camera pose for the header of an image.
        anchors: the sensors that correct depth, or None.
    """

    def __init__(
        self,
        estimator: Estimator,
        cameras: Calibrations,
        scan_pose: Callable[[Header, Settings], ScanPose],
        anchors: AnchorInputs | None = None,
    ) -> None:
        self._estimator = estimator
        self._cameras = cameras
        self._scan_pose = scan_pose
        self._anchors = anchors
        self._products = ProductMaker(estimator.info.max_depth)
        info = estimator.info
        self._relative = None if info.is_metric else RelativeDepth(info.output, info.max_depth)
        self._decoder = Decoder()
        self._last_scan: float | None = None
        self._upload = Upload(estimator.device)
        self._download = Download(estimator.device)

    @property
    def leaves_host_free(self) -> bool:
        """Whether inference runs on a device while the host is free for other work."""
        return self._estimator.device.type == 'cuda'

    def process(
        self, message: Image | CompressedImage, wanted: frozenset[str], settings: Settings
    ) -> Result:
        """Run `start` and `finish`; see `first`."""
        return self.finish(self.start(message, wanted, settings))

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the data of earlier frames, for `remember`."""
        last = [] if self._last_scan is None else [self._last_scan]
        return {**self._products.memory(), 'last_scan': np.array(last)}

    def remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the data of another pipeline; see `memory`."""
        self._products.remember(memory)
        self._last_scan = next(map(float, memory['last_scan']), None)

    def start(
        self, message: Image | CompressedImage, wanted: frozenset[str], settings: Settings
    ) -> Work:
        """Decode an image and infer its depth; on a GPU, only start the inference.

        Args:
            message: the image.
            wanted: topics to compute.
            settings: the current parameters.

        Raises:
            FrameError: the message is not a usable image.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, 'decode'):
            rgb, remark = self._decoder.decode(message)
            height, width = rgb.shape[:2]
            state = self._cameras.for_image(width, height, stamps.nanoseconds(message.header.stamp))
            rectifier = self._cameras.rectifier(state.camera) if state.camera else None
            if rectifier is not None:
                rgb = rectifier(rgb)
        result = Result(
            (width, height),
            seconds=seconds,
            camera_problem=state.problem,
            input_remarks=_remarks(remark, state),
        )
        result.thumbnail = rgb[::16, ::16].copy()
        work = Work(
            result,
            _header(message.header, settings.optical_frame),
            settings,
            wanted if state.camera else wanted - NEEDS_CAMERA,
            state.camera,
        )
        if work.wanted & NEEDS_INFERENCE:
            with _timed(seconds, 'inference'):
                self._infer(work, rgb, rectifier.unseen if rectifier else None)
        return work

    def first(self, work: Work) -> Result:
        """Create the depth image and its camera_info, which need not wait for the other outputs.

        On a GPU, do nothing: the device would have to be waited for twice.

        Raises:
            NonFiniteDepth: the network's output cannot be used.
        """
        if work.products is not None and DEPTH in work.wanted and not self.leaves_host_free:
            with _timed(work.result.seconds, 'postprocess'):
                self._anchor(work)
                self._fill_depth(self._download({DEPTH: work.products.depth})[DEPTH], work)
        return work.result

    def finish(self, work: Work) -> Result:
        """Create all wanted outputs that are possible; points, for example, need a camera.

        Raises:
            NonFiniteDepth: the network's output cannot be used.
        """
        result = work.result
        if work.products is not None and work.finite is not None:
            with _timed(result.seconds, 'postprocess'):
                self._anchor(work)
                found = self._compute(work.products, work)
                self._fill(self._download({'finite': work.finite, **found}), work.products, work)
        self._fill_info(work)
        return result

    def _anchor(self, work: Work) -> None:
        """Correct the products by other sensors, once."""
        if work.products is not None and not work.is_anchored:
            work.products = self._anchored(work.products, work)
            work.is_anchored = True

    def _fill_depth(self, depth: NDArray[np.float32], work: Work) -> None:
        """Create the depth image and its camera_info."""
        self._check_finite(bool(work.finite))
        work.result.outputs[DEPTH] = messages.depth_message(
            depth, work.header, work.settings.depth_encoding
        )
        self._fill_info(work)

    def _fill_info(self, work: Work) -> None:
        if INFO in work.wanted and INFO not in work.result.outputs and work.camera is not None:
            work.result.outputs[INFO] = work.camera.info(work.header)

    def _check_finite(self, finite: bool) -> None:
        """Drop the data of earlier frames if the network's output is not finite.

        Raises:
            NonFiniteDepth: it is not.
        """
        if not finite:
            self._products.reset()
            if self._relative is not None:
                self._relative.reset()
            raise NonFiniteDepth('the network gave a non-finite depth')

    def _infer(self, work: Work, rgb: NDArray[np.uint8], unseen: NDArray[np.bool_] | None) -> None:
        """Start inference, and set the products and the finite flag, without waiting for a GPU."""
        settings, camera = work.settings, work.camera.camera if work.camera else None
        image = self._upload(rgb)
        estimate = self._estimate(image, settings.focal_camera(camera), work)
        work.finite = geometry.all_finite(estimate.depth)
        if estimate.network_seconds is not None:
            work.result.seconds['network'] = estimate.network_seconds
        work.result.focal_factor = estimate.focal_factor
        depth = estimate.depth if self._relative is None else self._metres(estimate.depth, work)
        work.products = self._products(
            rgb,
            camera,
            depth,
            settings,
            time=stamps.seconds(work.header.stamp),
            image=image,
            unseen=unseen,
            confidence=estimate.confidence,
        )

    def _estimate(self, image: Any, camera: CameraModel | None, work: Work) -> Estimate:
        """Estimate depth, with confidence only if it is wanted or a mask needs it."""
        is_masked = work.settings.min_confidence > 0
        if not is_masked and CONFIDENCE not in work.wanted:
            return self._estimator.estimate(image, camera)
        # The first time it is compiled for: meanwhile a new subscriber must not stop the depth.
        return self._estimator.estimate(image, camera, confidence=True, wait=is_masked)

    def _measured(
        self, inputs: AnchorInputs, camera: CameraModel, predicted: Any, work: Work
    ) -> FrameAnchors:
        """Return what the other sensors measured at the image's time."""
        return inputs.of(
            CameraView(work.header.frame_id, camera, self._products.anchor_limits(work.settings)),
            work.header.stamp,
            predicted,
            work.settings.anchor_max_age,
            lambda: self._stand(work).pose,
        )

    def _metres(self, output: Any, work: Work) -> Any:
        """Convert relative output to metres by anchors, or without them, for a preview only."""
        assert self._relative is not None
        settings, time = work.settings, stamps.seconds(work.header.stamp)
        camera, farthest = work.camera.camera if work.camera else None, self._relative.farthest
        before = self._relative.before(time, settings.anchor_hold)
        found, problem = Anchors.of(), ''
        if self._anchors is not None and camera is not None:
            # The scale is still unknown: sensors that need predicted metres give no anchors.
            guess = output * math.nan if before is None else before.metres(output, farthest)
            seen = self._measured(self._anchors, camera, guess, work)
            found, problem = seen.anchors, seen.problem
        relation = self._relative.relation(
            output, found, time, settings.min_depth, settings.anchor_hold
        )
        if relation is not None:
            return relation.metres(output, farthest) / settings.depth_scale
        self._products.reset()  # do not mix earlier metric depth into the preview
        near = settings.min_depth
        work.wanted &= _SHOWS
        work.colours = near, SHOWN_RATIO * near
        work.result.anchors = AnchorOutcome(
            AnchorReport(len(found)), None, _without_metres(self._anchors is not None, problem)
        )
        shown = shown_relation(output, self._relative.kind, near).metres(output, farthest)
        return shown.clip(*work.colours) / settings.depth_scale

    def _compute(self, products: DepthProducts, work: Work) -> dict[str, Any]:
        """Return the wanted arrays by topic, and a depth sample, all on the depth's device."""
        found = {'sample': products.depth[::8, ::8]}
        if work.wanted & _OF_DEPTH:
            found[DEPTH] = products.depth
        if work.wanted & {POINTS, SCAN} and self._needs_pose(work):
            products.pose = self._stand(work).pose
        if products.confidence is not None:
            found['sure'] = products.confidence[::8, ::8]
            if CONFIDENCE in work.wanted:
                found[CONFIDENCE] = products.confidence
        if POINTS in work.wanted:
            found[POINTS] = products.cloud
        if SCAN in work.wanted:
            scan = self._scan(products, work)
            if scan is not None:
                found[SCAN] = scan.ranges
        return found

    def _anchored(self, products: DepthProducts, work: Work) -> DepthProducts:
        """Return the products corrected by other sensors; if there are any, wait for a GPU."""
        if self._anchors is None or work.colours is not None:
            return products
        if products.camera is None:
            work.result.anchors = AnchorOutcome(
                AnchorReport(), None, 'depth is not corrected by anchors: the camera is unknown'
            )
            return products
        with _timed(work.result.seconds, 'anchors'):
            settings = work.settings
            seen = self._measured(self._anchors, products.camera, products.metric, work)
            products, report = self._products.anchored(
                products,
                seen.prepared or seen.anchors,
                stamps.seconds(work.header.stamp),
                settings.anchor_hold,
            )
        problems = (seen.problem, report.problem or _uncorrected(report))
        work.result.anchors = AnchorOutcome(report, seen.age, '; '.join(filter(None, problems)))
        return products

    def _stand(self, work: Work) -> ScanPose:
        """Return the camera pose of a frame."""
        if work.stand is None:
            work.stand = self._scan_pose(work.header, work.settings)
        return work.stand

    def _needs_pose(self, work: Work) -> bool:
        """Return whether the scan, or the floor model of the cloud, needs the camera pose."""
        settings = work.settings
        return SCAN in work.wanted or (
            settings.floor_model and (bool(settings.base_frame) or settings.camera_height > 0)
        )

    def _scan(self, products: DepthProducts, work: Work) -> DepthScan | None:
        """Return the scan, or None if the camera pose is unknown."""
        stand = self._stand(work)
        work.result.scan_problem = stand.problem
        work.result.pose = stand.pose
        if stand.pose is None:
            return None
        scan = products.scan(stand.pose)
        work.result.beams = scan.layout, stand.frame_id
        return scan

    def _fill(self, found: dict[str, NDArray[Any]], products: DepthProducts, work: Work) -> None:
        """Create messages that copy the arrays, because the next frame may overwrite them."""
        result, header, settings = work.result, work.header, work.settings
        self._check_finite(bool(found['finite']))
        if work.colours is None:
            result.sample = found['sample'].copy()
        if 'sure' in found:
            result.confidence = found['sure'].copy()
        if CONFIDENCE in found:
            result.outputs[CONFIDENCE] = messages.confidence_message(found[CONFIDENCE], header)
        if DEPTH in found:
            self._fill_images(found[DEPTH], products, work)
        if POINTS in found:
            result.outputs[POINTS] = messages.cloud_message(
                found[POINTS], header, settings.point_color
            )
        if SCAN in found and result.beams is not None:
            layout, frame_id = result.beams
            result.outputs[SCAN] = messages.scan_message(
                found[SCAN],
                layout,
                Header(stamp=header.stamp, frame_id=frame_id),
                settings.min_depth,
                self._scan_time(header),
            )

    def _fill_images(self, depth: NDArray[np.float32], products: DepthProducts, work: Work) -> None:
        outputs, header, encoding = work.result.outputs, work.header, work.settings.depth_encoding
        if DEPTH in work.wanted and DEPTH not in outputs:
            outputs[DEPTH] = messages.depth_message(depth, header, encoding)
        if DEPTH_PNG in work.wanted:
            outputs[DEPTH_PNG] = messages.compressed_depth_message(
                depth, header, encoding, products.limits
            )
        if work.wanted & {PREVIEW, PREVIEW_JPEG}:
            picture = products.preview(work.colours, depth=depth)
            if PREVIEW in work.wanted:
                outputs[PREVIEW] = messages.preview_message(picture, header)
            if PREVIEW_JPEG in work.wanted:
                outputs[PREVIEW_JPEG] = messages.jpeg_message(picture, header)

    def _scan_time(self, header: Header) -> float:
        """Return the seconds since the last scan; 0 for the first and after a jump back in time."""
        stamp = stamps.seconds(header.stamp)
        last, self._last_scan = self._last_scan, stamp
        return stamp - last if last is not None and 0 < stamp - last < OTHER_CLOCK else 0.0
