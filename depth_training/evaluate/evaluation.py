# SPDX-License-Identifier: Apache-2.0
"""Judge a network by the papers' protocols."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depth_perception.camera.model import CameraModel
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimate
from depth_perception.io.weights import WeightsInfo
from depth_perception.progress import tracked
from depth_training.data import DataError, DepthDataset, Sample
from depth_training.evaluate import protocols
from depth_training.evaluate.geometry import WHOLE, Box, View, get_geometry, look
from depth_training.evaluate.metrics import METRICS, Metrics
from depth_training.evaluate.protocols import Protocol
from depth_training.losses.losses import from_reciprocal


class _Unchanged:
    """An inference backend that runs a network as it is, in float32: it may be in training."""

    name, precision, problem = 'torch', 'fp32', ''

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self.device = network, device

    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) -> raw output (1, 1, h, w) float32."""
        output: Tensor = self._network(image)
        return output.float()

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """Any size is ready."""
        return size

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Nothing is to be done."""


class Output(NamedTuple):
    """What a network itself gives for a frame.

    Attributes:
        raw: (1, 1, h, w), float32, on the device.
        box: the part of the frame that it is of.
        factor: that corrects its metres to the frame's camera.
    """

    raw: Tensor
    box: Box
    factor: float


class Predictor:
    """A network as the node runs it, or as its paper tests it.

    Which of both its weights file says (`info.test_geometry`). With `keep_aspect` and `canonical`
    depth comes from the node's own `DepthEstimator`. The other geometries are the papers': as a
    function from uint8 (h, w, 3) RGB to float32 (h', w') metres.
    """

    def __init__(self, network: nn.Module, info: WeightsInfo, device: torch.device) -> None:
        self.network, self.info, self.device = network, info, device
        # A graph would keep the weights of the moment, and one for each size of image.
        self._estimator = DepthEstimator(_Unchanged(network, device), info, graphs=False)
        self._mean = torch.tensor(info.mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(info.std, device=device).view(1, 3, 1, 1) * 255

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Depth in metres, in the terms of the camera that the network was trained with."""
        output = self.output(image)
        if self.info.output == 'reciprocal':
            output = from_reciprocal(output, self.info.reciprocal_scale,
                                     self.info.min_depth, self.info.max_depth)
        return output[0, 0].cpu().numpy()

    @property
    def is_as_published(self) -> bool:
        """Whether depth is computed as the node does it."""
        return get_geometry(self.info.test_geometry).keep_aspect

    def published(self, rgb: NDArray[np.uint8], camera: CameraModel | None) -> Estimate:
        """Depth (H, W) of a frame uint8 (H, W, 3) as the node computes it, before its limits."""
        return self._estimator.estimate(rgb, camera)

    @torch.no_grad()
    def output_of(self, sample: Sample) -> Output:
        """What the network gives for a frame that it is shown as in a test."""
        if self.is_as_published:
            shown = self._estimator.network_input(sample.rgb, sample.camera)
            factor = self._estimator.focal_factor(sample.camera)
            return Output(self.network(shown).float(), WHOLE.scaled(sample.rgb.shape[:2]), factor)
        view = look(self.info, sample.rgb, sample.fx)
        return Output(self.output(view.image), view.box, focal_factor(self.info, sample, view))

    @torch.no_grad()
    def output(self, image: NDArray[np.uint8]) -> Tensor:
        """What the network itself gives: (1, 1, h', w'), float32, on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        tensor = tensor.permute(2, 0, 1)[None].float()
        return self.network((tensor - self._mean) / self._std).float()


def as_node(info: WeightsInfo) -> WeightsInfo:
    """A network's metadata with the geometry that the node shows it every frame in."""
    if get_geometry(info.test_geometry).keep_aspect:
        return info
    return dataclasses.replace(info, test_geometry='keep_aspect')


@dataclass
class Evaluation:
    """One network judged by one protocol.

    Attributes:
        protocol: its name, and in words.
        averaging: the protocol's own, of `scores`; `by_pixels` and `by_images` give both.
        counts: images, skipped images, pixels, clamped and unseen pixels, bad pairs.
        truth: what the data offered: `raw`, `filled` or `exact`.
        geometry: what the network saw of a frame, in words.
        depth_factor: smallest and largest number that predictions were multiplied by because the
            camera differs from that of the training; 1, 1 = they were taken as they are.
        note: what differs from the protocol; may be empty.
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

    @property
    def is_rescaled(self) -> bool:
        """Whether predictions were multiplied by anything but 1, to the third decimal."""
        return max(abs(factor - 1) for factor in self.depth_factor) >= 5e-4

    def as_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is null."""
        values = dataclasses.asdict(self)
        for key in ('scores', 'by_pixels', 'by_images'):
            values[key] = {name: value if np.isfinite(value) else None
                           for name, value in values[key].items()}
        return values


class Prediction(NamedTuple):
    """What a network says of a pair.

    Attributes:
        depth: metres (h, w) at the network's output size.
        box: the part of the frame that it is of.
        factor: it was multiplied by, for a camera unlike that of the training.
    """

    depth: NDArray[np.float32]
    box: Box
    factor: float


def predicted(predictor: Predictor, sample: Sample, protocol: Protocol) -> Prediction:
    """Depth of a pair, as the network's own geometry and a protocol want it made.

    Where the pair's camera is known, depth is corrected from the training camera to it. For a
    paper's network on NYU the factor is 1.
    """
    rgb = protocols.shown(protocol, sample.rgb)
    if predictor.is_as_published:
        return _published(predictor, rgb, sample.camera, protocol)
    view = look(predictor.info, rgb, sample.fx)
    factor = focal_factor(predictor.info, sample, view)
    depth = protocols.predict(protocol, view.image, predictor)
    return Prediction(depth * np.float32(factor), view.box, factor)


