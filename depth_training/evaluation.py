# SPDX-License-Identifier: Apache-2.0
"""Judge a network by the papers' protocols."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from depth_perception.weights import WeightsInfo
from depth_training import protocols
from depth_training.data import DataError, DepthDataset, Sample
from depth_training.losses import from_reciprocal
from depth_training.metrics import METRICS, Metrics
from depth_training.protocols import Protocol


class Predictor:
    """A network as a function from uint8 (h, w, 3) RGB to float32 (h', w') metres."""

    def __init__(self, network: nn.Module, info: WeightsInfo, device: torch.device) -> None:
        self.network, self.info, self.device = network, info, device
        self._mean = torch.tensor(info.mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(info.std, device=device).view(1, 3, 1, 1) * 255

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that the network is used at."""
        return self.info.input_height, self.info.input_width

    @torch.no_grad()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Depth in metres, in the terms of the camera that the network was trained with."""
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        tensor = tensor.permute(2, 0, 1)[None].float()
        output = self.network((tensor - self._mean) / self._std).float()
        if self.info.output == 'reciprocal':
            output = from_reciprocal(output, self.info.reciprocal_scale,
                                     self.info.min_depth, self.info.max_depth)
        return output[0, 0].cpu().numpy()


@dataclass
class Evaluation:
    """One network judged by one protocol.

    Attributes:
        protocol: its name, and in words.
        averaging: the protocol's own, of `scores`; `by_pixels` and `by_images` give both.
        counts: images, skipped images, pixels, clamped pixels, bad pairs.
        truth: what the data offered: `raw`, `filled` or `exact`.
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
    note: str = ''
    weights: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; a score that does not exist is null."""
        values = dataclasses.asdict(self)
        for key in ('scores', 'by_pixels', 'by_images'):
            values[key] = {name: value if np.isfinite(value) else None
                           for name, value in values[key].items()}
        return values


def predicted(predictor: Predictor, sample: Sample, protocol: Protocol) -> NDArray[np.float32]:
    """Depth of a pair, as a protocol wants it made: metres at the network's output size.

    Where the pair's camera is known, depth is corrected from the training camera to it. For a
    paper's network on NYU under the paper's own protocol the factor is 1.
    """
    image = protocols.model_input(protocol, sample.rgb, predictor.size)
    depth = protocols.predict(protocol, image, predictor)
    return depth * np.float32(focal_factor(predictor.info, sample, protocol, image.shape[1]))


def focal_factor(info: WeightsInfo, sample: Sample, protocol: Protocol, width: int) -> float:
    """Focal length of what the network saw, `width` pixels wide, by that it was trained with."""
    if sample.fx is None:
        return 1.0
    frame_width = sample.rgb.shape[1]
    of = protocol.resized[1] if protocol.resized else protocols.FRAME[1]
    seen = protocol.window.size[1] * frame_width / of
    return sample.fx * (width / seen) / info.focal_length_at(width)


def evaluate(predictor: Predictor, dataset: DepthDataset, protocol: Protocol) -> Evaluation:
    """Judge all pairs; bad ones are counted and passed over.

    Raises:
        DataError: not one pair could be judged.
    """
    metrics, bad = Metrics(), []
    predictor.network.eval()
    for sample in _good_pairs(dataset, bad):
        protocols.judge(protocol, predicted(predictor, sample, protocol), sample.depth, metrics)
    if not metrics.sums:
        raise bad[0] if bad else DataError('no image has a depth that this protocol counts')
    return Evaluation(
        protocol.name, protocol.describe(), protocol.averaging,
        metrics.scores(protocol.averaging), metrics.scores('pixels'), metrics.scores('images'),
        {**metrics.counts(), 'bad_pairs': len(bad)}, dataset.describe(), dataset.ground_truth,
        _note(dataset, protocol), {'name': predictor.info.name, 'recipe': predictor.info.recipe})


def table(evaluations: list[Evaluation]) -> str:
    """Scores for a terminal, with all that moves the figures."""
    lines = ['protocol    averaging  ' + ' '.join(f'{name:>8}' for name in METRICS)]
    for result in evaluations:
        for averaging in ('pixels', 'images'):
            scores = result.by_pixels if averaging == 'pixels' else result.by_images
            mark = '*' if averaging == result.averaging else ' '
            lines.append(f'{result.protocol:<11} {averaging:<8} {mark} '
                         + ' '.join(f'{_figure(scores[name]):>8}' for name in METRICS))
    lines.append("* the protocol's own averaging")
    for result in evaluations:
        counts = ', '.join(f'{value} {name.replace("_", " ")}'
                           for name, value in result.counts.items())
        lines += [result.description, f'  {result.data}', f'  {counts}']
        lines += [f'  note: {result.note}'] if result.note else []
    return '\n'.join(lines)


def _figure(value: float) -> str:
    return f'{value:.4f}' if abs(value) < 1000 else f'{value:.2e}'


def _good_pairs(dataset: DepthDataset, bad: list[DataError]) -> Iterator[Sample]:
    for index in range(len(dataset)):
        try:
            yield dataset[index]
        except DataError as error:
            bad.append(error)


def _note(dataset: DepthDataset, protocol: Protocol) -> str:
    if dataset.ground_truth == protocol.ground_truth:
        return ''
    return f'the protocol asks for {protocol.ground_truth} ground truth, ' \
           f'this data has {dataset.ground_truth}'
