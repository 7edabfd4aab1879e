# SPDX-License-Identifier: Apache-2.0
"""Average the weights of networks that stem from one another ("model soup", Wortsman et al. 2022).

    python -m depth_training.convert.mean_weights a.safetensors b.safetensors --out mean.safetensors

The mean of a network and of what further training made of it often lies in a flat part of the loss,
where pictures unlike the training's are judged better.
"""
from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from depth_perception.io.weights import LoadedWeights, WeightsError, load_weights, save_weights


def mean_weights(files: Sequence[Path]) -> LoadedWeights:
    """The network whose tensors are the mean of those of several weights files.

    Args:
        files: at least two, of one architecture; the first gives name, licence and geometry.

    Returns:
        The first file's, with the mean tensors, and what all were trained on; without scores.

    Raises:
        WeightsError: a file cannot be read, or is of another network or input than the first.
        ValueError: less than two files.
    """
    if len(files) < 2:
        raise ValueError(f'{len(files)} weights file is given: name at least two')
    loaded = [load_weights(file) for file in files]
    first = loaded[0]
    for other in loaded[1:]:
        for field in ('network', 'network_arguments', 'mean', 'std', 'output', 'input_height',
                      'input_width', 'training_focal_length', 'licence'):
            values = getattr(first.info, field), getattr(other.info, field)
            if values[0] != values[1]:
                raise WeightsError(f'{other.path} has {field} {values[1]!r}, {first.path} '
                                   f'{values[0]!r}: they are no mean of one network')
    states = [weights.network.state_dict() for weights in loaded]
    mean = {name: torch.stack([state[name] for state in states]).mean(0)
            if tensor.is_floating_point() else tensor for name, tensor in states[0].items()}
    first.network.load_state_dict(mean)
    info = dataclasses.replace(
        first.info, scores=(), recipe_name='',
        recipe=f'mean of the weights of {len(files)} networks: '
               + '; '.join(weights.info.recipe for weights in loaded),
        training_data='; '.join(dict.fromkeys(weights.info.training_data for weights in loaded)))
    return dataclasses.replace(first, info=info)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('files', type=Path, nargs='+', help='weights files of one architecture')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--half', action='store_true', help='store in half precision')
    parser.add_argument('--test-geometry', help='what the file says of it, instead of the first\'s')
    options = parser.parse_args(arguments)
    try:
        mean = mean_weights(options.files)
        info = mean.info if options.test_geometry is None else dataclasses.replace(
            mean.info, test_geometry=options.test_geometry)
        save_weights(options.out, mean.network, info, torch.float16 if options.half else None)
    except (WeightsError, ValueError, OSError) as error:
        sys.stderr.write(f'mean_weights: {error}\n')
        return 1
    sys.stderr.write(f'wrote {options.out}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
