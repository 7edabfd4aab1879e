# SPDX-License-Identifier: Apache-2.0
"""Evaluate a network by the papers' protocols."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depth_perception.camera.model import CameraModel
from depth_perception.depth.arrays import on_host
from depth_perception.errors import UsageError
from depth_perception.inference.backends.base import Backend
from depth_perception.inference.backends.choice import choose_backend
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimate
from depth_perception.io.weights import WeightsInfo, load_weights
from depth_perception.networks.onnx_network import OnnxNetwork
from depth_perception.progress import tracked
from depth_training.data import DataError, DepthDataset, Sample
from depth_training.evaluate import protocols
from depth_training.evaluate.alignment import DISPARITY
from depth_training.evaluate.geometry import WHOLE, Box, View, describe, is_as_node, look
from depth_training.evaluate.metrics import METRICS, Metrics
from depth_training.evaluate.protocols import Protocol
from depth_training.losses.losses import from_reciprocal


class _Unchanged:
    """An inference backend that runs a network as it is, in float32, even during training."""

    name, precision, problem = 'torch', 'fp32', ''
    uncompiled = 'PyTorch runs it as it is'

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self.device = network, device

    @torch.inference_mode()
    def run(self, image: Tensor | NDArray[np.float32]) -> Tensor:
        """Map a normalised image (1, 3, H, W) to raw output (1, 1, h, w) float32."""
        output: Tensor = self._network(torch.as_tensor(image))
        return output.float()

    def kept(self, size: tuple[int, int]) -> None:
        """Return None: nothing is compiled."""

    def with_confidence(self) -> _Unchanged:
        """Raise an error: only depth is evaluated."""
        raise NotImplementedError('only depth is evaluated')

    def begin(self, size: tuple[int, int], what: str) -> bool:
        """Return True: any size is ready."""
        return True

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """Accept any size."""
        return size

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Do nothing: no size needs preparation."""


class Prediction(NamedTuple):
    """Prediction for a pair.

    Attributes:
        depth: (h, w) at the network's output size; metres, unless it is relative.
        box: the part of the frame that it covers.
        factor: factor applied because the camera differs from the training camera.
    """

    depth: NDArray[np.float32]
    box: Box
    factor: float


class DepthSource(ABC):
    """What is evaluated: a network, or predictions stored as files.

    Attributes:
        kind: what it predicts, see `alignment.aligned`.
        assumes_focal: metres of images of an unknown camera are those of the training camera.
    """

    kind: str = 'metres'
    assumes_focal: bool = False

    @abstractmethod
    def predict(self, sample: Sample, protocol: Protocol) -> Prediction:
        """Predict a pair."""

    @abstractmethod
    def seen(self) -> str:
        """Describe what it saw of a frame."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Return name, recipe, recipe_name and origin, for the report."""

    def remarks(self) -> list[str]:
        """Return what a reader must know to interpret the scores, after all predictions."""
        return []


class Output(NamedTuple):
    """Raw network output for a frame.

    Attributes:
        raw: (1, 1, h, w), float32, on the device.
        box: the part of the frame that it covers.
        factor: factor that corrects its metres to the frame's camera.
    """

    raw: Tensor
    box: Box
    factor: float


