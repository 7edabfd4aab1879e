# SPDX-License-Identifier: Apache-2.0
"""Measure whether confidence ranks errors and is the probability that it claims to be.

    python -m benchmarks.confidence DATA [DATA ...] [--model FILE] [--every N]

DATA are RGB-D data that `depth_training` opens: of a file by `scripts/pack_rooms` the held-out
views, of everything else all. Prints two tables in Markdown for each, with two rankings that need
no training: by the gradient of log depth, and by depth itself. docs/confidence.md explains them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_perception.inference.estimator import DepthEstimator
from depth_training.data import every, good_samples, open_dataset
from depth_training.data.sample import Sample
from depth_training.evaluate import protocols
from depth_training.evaluate.protocols import WHOLE_FRAME
from depth_training.evaluate.sparsification import Sparsification, described

Depth = NDArray[np.float32]


def steepness(depth: Depth) -> Depth:
    """Return the length of the gradient of log depth, (H, W)."""
    down, right = np.gradient(np.log(np.maximum(depth, 1e-3)))
    return np.hypot(down, right).astype(np.float32)


#: Rankings: what makes a pixel trustworthy, from depth and confidence.
RANKINGS: dict[str, Callable[[Depth, Depth], Depth]] = {
    'confidence': lambda depth, sure: sure,
    'small gradient': lambda depth, sure: -steepness(depth),
    'near': lambda depth, sure: -depth,
    'far': lambda depth, sure: depth,
}


def measure(estimator: DepthEstimator, samples: Iterable[Sample]) -> dict[str, Sparsification]:
    """Return the result of each ranking."""
    found = {name: Sparsification() for name in RANKINGS}
    for sample in samples:
        depth, sure = estimator.infer_with_confidence(sample.rgb, sample.camera)
        known = protocols.valid_pixels(WHOLE_FRAME, sample.depth)
        for name, ranking in RANKINGS.items():
            found[name].add(depth[known], sample.depth[known], ranking(depth, sure)[known])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('data', nargs='+', type=Path, metavar='DATA')
    parser.add_argument('--model', default='', help='weights file; default: the bundled network')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='use one view in N')
    parser.add_argument('--depth-scale', type=float, default=1000.0, help='units per metre')
    options = parser.parse_args(arguments)
    estimator = DepthEstimator.load(options.model, 'cpu')
    for path in options.data:
        split = 'test' if path.suffix == '.zip' else 'all'
        pairs = open_dataset(path, split, depth_scale=options.depth_scale)
        found = measure(estimator, good_samples(every(pairs, options.every)))
        print(f'### {path.name}\n\n{described(found)}\n')


if __name__ == '__main__':
    main()
