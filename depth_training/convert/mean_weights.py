# SPDX-License-Identifier: Apache-2.0
"""Average the weights of networks with common ancestry ("model soup", Wortsman et al. 2022).

    python -m depth_training.convert.mean_weights a.safetensors b.safetensors --out mean.safetensors

The mean of a network and a further trained version often lies in a flat region of the loss and
generalises better to images unlike the training data.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from depth_perception.io.weights import LoadedWeights, WeightsError, load_weights, save_weights
from depth_training.convert.heads import depth_alone


def mean_weights(files: Sequence[Path]) -> LoadedWeights:
    """Return a network with the mean tensors of several weights files.

    Args:
        files: at least two of one architecture; the first gives name, licence and geometry.

    Returns:
        The first network with the mean tensors and all training data listed, without scores and
        without a head that estimates its error (`depth_training.convert.heads`).

    Raises:
        WeightsError: a file cannot be read, or differs from the first in network or input.
        ValueError: fewer than two files.
    """
    if len(files) < 2:
        raise ValueError(f'{len(files)} weights file given: give at least two')
    loaded = [depth_alone(load_weights(file)) for file in files]
    first = loaded[0]
    for other in loaded[1:]:
        for field in (
            'network',
            'network_arguments',
            'mean',
            'std',
            'output',
            'input_height',
            'input_width',
            'training_focal_length',
            'licence',
        ):
            values = getattr(first.info, field), getattr(other.info, field)
            if values[0] != values[1]:
                raise WeightsError(
                    f'{other.path} has {field} {values[1]!r}, {first.path} '
                    f'{values[0]!r}: they cannot be averaged'
                )
    states = [weights.network.state_dict() for weights in loaded]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }
    first.network.load_state_dict(mean)
    info = dataclasses.replace(
        first.info,
        scores=(),
        recipe_name='',
        recipe=f'mean of the weights of {len(files)} networks: '
        + '; '.join(weights.info.recipe for weights in loaded),
        training_data='; '.join(dict.fromkeys(weights.info.training_data for weights in loaded)),
    )
    return dataclasses.replace(first, info=info)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('files', type=Path, nargs='+', help='weights files of one architecture')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--half', action='store_true', help='store in half precision')
    parser.add_argument('--test-geometry', help="test geometry to store instead of the first's")
    options = parser.parse_args(arguments)
    try:
        mean = mean_weights(options.files)
        info = (
            mean.info
            if options.test_geometry is None
            else dataclasses.replace(mean.info, test_geometry=options.test_geometry)
        )
        save_weights(options.out, mean.network, info, torch.float16 if options.half else None)
    except (WeightsError, ValueError, OSError) as error:
        sys.stderr.write(f'mean_weights: {error}\n')
        return 1
    sys.stderr.write(f'wrote {options.out}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
