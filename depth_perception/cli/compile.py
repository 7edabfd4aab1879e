# SPDX-License-Identifier: Apache-2.0
"""A network compiled for this machine: `depth-perception compile`."""
from __future__ import annotations

import argparse
import sys

from depth_perception.cli.options import add_model_arguments
from depth_perception.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `depth-perception compile`."""
    add_model_arguments(parser)
    parser.add_argument('--size', nargs='*', default=[], type=_size, metavar='HEIGHTxWIDTH',
                        help="of the camera's images, where their aspect ratio is not that of the "
                        'training')


def run(options: argparse.Namespace) -> int:
    """Compile for the training's size and each given one; 0.

    Raises:
        UsageError: weights, device or compiler cannot be used.
    """
    from depth_perception.inference.backends.compiled import PackageError, compile_package
    from depth_perception.inference.device import DeviceError, resolve_device
    from depth_perception.inference.estimator import network_size
    from depth_perception.io.weights import WeightsError, load_weights

    try:
        device, weights = resolve_device(options.device), load_weights(options.model)
        info = weights.info
        trained = (info.input_height, info.input_width)
        for size in dict.fromkeys([trained, *(network_size(info, *size) for size in options.size)]):
            sys.stdout.write(f'compiling for {size[0]}x{size[1]}; this takes minutes\n')
            sys.stdout.flush()
            path = compile_package(
                weights.network, device, options.precision, weights.checksum, size)
            sys.stdout.write(f'{path}\n')
    except (DeviceError, PackageError, WeightsError) as error:
        raise UsageError(str(error)) from error
    return 0


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition('x')
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f'{text!r} is not HEIGHTxWIDTH, such as 480x640')
    return int(height), int(width)
