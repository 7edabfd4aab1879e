# SPDX-License-Identifier: Apache-2.0
"""Comparison images: input, truth, prediction and error side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.depth.visualise import (
    colourise,
    colourise_error,
    error_legend,
    fitted_range,
    legend,
    relative_error,
)

if TYPE_CHECKING:
    from depth_training.data import DepthDataset, Sample
    from depth_training.evaluate.evaluation import Prediction, Predictor
    from depth_training.evaluate.protocols import Protocol

#: Width in pixels of a column of `side_by_side`.
_COLUMN = 320
Depth = NDArray[np.float32]
Picture = NDArray[np.uint8]


def comparison(rgb: Picture, truth: Depth, prediction: Depth, max_depth: float = 10.0) -> Picture:
    """Draw input, truth, prediction, relative error and a legend: uint8 (h, 4 W, 3) RGB.

    Args:
        rgb: uint8 (H, W, 3).
        truth: metres (H, W), 0 = unknown: black, and grey in the error image.
        prediction: metres (H, W), NaN = none: black.
        max_depth: upper limit of the colour scale in metres.
    """
    known = np.where(truth > 0, truth, np.nan).astype(np.float32)
    prediction = prediction.astype(np.float32)
    near, far = fitted_range([known, prediction], 0.0, max_depth)
    error = relative_error(prediction, known)
    parts = [
        rgb[..., ::-1],
        colourise(known, near, far),
        colourise(prediction, near, far),
        colourise_error(error),
    ]
    width = rgb.shape[1]
    size = max(1.0, width / 240)  # such images are usually shown smaller
    depth_bar, error_bar = legend(2 * width, near, far, size), error_legend(width, size)
    height = max(len(depth_bar), len(error_bar))
    bars = np.concatenate(
        [
            np.full((height, width, 3), 255, np.uint8),
            _padded(depth_bar, height),
            _padded(error_bar, height),
        ],
        axis=1,
    )
    picture = np.concatenate([np.concatenate(parts, axis=1), bars])
    return np.ascontiguousarray(picture[..., ::-1])


def _padded(picture: Picture, height: int) -> Picture:
    """Pad with white at the bottom to this height."""
    return np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=255)


def stacked(rows: list[Picture], width: int = 1280) -> Picture:
    """Stack images vertically, all resized to `width`."""
    return np.concatenate(
        [
            cv2.resize(
                row,
                (width, round(row.shape[0] * width / row.shape[1])),
                interpolation=cv2.INTER_AREA,
            )
            for row in rows
        ]
    )


def labelled(picture: Picture, text: str) -> Picture:
    """Return the image with a white text on black in its upper left corner."""
    scale = picture.shape[0] / 240
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    result = picture.copy()
    result[: height + 2 * base, : width + base] = 0
    return cv2.putText(
        result,
        text,
        (base // 2, height + base),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (255, 255, 255),
        max(round(2 * scale), 1),
        cv2.LINE_AA,
    )


def png(rgb: Picture) -> bytes:
    """Encode an RGB image as PNG."""
    return cv2.imencode('.png', np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


def jpeg(rgb: Picture) -> bytes:
    """Encode an RGB image as JPEG, a tenth of the size of PNG."""
    return cv2.imencode('.jpg', np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


def of_predictor(predictor: Predictor, pairs: DepthDataset, protocol: Protocol) -> Picture | None:
    """Compare predictions with pairs by a protocol; return None if all pairs are bad."""
    from depth_training.data import good_samples
    from depth_training.evaluate.evaluation import predicted

    rows = []
    for sample in good_samples(pairs):
        prediction = predicted(predictor, sample, protocol)
        depth = _metres(predictor, prediction, sample)
        rows.append(comparison(sample.rgb, sample.depth, depth, predictor.info.max_depth))
    return stacked(rows) if rows else None


def side_by_side(files: Mapping[str, Path], pairs: DepthDataset) -> bytes:
    """Draw input, truth and the depth by each network, one row per pair: a JPEG file.

    All depths of a row have the colour scale of the truth.

    Args:
        files: weights files by the title of their column.
        pairs: pairs to show.

    Raises:
        ValueError: weights cannot be used, or no pair can.
    """
    from depth_training.data import good_samples

    samples = list(good_samples(pairs))
    if not samples:
        raise ValueError(f'no pair can be shown of: {pairs.describe()}')
    columns = [
        [sample.rgb for sample in samples],
        [_coloured(sample.depth, sample.depth) for sample in samples],
    ]
    columns += [
        [_coloured(depth, sample.depth) for depth, sample in zip(_depths(file, samples), samples)]
        for file in files.values()
    ]
    names = ('input', 'truth', *files)
    columns = [[labelled(column[0], name), *column[1:]] for column, name in zip(columns, names)]
    rows = [
        _with_bar(np.concatenate(row, axis=1), len(columns), sample.depth)
        for row, sample in zip(zip(*columns), samples)
    ]
    return jpeg(stacked(rows, _COLUMN * len(columns)))


def _with_bar(row: Picture, columns: int, truth: Depth) -> Picture:
    """Add a legend below all columns but the first."""
    width = row.shape[1] // columns
    bar = legend(row.shape[1] - width, *_range(truth), max(1.0, width / _COLUMN))
    left = np.full((len(bar), width, 3), 255, np.uint8)
    return np.concatenate([row, np.concatenate([left, bar[..., ::-1]], axis=1)])


def _depths(file: Path, samples: Sequence[Sample]) -> Iterator[Depth]:
    """Yield each pair's predicted depth (H, W), NaN outside what the network saw."""
    from depth_training.evaluate import protocols
    from depth_training.evaluate.evaluation import predicted

    predictor = _predictor(file)
    for sample in samples:
        prediction = predicted(predictor, sample, protocols.get_protocol('plain'))
        yield _metres(predictor, prediction, sample)


def _metres(predictor: Predictor, prediction: Prediction, sample: Sample) -> Depth:
    """Return a prediction on the frame: (H, W), NaN elsewhere; relative depth is fitted."""
    from depth_training.evaluate import protocols
    from depth_training.evaluate.alignment import aligned

    depth = protocols.to_frame(prediction.depth, sample.depth.shape, prediction.box)
    if predictor.kind == 'metres':
        return depth
    return aligned('scale-shift', predictor.kind, depth, sample.depth)[0]


def _coloured(depth: Depth, truth: Depth) -> Picture:
    known = np.where(depth > 0, depth, np.nan).astype(np.float32)
    return colourise(known, *_range(truth))[..., ::-1]


def _range(truth: Depth) -> tuple[float, float]:
    return fitted_range([truth], 0.0, float(truth.max(initial=0)) or 10.0)


def _predictor(file: Path) -> Predictor:
    import torch

    from depth_training.evaluate.evaluation import Predictor

    return Predictor.load(file, torch.device('cpu'))


def of_weights(file: Path, pairs: DepthDataset) -> bytes:
    """Compare a weights file with pairs by the `plain` protocol: a JPEG file.

    Raises:
        ValueError: the weights cannot be used, or no pair can.
    """
    from depth_training.evaluate.protocols import get_protocol

    picture = of_predictor(_predictor(file), pairs, get_protocol('plain'))
    if picture is None:
        raise ValueError(f'no pair can be shown of: {pairs.describe()}')
    return jpeg(picture)