class Predictor(DepthSource):
    """Run a network like the node, or like its paper's test.

    The weights file chooses (`info.test_geometry`). With `keep_aspect` and `canonical`, and with
    imported networks, depth comes from the node's own `DepthEstimator`. The other geometries are
    the papers': a function from uint8 (h, w, 3) RGB to float32 (h', w') metres.
    """

    def __init__(
        self,
        network: nn.Module,
        info: WeightsInfo,
        device: torch.device,
        backend: Backend | None = None,
    ) -> None:
        self.network, self.info, self.device = network, info, device
        self.kind = 'metres' if info.is_metric else info.output
        self.assumes_focal = bool(info.training_focal_length) and info.is_metric
        # A CUDA graph would freeze the current weights, and need one capture per image size.
        self._estimator = DepthEstimator(backend or _Unchanged(network, device), info, graphs=False)
        self._mean = torch.tensor(info.mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(info.std, device=device).view(1, 3, 1, 1) * 255

    @classmethod
    def load(
        cls, file: str | Path, device: torch.device, shown_as_by_node: bool = False
    ) -> Predictor:
        """Read a weights file; its network computes in float32.

        Args:
            file: the file, or `default`.
            device: device to compute on.
            shown_as_by_node: use the geometry of the node instead of the file's.

        Raises:
            WeightsError: the file cannot be used.
            BackendError: nothing installed runs its network.
        """
        loaded = load_weights(file)
        info = as_node(loaded.info) if shown_as_by_node else loaded.info
        if isinstance(loaded.network, OnnxNetwork):  # PyTorch does not run it
            return cls(loaded.network, info, device, choose_backend(loaded.network, device, 'fp32'))
        return cls(loaded.network.to(device), info, device)

    def predict(self, sample: Sample, protocol: Protocol) -> Prediction:
        """Run the network on a pair; see `predicted`."""
        self.network.eval()
        return predicted(self, sample, protocol)

    def seen(self) -> str:
        """Describe the network's geometry."""
        return f'the network saw {describe(self.info)}'

    def about(self) -> dict[str, Any]:
        """Return the entries of the weights file."""
        names = ('name', 'recipe', 'recipe_name', 'origin')
        return {name: getattr(self.info, name) for name in names}

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return depth in metres in terms of the training camera."""
        output = self.output(image)
        if self.info.output == 'reciprocal':
            output = from_reciprocal(
                output, self.info.reciprocal_scale, self.info.min_depth, self.info.max_depth
            )
        return output[0, 0].cpu().numpy()

    @property
    def is_as_published(self) -> bool:
        """Tell if depth is computed like the node's."""
        return is_as_node(self.info)

    def published(self, rgb: NDArray[np.uint8], camera: CameraModel | None) -> Estimate:
        """Return depth (H, W) of a frame uint8 (H, W, 3) as in the node, before depth limits."""
        return self._estimator.estimate(rgb, camera)

    @torch.no_grad()
    def output_of(self, sample: Sample) -> Output:
        """Return the raw output for a frame in the network's test geometry."""
        if self.is_as_published:
            shown = self._estimator.network_input(sample.rgb, sample.camera)
            factor = self._estimator.focal_factor(sample.camera)
            return Output(self.network(shown).float(), WHOLE.scaled(sample.rgb.shape[:2]), factor)
        view = look(self.info, sample.rgb, sample.fx)
        return Output(self.output(view.image), view.box, focal_factor(self.info, sample, view))

    @torch.no_grad()
    def output(self, image: NDArray[np.uint8]) -> Tensor:
        """Return the raw output for an image: (1, 1, h', w'), float32, on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        tensor = tensor.permute(2, 0, 1)[None].float()
        return self.network((tensor - self._mean) / self._std).float()


def as_node(info: WeightsInfo) -> WeightsInfo:
    """Return a network's metadata with the geometry that the node uses."""
    if is_as_node(info):
        return info
    return dataclasses.replace(info, test_geometry='keep_aspect')


@dataclass
class Evaluation:
    """Result of evaluating one network by one protocol.

    Attributes:
        protocol: name and description of the protocol.
        averaging: the protocol's averaging, used in `scores`; `by_pixels` and `by_images`
            have both averagings.
        counts: images, skipped images, pixels, clamped and unseen pixels, bad pairs.
        truth: ground truth of the data: `raw`, `filled` or `exact`.
        geometry: description of what the network saw of a frame.
        depth_factor: smallest and largest factor applied to predictions because the camera differs
            from the training camera; 1, 1 = none.
        note: deviations from the protocol; may be empty.
        aligned: how predictions were aligned to the truth, see `alignment.Alignment`.
        folder: name of the data's folder or file; may be empty.
    """

    protocol: str
    description: str
    averaging: str
    scores: dict[str, float]
    by_pixels: dict[str, float]
    by_images: dict[str, float]
    counts: dict[str, int]
    data: str
    truth: str
    geometry: str = ''
    depth_factor: tuple[float, float] = (1.0, 1.0)
    note: str = ''
    weights: dict[str, Any] = field(default_factory=dict)
    aligned: str = 'none'
    folder: str = ''

    @property
    def is_rescaled(self) -> bool:
        """Tell if predictions were scaled by other factors than 1, to the third decimal."""
        return max(abs(factor - 1) for factor in self.depth_factor) >= 5e-4

    def as_json(self) -> dict[str, Any]:
        """Return plain values; undefined scores are null."""
        values = dataclasses.asdict(self)
        for key in ('scores', 'by_pixels', 'by_images'):
            values[key] = {
                name: value if np.isfinite(value) else None for name, value in values[key].items()
            }
        return values


def predicted(predictor: Predictor, sample: Sample, protocol: Protocol) -> Prediction:
    """Predict depth of a pair with the network's geometry and a protocol.

    If the pair's camera is known, depth is corrected from the training camera to it. For the
    papers' networks on NYU the factor is 1.
    """
    rgb = protocols.shown(protocol, sample.rgb)
    if predictor.is_as_published:
        return _published(predictor, rgb, sample.camera, protocol)
    view = look(predictor.info, rgb, sample.fx)
    factor = focal_factor(predictor.info, sample, view)
    depth = protocols.predict(protocol, view.image, predictor)
    return Prediction(depth * np.float32(factor), view.box, factor)


def _published(
    predictor: Predictor, rgb: NDArray[np.uint8], camera: CameraModel | None, protocol: Protocol
) -> Prediction:
    """Predict depth as the node does, with the protocol's limits instead of the node's."""
    factors = []

    def depth(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        estimate = predictor.published(image, camera)
        factors.append(estimate.focal_factor)
        return on_host(estimate.depth)

    found = protocols.predict(protocol, rgb, depth)
    factor = factors[0] if predictor.kind == 'metres' else 1.0
    return Prediction(found, WHOLE.scaled(rgb.shape[:2]), factor)


def focal_factor(info: WeightsInfo, sample: Sample, view: View) -> float:
    """Return the seen image's focal length / that of training; 1 if unknown."""
    if sample.fx is None:
        return 1.0
    return sample.fx * view.scale / info.focal_length_at(info.input_width)


def check_alignment(source: DepthSource, name: object, protocol: Protocol) -> None:
    """Refuse to evaluate relative predictions as if they were metres.

    Raises:
        UsageError: they must be aligned; the message starts with their name.
    """
    if source.kind != 'metres' and protocol.align == 'none':
        raise UsageError(
            f'{name} gives {source.kind}, not metres: add --align scale-shift, or --align median, '
            'which fit each prediction to its truth'
        )


def evaluate(
    source: DepthSource, dataset: DepthDataset, protocol: Protocol, shown: bool = False
) -> Evaluation:
    """Evaluate all pairs; count and skip bad ones.

    Args:
        source: the network, or its stored predictions.
        dataset: the pairs.
        protocol: the protocol to follow.
        shown: show progress on standard error.

    Raises:
        DataError: no pair could be evaluated, or a stored prediction cannot be used.
        UsageError: the predictions are relative, and the protocol does not align them.
    """
    check_alignment(source, source.about()['name'], protocol)
    metrics, blind = Metrics(), 0
    bad: list[DataError] = []
    factors: list[float] = []
    for sample in _good_pairs(dataset, bad, f'evaluate {protocol.name}' if shown else ''):
        depth, box, factor = source.predict(sample, protocol)
        protocols.judge(protocol, depth, sample.depth, metrics, box, source.kind)
        factors.append(factor)
        blind += sample.fx is None
    if not metrics.sums:
        raise bad[0] if bad else DataError('no image has a depth that this protocol counts')
    notes = _notes(dataset, protocol, metrics, source.kind) + source.remarks()
    if blind and source.assumes_focal:
        notes.append(
            f'the focal length of {blind} images is unknown: the training focal length is assumed'
        )
    return Evaluation(
        protocol.name,
        protocol.describe(),
        protocol.averaging,
        metrics.scores(protocol.averaging),
        metrics.scores('pixels'),
        metrics.scores('images'),
        {**metrics.counts(), 'bad_pairs': len(bad)},
        dataset.describe(),
        dataset.ground_truth,
        source.seen(),
        (min(factors), max(factors)),
        '; '.join(notes),
        source.about(),
        protocol.align,
    )


def rescaled(result: Evaluation) -> str:
    """Describe how predictions were scaled for the camera."""
    if not result.is_rescaled:
        return 'depth is taken as predicted'
    low, high = result.depth_factor
    by = f'{low:.3f}' if high - low < 5e-4 else f'{low:.3f} to {high:.3f}'
    return (
        f'depth is multiplied by {by}: focal length of what the network saw / that of its training'
    )


def table(evaluations: list[Evaluation]) -> str:
    """Format scores for a terminal, with all conditions that affect them."""
    lines = ['protocol    averaging   ' + ' '.join(f'{name:>8}' for name in METRICS)]
    named = len({result.weights.get('file') for result in evaluations}) > 1
    for result in evaluations:
        lines += [f'{result.weights["file"]}:'] if named else []
        for averaging in ('pixels', 'images'):
            scores = result.by_pixels if averaging == 'pixels' else result.by_images
            mark = '*' if averaging == result.averaging else ' '
            lines.append(_line(result.protocol, averaging, scores, mark))
    lines.append('* the averaging of the paper or protocol')
    if named:
        lines += _together(evaluations)
    # Conditions shared by several weights files are printed once.
    lines += dict.fromkeys(_circumstances(result) for result in evaluations)
    return '\n'.join(lines)


def _circumstances(result: Evaluation) -> str:
    """Describe all conditions that affect the scores, one per line."""
    counts = ', '.join(f'{value} {name.replace("_", " ")}' for name, value in result.counts.items())
    note = [f'note: {result.note}'] if result.note else []
    return '\n  '.join(
        [
            result.description,
            result.data,
            result.geometry,
            rescaled(result),
            counts,
            *note,
        ]
    )


def _together(evaluations: list[Evaluation]) -> list[str]:
    """Return mean and standard deviation (n - 1) over several weights files by protocol."""
    lines = []
    for protocol in dict.fromkeys(result.protocol for result in evaluations):
        rows = [result.scores for result in evaluations if result.protocol == protocol]
        columns = {name: np.array([row[name] for row in rows]) for name in METRICS}
        lines += [
            _line(
                protocol,
                f'mean of {len(rows)}',
                {name: float(column.mean()) for name, column in columns.items()},
            ),
            _line(
                protocol,
                'deviation',
                {name: float(column.std(ddof=1)) for name, column in columns.items()},
            ),
        ]
    return lines


def _line(protocol: str, averaging: str, scores: dict[str, float], mark: str = ' ') -> str:
    return f'{protocol:<11} {averaging:<9} {mark} ' + ' '.join(
        f'{_figure(scores[name]):>8}' for name in METRICS
    )


def _figure(value: float) -> str:
    return f'{value:.4f}' if abs(value) < 1000 else f'{value:.2e}'


def _good_pairs(dataset: DepthDataset, bad: list[DataError], what: str) -> Iterator[Sample]:
    """Yield good pairs and collect errors of bad ones; show progress if `what` is not empty."""
    indices = range(len(dataset))
    for index in tracked(indices, what, ' pairs') if what else indices:
        try:
            yield dataset[index]
        except DataError as error:
            bad.append(error)


def _notes(dataset: DepthDataset, protocol: Protocol, metrics: Metrics, kind: str) -> list[str]:
    """Return what a reader must know to interpret the scores."""
    notes = []
    if dataset.ground_truth != protocol.ground_truth:
        notes.append(
            f'the protocol asks for {protocol.ground_truth} ground truth, '
            f'this data has {dataset.ground_truth}'
        )
    if metrics.unseen:
        share = metrics.unseen / (metrics.unseen + metrics.counts()['pixels'])
        notes.append(
            f'{100 * share:.1f} % of the counted pixels lie outside what the network '
            'saw, and are left out'
        )
    if protocol.align != 'none':
        notes.append(_alignment_note(protocol, metrics, kind))
    return notes


def _alignment_note(protocol: Protocol, metrics: Metrics, kind: str) -> str:
    low, high = (f'{factor:.4g}' for factor in (min(metrics.factors), max(metrics.factors)))
    if protocol.align == 'median':
        what = 'the inverse of each prediction' if kind == DISPARITY else 'each prediction'
        return f'{what} was multiplied by {low} to {high} to match the median of its truth'
    swapped = sum(factor <= 0 for factor in metrics.factors)
    what = 'disparity' if kind == DISPARITY else 'depth'
    return (
        f'each prediction was fitted to its truth by the least squares of the {what}: multiplied '
        f'by {low} to {high} and shifted'
        + f'; the factor of {swapped} is negative, which swaps near and far: do they hold {kind}?'
        * bool(swapped)
    )
