# SPDX-License-Identifier: Apache-2.0
"""`depth-perception compile`: fill the cache from which a node starts quickly."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import numpy as np

from depth_perception.cli.options import add_backend_argument, add_model_arguments, image_size
from depth_perception.errors import UsageError, told

if TYPE_CHECKING:
    from depth_perception.inference.estimator import DepthEstimator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the network, and the sizes of the camera's images."""
    add_model_arguments(parser)
    add_backend_argument(parser)
    parser.add_argument(
        '--image-sizes',
        metavar='WIDTHxHEIGHT',
        type=image_size,
        nargs='+',
        default=[],
        help='of the images of your cameras (default: the size of the training images alone, '
        'which is always compiled)',
    )


def run(options: argparse.Namespace) -> int:
    """Compile what is not compiled yet; print where it is kept, and return the exit code.

    Raises:
        UsageError: nothing can be compiled or kept.
    """
    from depth_perception.cli.predict import load_any_network

    _say(f'loading {options.model or "the bundled network"}; its first compilation takes a while')
    estimator = load_any_network(options)
    if estimator.uncompiled:
        raise UsageError(f'nothing to compile for {estimator.info.name}: {estimator.uncompiled}')
    trained = (estimator.info.input_width, estimator.info.input_height)
    for width, height in dict.fromkeys((trained, *options.image_sizes)):
        try:
            estimator.infer(np.zeros((height, width, 3), np.uint8))
        except RuntimeError as error:
            raise UsageError(f'cannot compile for {width}x{height}: {told(error)}') from error
        print(_kept(estimator, width, height), flush=True)
    return 0


def _kept(estimator: DepthEstimator, width: int, height: int) -> str:
    """Return where the compiled network for an image size is kept, as text.

    Raises:
        UsageError: it is not kept.
    """
    from depth_perception.inference.backends import openvino_cache

    path = estimator.kept(height, width)
    if path is None:
        raise UsageError(
            f'compiled for {width}x{height}, but that cannot be kept: '
            f'{openvino_cache.folder() or "there is no home folder"} cannot be written; set '
            'XDG_CACHE_HOME to a folder that can'
        )
    fed_height, fed_width = estimator.network_size(height, width)
    return (
        f'{width}x{height}: input {fed_width}x{fed_height}, {estimator.backend} '
        f'{estimator.precision}, {path}'
    )


def _say(text: str) -> None:
    sys.stderr.write(f'{text}\n')
    sys.stderr.flush()
