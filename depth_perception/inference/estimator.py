# SPDX-License-Identifier: Apache-2.0
"""Estimate metric depth of a colour image: prepare the image, run the network, scale to metres."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel, same_aspect
from depth_perception.depth.arrays import is_tensor, like, on_device, on_host
from depth_perception.depth.by_numpy import by_numpy
from depth_perception.depth.settings import DepthSettings
from depth_perception.inference.backends.base import Backend
from depth_perception.inference.backends.choice import backend_for, frames_on
from depth_perception.inference.backends.frames import EagerFrames
from depth_perception.inference.backends.names import BackendError
from depth_perception.inference.backends.openvino import reason as openvino_reason
from depth_perception.inference.device import Device, resolve_device
from depth_perception.inference.preparing import (
    MAX_ASPECT,
    Size,
    fed_size,
    needs_no_torch,
    resized_image,
    resized_output,
)
from depth_perception.inference.protocol import Estimate, Sharing
from depth_perception.inference.smooth_resize import smoothly_resized
from depth_perception.inference.transfer import Upload
from depth_perception.io.weights import CheckedWeights, WeightsInfo, check_weights

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar('Array', NDArray[Any], 'Tensor')

PRECISIONS = ('fp16', 'bf16', 'fp32')
#: Network sizes are multiples of this: fine enough to keep the aspect ratio, and even at four of
#: the five strides, so that padding shifts the features as in training.
SIZE_STEP = 16
#: The test geometry that resizes images of every camera to the focal length of the training.
CANONICAL = 'canonical'
#: Limits of the area of such images, relative to the training's: the time of the network grows with
#: the area, and very small images show too little.
LEAST_AREA, MOST_AREA = 0.25, 1.25
#: A focal length within this factor of the training's counts as equal.
FOCAL_TOLERANCE = 1.1
#: Confidence is the probability that depth / truth, or truth / depth, is below this: delta1.
WITHIN = 1.25
#: Depth is limited to this multiple of max_depth, so that infinite values do not spread in the
#: resize.
FAR_LIMIT = 10
_log = logging.getLogger(__name__)


class DepthEstimator:
    """A network, ready to turn images into metres.

    Attributes:
        info: metadata of the weights file.
        checksum: checksum of the weights file.
        device: device of the inference, and of the depth that `estimate` returns.
        precision: precision of the network: `fp16`, `bf16` or `fp32`.
        backend: backend that runs the network: `torch` or `openvino`.
        sharing: None, because there is only one user; see `sharing.NetworkShare`.

    Examples:
        >>> import numpy as np
        >>> from depth_perception import CameraModel, DepthEstimator
        >>> estimator = DepthEstimator.load(device='cpu')  # the bundled network
        >>> rgb = np.full((240, 320, 3), 90, np.uint8)  # an RGB image
        >>> camera = CameraModel.from_field_of_view(320, 240, 63.0)
        >>> depth = estimator.infer(rgb, camera)  # metres
        >>> depth.shape, depth.dtype, bool((depth > 0).all())
        ((240, 320), dtype('float32'), True)
    """

    sharing: Sharing | None = None

    def __init__(
        self,
        backend: Backend,
        info: WeightsInfo,
        checksum: str = '',
        compile_beside: bool = False,
        graphs: bool = True,
    ) -> None:
        self.info = info
        self.checksum = checksum
        self._backend = backend
        self._with_confidence: Backend | None = None
        self._compile_beside = compile_beside
        self._frames = frames_on(backend.device) if graphs else EagerFrames()
        self._upload = Upload(backend.device)
        self._mean, self._std = (
            _of_channels(values, backend.device) for values in (info.mean, info.std)
        )

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str = 'auto',
        precision: str = 'fp16',
        backend: str = 'auto',
        *,
        compile_beside: bool = False,
    ) -> DepthEstimator:
        """Read weights, move them to the device and run one frame, so that the first is fast.

        Args:
            path: weights file; None, '' or 'default' for the bundled network.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            precision: `fp16` or `bf16` (half precision if that is faster: on CUDA, and as bfloat16
                on a CPU that supports it), or `fp32`.
            backend: `auto`, `torch`, `openvino` or `onnxruntime`, see `backends.choice`. With
                `auto`, a network that OpenVINO cannot run is run by another.
            compile_beside: if the network must first be compiled for a new image size, resize such
                images to a compiled size meanwhile, instead of waiting for seconds.

        Raises:
            WeightsError: the file cannot be used.
            DeviceError: the device is not available.
            BackendError: the backend is not installed, or does not support the device or the
                network.
            ValueError: the precision or the backend is unknown.
        """
        if precision not in PRECISIONS:
            raise ValueError(f'unknown precision {precision!r}: choose one of {PRECISIONS}')
        place = resolve_device(device)
        weights = check_weights(path)
        chosen, graphs = backend_for(weights, place, precision, backend)
        try:
            return cls._ready(weights, chosen, compile_beside, graphs)
        except RuntimeError as error:
            if chosen.name != 'openvino':
                raise
            other = _instead_of_openvino(weights, backend, error)
        chosen, graphs = backend_for(weights, place, precision, other)
        return cls._ready(weights, chosen, compile_beside, graphs)

    @classmethod
    def _ready(
        cls, weights: CheckedWeights, runner: Backend, compile_beside: bool, graphs: bool
    ) -> DepthEstimator:
        """Return an estimator that has run one frame."""
        estimator = cls(runner, weights.info, weights.checksum, compile_beside, graphs)
        height, width = weights.info.input_height, weights.info.input_width
        estimator.infer(np.zeros((height, width, 3), np.uint8))
        return estimator

    @property
    def device(self) -> Device:
        """Device of the inference."""
        return self._backend.device

    @property
    def precision(self) -> str:
        """Precision of the network."""
        return self._backend.precision

    @property
    def backend(self) -> str:
        """Name of the backend."""
        return self._backend.name

    @property
    def uncompiled(self) -> str:
        """A sentence about why nothing is compiled for an image size ahead of time, or ''."""
        return self._backend.uncompiled

    def kept(self, height: int, width: int) -> Path | None:
        """Return the file or folder of what is compiled for an image size; None: nothing."""
        return self._backend.kept(self.network_size(height, width))

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for each problem that makes inference slower than it could be."""
        confident = self._with_confidence
        problems = (
            self._frames.problem,
            self._backend.problem,
            confident.problem if confident else '',
        )
        return tuple(dict.fromkeys(filter(None, problems)))  # each once

    def infer(self, rgb: NDArray[np.uint8], camera: CameraModel | None = None) -> NDArray[Any]:
        """Estimate the metric depth of one image.

        Args:
            rgb: uint8 (H, W, 3).
            camera: camera of the image, for focal-length correction; None keeps the network's
                metres, which are correct for a camera like that of the training data.

        Returns:
            float32 (H, W), metres along the optical axis, not masked.

        Raises:
            ValueError: type or shape of the image is wrong, or its size differs from the camera's.
        """
        return on_host(self.estimate(rgb, camera).depth)

    def infer_with_confidence(
        self, rgb: NDArray[np.uint8], camera: CameraModel | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Estimate the depth of one image and how far to trust it.

        Args:
            rgb: uint8 (H, W, 3).
            camera: see `infer`.

        Returns:
            The depth, see `infer`, and its confidence, float32 (H, W), 0 to 1: the probability that
            the depth is within 25 % of the truth (delta1), as the network estimates it.

        Raises:
            ValueError: see `infer`; or the network gives no confidence.

        Examples:
            >>> import numpy as np
            >>> from depth_perception import DepthEstimator
            >>> estimator = DepthEstimator.load(device='cpu')  # the bundled network
            >>> rgb = np.full((240, 320, 3), 90, np.uint8)  # an RGB image
            >>> depth, confidence = estimator.infer_with_confidence(rgb)
            >>> depth[confidence < 0.5] = np.nan  # trust only the rest
        """
        estimate = self.estimate(rgb, camera, confidence=True)
        return on_host(estimate.depth), on_host(estimate.confidence)

    def estimate(
        self,
        rgb: NDArray[np.uint8] | Tensor,
        camera: CameraModel | None = None,
        confidence: bool = False,
        wait: bool = True,
    ) -> Estimate:
        """Estimate the depth like `infer`, but leave it on the estimator's device.

        The image may be a tensor that is already there, see `transfer.Upload`. On a GPU the work
        has only been started: later work on the same stream runs after it. For `confidence` and
        `wait` see `Estimator.estimate`.
        """
        _check_image(rgb, camera)
        backend = self._runner(confidence)
        height, width = rgb.shape[:2]
        if confidence and self._compile_beside and not wait:
            wanted = self.network_size(height, width, camera)
            if not backend.begin(wanted, f'{width}x{height} with confidence'):
                backend, confidence = self._backend, False
        size = self._choose_size(backend, height, width, camera)
        factor = self.focal_factor(camera, size)
        seconds: list[float] = []
        depth = self._frames(
            partial(self._depth, backend=backend, size=size, seconds=seconds),
            self._upload(rgb),
            factor,
            (*size, int(confidence)),
        )
        # On a GPU this is only the time to launch the work.
        measured = seconds[-1] if seconds and self.device.type == 'cpu' else None
        if confidence:
            return Estimate(depth[0], factor, measured, depth[1])
        return Estimate(depth, factor, measured)

    def prepare_confidence(self) -> None:
        """Make the confidence ready for images of the training's size, and wait for that.

        Raises:
            ValueError: the network gives no confidence.
        """
        backend, info = self._runner(confidence=True), self.info
        size = self.network_size(info.input_height, info.input_width)
        backend.prepare([(size, f'{size[1]}x{size[0]} with confidence')])

    def _runner(self, confidence: bool) -> Backend:
        """Return the backend that computes depth, with confidence if asked for.

        Raises:
            ValueError: the network gives no confidence.
        """
        if not confidence:
            return self._backend
        if not self.info.gives_confidence:
            raise ValueError(no_confidence(self.info))
        self._with_confidence = self._with_confidence or self._backend.with_confidence()
        return self._with_confidence

    def _depth(
        self,
        image: Any,
        factor: Tensor | float,
        backend: Backend,
        size: Size,
        seconds: list[float],
    ) -> Any:
        """Return depth (H, W) in metres times the factor, for an image (H, W, 3) on the device.

        With a backend that tells how far off the depth is, the result is (2, H, W): the depth and
        the confidence.

        Args:
            image: uint8 (H, W, 3).
            factor: factor on the depth.
            backend: computes the raw output.
            size: (height, width) of the network's input.
            seconds: list to which the time of the network is appended.
        """
        prepared = self._prepare(image, size)
        start = time.perf_counter()
        output = backend.run(prepared)
        seconds.append(time.perf_counter() - start)
        height, width = image.shape[:2]
        if isinstance(output, tuple):
            depth = self._of_output(output[0], factor, (height, width))
            return _stacked(depth, _resized(_confidence(output[1]), (height, width)))
        return self._of_output(output, factor, (height, width))

    def _of_output(self, output: Any, factor: Tensor | float, size: Size) -> Any:
        """Return depth (H, W) in metres times the factor, for a raw output."""
        if self.info.preparation.converts_last:
            return _in_metres(self._whole(output, size), self.info, factor)
        depth = _in_metres(output, self.info, factor)
        if self.info.preparation.size != 'area':
            return self._whole(depth, size)
        return _resized(depth, size)

    def _whole(self, output: Any, size: Size) -> Any:
        """Resize the output of an imported network to the image: (H, W)."""
        if not is_tensor(output) and needs_no_torch(self.info):
            return _resized(output, size)
        import torch

        return like(resized_output(torch.as_tensor(output), self.info, size), output)

    def network_input(
        self, rgb: NDArray[np.uint8] | Tensor, camera: CameraModel | None = None
    ) -> Tensor:
        """Return the network's input for an image: normalised float32 (1, 3, h, w)."""
        _check_image(rgb, camera)
        height, width = rgb.shape[:2]
        import torch

        size = self._choose_size(self._backend, height, width, camera)
        return torch.as_tensor(self._prepare(self._upload(rgb), size))

    def focal_factor(self, camera: CameraModel | None, fed: Size | None = None) -> float:
        """Return camera focal / training focal, in pixels of the network's input; 1 if unknown.

        An object that is twice as large in pixels looks half as far: a network trained with one
        focal length misjudges others by the ratio (Metric3D, Yin et al. 2023, 3.1).

        Args:
            camera: camera of the image.
            fed: (height, width) of the network's input; None for `network_size`.
        """
        if camera is None or not self.info.training_focal_length:
            return 1.0
        height, width = self.network_size(camera.height, camera.width, camera)
        fed_height, fed_width = fed or (height, width)
        camera_focal = camera.fx * fed_width / camera.width
        if (fed_height, fed_width) != (height, width):  # stretched: use the mean of both axes
            camera_focal *= math.sqrt(fed_height * width / (fed_width * height))
        # A camera may contain NumPy numbers, which would turn the depth into float64.
        return float(camera_focal / self.info.focal_length_at(self.info.input_width))

    def network_size(self, height: int, width: int, camera: CameraModel | None = None) -> Size:
        """Return the network's (height, width) for an image, see the function `network_size`."""
        return network_size(self.info, height, width, camera.fx if camera else None)

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Prepare for images of these (height, width), and wait until that is done.

        Raises:
            CompileError: the network cannot be compiled for one of them.
        """
        self._backend.prepare((self.network_size(*size), f'{size[1]}x{size[0]}') for size in sizes)

    def _choose_size(
        self, backend: Backend, height: int, width: int, camera: CameraModel | None
    ) -> Size:
        """Return the size to use now for an image, see `compile_beside`."""
        wanted = self.network_size(height, width, camera)
        if self._compile_beside:
            return backend.size_for(wanted, f'{width}x{height}')
        return wanted

    def _prepare(self, image: Any, size: Size) -> Any:
        """Convert uint8 (H, W, 3) to normalised float32 (1, 3, h, w), both on the device."""
        if not is_tensor(image) and needs_no_torch(self.info):
            rounded = np.rint(smoothly_resized(image, size), dtype=np.float32)[None]
            return _normalised(rounded, self._mean, self._std)
        if self.info.preparation.size != 'area':
            resized = resized_image(_as_batch(image), self.info, size)
            return like(_normalised(resized, self._mean, self._std), image)
        return _normalised(_to_size(image, size), self._mean, self._std)


def _of_channels(values: tuple[float, ...], device: Device) -> Any:
    """Return a value of each channel, of RGB / 255, as an array (1, 3, 1, 1) for 0 to 255."""
    array = np.array(values, np.float32).reshape(1, 3, 1, 1) * 255
    return on_device(array, 'numpy' if device.type == 'cpu' else str(device))


def _as_batch(image: NDArray[np.uint8] | Tensor) -> Tensor:
    """Return an image (H, W, 3) as a tensor (1, 3, H, W)."""
    import torch

    if not is_tensor(image) and not image.flags.writeable:
        image = image.copy()  # torch warns about read-only arrays, for example of `bytes`
    return torch.as_tensor(image).permute(2, 0, 1)[None]


def _to_size(image: Any, size: Size) -> Any:
    """Resize uint8 (H, W, 3) to (1, 3, h, w), smoothly."""
    if not is_tensor(image):
        return smoothly_resized(image, size)[None]
    from torch.nn import functional as F

    batch = _as_batch(image)
    if tuple(batch.shape[-2:]) == size:
        return batch
    return F.interpolate(batch.float(), size, mode='bilinear', antialias=True)


def _instead_of_openvino(weights: CheckedWeights, backend: str, error: RuntimeError) -> str:
    """Return the backend for a network that OpenVINO cannot run, and log why.

    Raises:
        BackendError: OpenVINO was requested.
    """
    other = 'onnxruntime' if weights.info.network == 'onnx' else 'torch'
    why = f'OpenVINO cannot run {weights.info.name}: {openvino_reason(error)}'
    if backend != 'auto':
        raise BackendError(f'{why}; set backend to auto or {other}') from error
    _log.warning(f'{why}; {other} runs it')
    return other


@by_numpy
def _normalised(image: Array, mean: Array, std: Array) -> Array:
    normalised: Array = image - mean
    normalised /= std  # in place: half the memory
    return normalised


@by_numpy
def _in_metres(output: Array, info: WeightsInfo, factor: Tensor | float) -> Array:
    """Convert the raw output to metres for a camera like the training data's, times the factor.

    Relative output is returned unchanged.
    """
    if not info.is_metric:
        return output
    if info.output == 'metres':
        return output * factor
    scale = info.reciprocal_scale
    # With an upper bound, NumPy is three times as fast.
    metres = scale / output.clip(scale / (FAR_LIMIT * info.max_depth), math.inf)
    metres *= factor
    return metres


@by_numpy
def _confidence(log_scale: Array) -> Array:
    """Return the probability that depth is within 25 % of the truth, from the scale of its error.

    The error of log depth has a Laplace distribution: P(|error| < x) = 1 - exp(-x / scale).
    """
    scales = math.log(WITHIN) * _exp(-log_scale)
    confidence: Array = 1 - _exp(-scales)
    return confidence


def _exp(values: Array) -> Array:
    result: Array = values.exp() if is_tensor(values) else np.exp(values)
    return result


def _stacked(*maps: Any) -> Any:
    """Stack maps (H, W) to (count, H, W)."""
    if not is_tensor(maps[0]):
        return np.stack(maps)
    import torch

    return torch.stack(maps)


def inferred(
    estimator: DepthEstimator,
    rgb: NDArray[np.uint8],
    camera: CameraModel | None,
    settings: DepthSettings,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the depth of one image, and its confidence if the settings need it."""
    if settings.min_confidence > 0:
        return estimator.infer_with_confidence(rgb, camera)
    return estimator.infer(rgb, camera), None


def no_confidence(info: WeightsInfo) -> str:
    """Return a sentence about a network that gives no confidence."""
    return (
        f'{info.name} gives no confidence, which only the bundled network and those with an '
        'uncertainty head do (docs/confidence.md)'
    )


@by_numpy
def _resized(depth: Array, size: tuple[int, int]) -> Array:
    """Resize (1, 1, h, w) to (H, W), bilinear."""
    if not is_tensor(depth):
        resized: NDArray[np.float32] = cv2.resize(depth[0, 0], size[::-1])
        return resized
    from torch.nn import functional as F

    return F.interpolate(depth, size, mode='bilinear', align_corners=False)[0, 0]


def network_size(info: WeightsInfo, height: int, width: int, fx: float | None = None) -> Size:
    """Return the network's (height, width) for an image: the image's aspect, the training's area.

    The whole frame is used and hardly stretched. The result is the training size if the aspect
    ratios agree, otherwise the multiples of 16 near it that stretch the least. The aspect ratio is
    limited to MAX_ASPECT: an image one pixel high would otherwise become millions of pixels wide.

    For a network with the test geometry `canonical`, images are resized so that the focal length in
    pixels is the training's, within LEAST_AREA and MOST_AREA. Deviations of less than a tenth are
    ignored, to keep the number of sizes small.

    All this applies to the preparation `area`; see `Preparation.size` for imported networks.

    Args:
        info: metadata of the network.
        height: image height, pixels.
        width: image width, pixels.
        fx: focal length of the image, pixels; None = unknown.

    Examples:
        >>> from dataclasses import replace
        >>> from depth_perception import load_weights
        >>> from depth_perception.inference.estimator import network_size
        >>> info = replace(load_weights().info, input_height=240, input_width=320)
        >>> network_size(info, 480, 640), network_size(info, 720, 1280)
        ((240, 320), (208, 368))
    """
    if info.preparation.size != 'area':
        return fed_size(info, height, width)
    trained = (info.input_width, info.input_height)
    area = float(trained[0] * trained[1])
    if info.test_geometry == CANONICAL and fx is not None:
        wanted = (info.focal_length_at(info.input_width) / fx) ** 2 * height * width / area
        if abs(math.log(wanted)) > 2 * math.log(FOCAL_TOLERANCE):
            area *= min(max(wanted, LEAST_AREA), MOST_AREA)
            return _size_near(area, width / height, of_area=0.5)
    if same_aspect(trained, (width, height)):
        return trained[1], trained[0]
    return _size_near(area, width / height)


def _size_near(area: float, aspect: float, of_area: float = 0.0) -> Size:
    """Return the multiples of 16 near this area that stretch an aspect ratio the least.

    Args:
        area: desired area, pixels.
        aspect: width / height.
        of_area: weight of a factor in area relative to the same factor in stretch.
    """
    aspect = min(max(aspect, 1 / MAX_ASPECT), MAX_ASPECT)
    steps = math.sqrt(area / aspect) / SIZE_STEP
    rows = [max(1, math.floor(steps) + offset) for offset in (0, 1)]
    sizes = [(row, max(1, round(row * aspect))) for row in rows]
    row, column = min(
        sizes,
        key=lambda size: (
            abs(math.log(size[1] / size[0] / aspect))
            + of_area * abs(math.log(size[0] * size[1] * SIZE_STEP**2 / area))
        ),
    )
    return row * SIZE_STEP, column * SIZE_STEP


def _check_image(rgb: NDArray[np.uint8] | Tensor, camera: CameraModel | None) -> None:
    shape, dtype = tuple(rgb.shape), str(rgb.dtype).removeprefix('torch.')
    if dtype != 'uint8' or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(f'need an image uint8 (H, W, 3), got {dtype} {shape}')
    if camera is not None and (camera.height, camera.width) != shape[:2]:
        raise ValueError(
            f'the camera is {camera.width}x{camera.height}, the image {rgb.shape[1]}x{rgb.shape[0]}'
        )
