# SPDX-License-Identifier: Apache-2.0
"""Measure benefit and cost of `temporal_smoothing` on the bundled clip, by strength.

    python -m benchmarks.temporal [--model FILE] [--out FILE]

Definitions are in docs/filters.md. Prints the table and writes it as JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.clip import Frame, predictions, read_clip
from benchmarks.machine import machine
from benchmarks.results import write_json
from depth_perception.depth.temporal import TemporalFilter
from depth_perception.inference.estimator import DepthEstimator

STRENGTHS = (0.0, 0.3, 0.5, 0.7, 0.9)
#: |d log depth| of the truth between frames: below the first limit a pixel is static, above the
#: second an edge has passed over it.
RESTS, MOVES = 0.05, 0.1
#: One in this many pixels of each axis is evaluated.
STRIDE = 2


def filtered(frames: list[Frame], depths: list[Tensor], strength: float) -> Tensor:
    """Return (N, h, w) metres: the depths after the filter."""
    smooth = TemporalFilter()
    return torch.stack(
        [
            smooth(depth, frame.rgb, frame.time, strength)[::STRIDE, ::STRIDE]
            for frame, depth in zip(frames, depths)
        ]
    )


def scores(result: Tensor, raw: Tensor, truth: Tensor) -> dict[str, float]:
    """Return flicker, errors and smear of filtered depths (N, h, w)."""
    true_change = truth.log().diff(dim=0)
    flicker = (result.log().diff(dim=0) - true_change).abs()[true_change.abs() < RESTS]
    # quantile takes at most 16 million values.
    flicker = flicker[:: max(1, len(flicker) // 1_000_000)]
    moved = true_change.abs() > MOVES
    error = (result / truth - 1).abs()
    raw_change = raw.log().diff(dim=0).abs()
    told = moved & (raw_change > MOVES)
    to_old = (result[1:].log() - raw[:-1].log()).abs()
    to_new = (result[1:].log() - raw[1:].log()).abs()
    return {
        'flicker_median': float(flicker.median()),
        'flicker_p90': float(flicker.quantile(0.9)),
        'AbsRel': float(error.nanmean()),
        'AbsRel_moving_edges': float(error[1:][moved].mean()),
        'smeared': float((to_old < to_new)[told].float().mean()),
        'pulled_back': float((to_new / raw_change)[told].mean()),
    }


def run(model: str) -> dict[str, Any]:
    """Return the table."""
    frames = read_clip()
    estimator = DepthEstimator.load(model, device='auto')
    depths = predictions(estimator, frames)
    truth = torch.stack([torch.from_numpy(f.truth[::STRIDE, ::STRIDE]) for f in frames])
    raw = filtered(frames, depths, 0.0)
    return {
        'machine': machine(),
        'model': estimator.info.name,
        'frames': len(frames),
        'strengths': {
            str(strength): scores(filtered(frames, depths, strength), raw, truth)
            for strength in STRENGTHS
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='', help='weights file; default: the bundled network')
    parser.add_argument('--out', type=Path, default=Path('temporal.json'))
    options = parser.parse_args(arguments)
    report = run(options.model)
    write_json(options.out, report)
    print(f'{report["model"]}; {report["machine"]}')
    names = list(report['strengths']['0.0'])
    print('strength ' + ' '.join(f'{name:>20}' for name in names))
    for strength, row in report['strengths'].items():
        print(f'{strength:8} ' + ' '.join(f'{row[name]:20.4f}' for name in names))


if __name__ == '__main__':
    main()
