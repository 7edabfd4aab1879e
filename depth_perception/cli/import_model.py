# SPDX-License-Identifier: Apache-2.0
"""`depth-perception import-model`: one weights file of a depth network of others."""
from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from depth_perception.errors import UsageError, first_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to import, where to, and what its own files do not tell."""
    parser.add_argument('source', metavar='FOLDER', type=Path,
                        help='a network in the Hugging Face layout: config.json, '
                             'model.safetensors, preprocessor_config.json')
    parser.add_argument('--out', metavar='FILE', type=Path, required=True,
                        help='the weights file to write, named *.safetensors')
    known = parser.add_argument_group('what you know better than the network\'s files')
    known.add_argument('--output', choices=('metres', 'reciprocal', 'relative_depth',
                                            'relative_disparity'),
                       help='what the network gives; relative ones give metres only with anchors')
    known.add_argument('--max-depth', metavar='METRES', type=_positive,
                       help='how far the network sees')
    known.add_argument('--focal-length', metavar='PX', type=_positive,
                       help='focal length of its training images: depth is corrected for that of '
                            'the camera (default: it is not)')
    known.add_argument('--image-width', metavar='PX', type=int,
                       help='width of those images (needed with --focal-length)')
    known.add_argument('--licence', metavar='SPDX', help='of the weights, such as Apache-2.0')
    known.add_argument('--model-card', metavar='LINK', help='where to read about the network')
    known.add_argument('--name', help='what to call it (default: the name of the folder or file)')


def run(options: argparse.Namespace) -> int:
    """Import; returns the exit code.

    Raises:
        UsageError: nothing was written.
    """
    from depth_perception.io.weights import WeightsError, save_weights

    if options.out.suffix != '.safetensors':
        raise UsageError(f'--out {options.out}: name a file *.safetensors')
    if (options.focal_length is None) != (options.image_width is None):
        raise UsageError('--focal-length and --image-width belong together: give both')
    if options.image_width is not None and options.image_width < 1:
        raise UsageError(f'--image-width {options.image_width} must be positive')
    try:
        network, info = _read(options)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        checksum = save_weights(options.out, network, info)
    except WeightsError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f'cannot write {options.out}: {first_line(error)}') from error
    _tell(options.out, info, checksum)
    return 0


def _read(options: argparse.Namespace) -> tuple[Any, Any]:
    """The network and what its file is to say."""
    from depth_perception.io.hugging_face import Overrides, read_hugging_face

    given = Overrides(options.output, options.max_depth, options.licence, options.model_card,
                      options.name, options.focal_length, options.image_width)
    if not options.source.is_dir():
        raise UsageError(f'{options.source} is no folder in the Hugging Face layout: nothing is '
                         'downloaded here, so fetch the folder first')
    return read_hugging_face(options.source, given)


def _tell(path: Path, info: Any, checksum: str) -> None:
    """What was written, and what its user should know."""
    print(f'{path}: {info.name}, output {info.output}, up to {info.max_depth:g} m, fed about '
          f'{info.input_width}x{info.input_height}, licence {info.licence}, checksum '
          f'{checksum[:12]}')
    if not info.is_metric:
        _warn(f'its output is taken for {info.output}: the node gives metres only with anchors '
              '(docs/anchors.md), otherwise the preview alone; --output says otherwise')
    if info.licence == 'unknown':
        _warn('its licence is unknown: read its model card, then give --licence')


def _warn(text: str) -> None:
    sys.stderr.write(f'import-model: {text}\n')


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'must be positive, got {text}')
    return value