def _published(predictor: Predictor, rgb: NDArray[np.uint8], camera: CameraModel | None,
               protocol: Protocol) -> Prediction:
    """Depth of a frame as the node computes it; the protocol's limits stand for the node's."""
    factors = []

    def depth(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        estimate = predictor.published(image, camera)
        factors.append(estimate.focal_factor)
        return estimate.depth.cpu().numpy()
    found = protocols.predict(protocol, rgb, depth)
    return Prediction(found, WHOLE.scaled(rgb.shape[:2]), factors[0])


def focal_factor(info: WeightsInfo, sample: Sample, view: View) -> float:
    """Focal length of what the network saw by that it was trained with; 1 where it is unknown."""
    if sample.fx is None:
        return 1.0
    return sample.fx * view.scale / info.focal_length_at(info.input_width)


def evaluate(predictor: Predictor, dataset: DepthDataset, protocol: Protocol,
             shown: bool = False) -> Evaluation:
    """Judge all pairs; bad ones are counted and passed over.

    Args:
        predictor: the network.
        dataset: the pairs.
        protocol: by whose rules.
        shown: say on standard error how far it is.

    Raises:
        DataError: not one pair could be judged.
    """
    metrics, blind = Metrics(), 0
    bad: list[DataError] = []
    factors: list[float] = []
    predictor.network.eval()
    for sample in _good_pairs(dataset, bad, f'evaluate {protocol.name}' if shown else ''):
        depth, box, factor = predicted(predictor, sample, protocol)
        protocols.judge(protocol, depth, sample.depth, metrics, box)
        factors.append(factor)
        blind += sample.fx is None
    if not metrics.sums:
        raise bad[0] if bad else DataError('no image has a depth that this protocol counts')
    info = predictor.info
    return Evaluation(
        protocol.name, protocol.describe(), protocol.averaging,
        metrics.scores(protocol.averaging), metrics.scores('pixels'), metrics.scores('images'),
        {**metrics.counts(), 'bad_pairs': len(bad)}, dataset.describe(), dataset.ground_truth,
        get_geometry(info.test_geometry).describe(info.input_height, info.input_width),
        (min(factors), max(factors)), _note(dataset, protocol, metrics, blind),
        {'name': info.name, 'recipe': info.recipe, 'recipe_name': info.recipe_name,
         'origin': info.origin})


def rescaled(result: Evaluation) -> str:
    """What happened to the predictions for the sake of the camera, in words."""
    if not result.is_rescaled:
        return 'depth is taken as predicted'
    low, high = result.depth_factor
    by = f'{low:.3f}' if high - low < 5e-4 else f'{low:.3f} to {high:.3f}'
    return f'depth is multiplied by {by}: focal length of what the network saw, by that of ' \
           'its training'


def table(evaluations: list[Evaluation]) -> str:
    """Scores for a terminal, with all that moves the figures."""
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
    # What several weights share is said once.
    lines += dict.fromkeys(_circumstances(result) for result in evaluations)
    return '\n'.join(lines)


def _circumstances(result: Evaluation) -> str:
    """All that moves the figures, in lines."""
    counts = ', '.join(f'{value} {name.replace("_", " ")}'
                       for name, value in result.counts.items())
    note = [f'note: {result.note}'] if result.note else []
    return '\n  '.join([result.description, result.data, f'the network saw {result.geometry}',
                        rescaled(result), counts, *note])


def _together(evaluations: list[Evaluation]) -> list[str]:
    """Mean and deviation (n - 1) of several weights by each protocol."""
    lines = []
    for protocol in dict.fromkeys(result.protocol for result in evaluations):
        rows = [result.scores for result in evaluations if result.protocol == protocol]
        columns = {name: np.array([row[name] for row in rows]) for name in METRICS}
        lines += [_line(protocol, f'mean of {len(rows)}',
                        {name: float(column.mean()) for name, column in columns.items()}),
                  _line(protocol, 'deviation',
                        {name: float(column.std(ddof=1)) for name, column in columns.items()})]
    return lines


def _line(protocol: str, averaging: str, scores: dict[str, float], mark: str = ' ') -> str:
    return f'{protocol:<11} {averaging:<9} {mark} ' \
        + ' '.join(f'{_figure(scores[name]):>8}' for name in METRICS)


def _figure(value: float) -> str:
    return f'{value:.4f}' if abs(value) < 1000 else f'{value:.2e}'


def _good_pairs(dataset: DepthDataset, bad: list[DataError], what: str) -> Iterator[Sample]:
    """The pairs, with progress if it has a name; bad ones go to the list."""
    indices = range(len(dataset))
    for index in tracked(indices, what, ' pairs') if what else indices:
        try:
            yield dataset[index]
        except DataError as error:
            bad.append(error)


def _note(dataset: DepthDataset, protocol: Protocol, metrics: Metrics, blind: int) -> str:
    """What a reader of the scores must know beside them."""
    notes = []
    if dataset.ground_truth != protocol.ground_truth:
        notes.append(f'the protocol asks for {protocol.ground_truth} ground truth, '
                     f'this data has {dataset.ground_truth}')
    if metrics.unseen:
        share = metrics.unseen / (metrics.unseen + metrics.counts()['pixels'])
        notes.append(f'{100 * share:.1f} % of the pixels that count lie outside of what the '
                     'network saw, and are left out')
    if blind:
        notes.append(f'the focal length of {blind} images is unknown: taken as that of the '
                     'training')
    if protocol.median_scaled:
        low, high = min(metrics.factors), max(metrics.factors)
        notes.append(f'each prediction was multiplied by {low:.3f} to {high:.3f}, to the median '
                     'of its truth')
    return '; '.join(notes)
