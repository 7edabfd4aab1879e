# SPDX-License-Identifier: Apache-2.0
"""Commands of a few lines, and the command lines of export and import-weights.

Slow imports are deferred until a command runs, so help is shown at once, without PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from depth_perception.licence_option import spdx
from depth_training.convert import FORMATS, KINDS
from depth_training.ranges import Range, number

if TYPE_CHECKING:
    from depth_training.options import PrepareOptions

_SIDE = Range(1, 1 << 14)


def prepare(options: PrepareOptions) -> int:
    """Write the pairs; list the frames that could not be used."""
    if options.kind == 'kitti':
        from depth_training.data.prepare_kitti import prepare_kitti

        done = prepare_kitti(
            options.source,
            options.target,
            options.every or 1,
            _say,
            split=options.split,
            pairs=options.pairs,
            processes=options.jobs,
        )
    else:
        from depth_training.data.nyu_raw.prepare import prepare_raw

        done = prepare_raw(
            options.source,
            options.target,
            options.every or 7,
            report=_say,
            split=options.split,
            scenes=options.scenes,
            pairs=options.pairs,
            claims=options.claims,
            processes=options.jobs,
        )
    for text in done.skipped:
        _say(f'skipped: {text}')
    _say(
        f'{options.target}: {done.pairs} pairs of {done.scenes} scenes, '
        f'{len(done.skipped)} frames skipped'
    )
    return 0


def predict(words: list[str]) -> int:
    """Run `depth-perception predict` with the same options."""
    from depth_perception.cli.main import main

    return main(['predict', *words])


def export_parser() -> argparse.ArgumentParser:
    """Create the parser of `export`."""
    parser = argparse.ArgumentParser(
        'python -m depth_training export',
        description=(
            "Convert a weights file to the node's own format, ONNX, or a torch.export program."
        ),
    )
    parser.add_argument('weights', help='a .safetensors of this package, or "default"')
    parser.add_argument('--output', type=Path, required=True, help='the file to write')
    parser.add_argument(
        '--format',
        choices=FORMATS,
        help="default: by the output's suffix: .safetensors, .onnx or .pt2 (program)",
    )
    parser.add_argument(
        '--height', type=number(int, _SIDE), help="image height; default: the training's"
    )
    parser.add_argument(
        '--width', type=number(int, _SIDE), help="image width; default: the training's"
    )
    parser.add_argument(
        '--dynamic',
        action='store_true',
        help='allow any batch and size (onnx: batch, height, width)',
    )
    parser.add_argument(
        '--licence',
        type=spdx,
        metavar='SPDX',
        help="licence to store in the file, such as CC-BY-NC-4.0, instead of the weights file's",
    )
    parser.add_argument('--half', action='store_true', help='store safetensors as float16')
    return parser


def export(words: list[str]) -> int:
    """Run `export`, see `depth_training.convert.export`."""
    options = export_parser().parse_args(words)
    from depth_training.convert.export import run

    return run(options)


def import_weights_parser() -> argparse.ArgumentParser:
    """Create the parser of `import-weights`."""
    parser = argparse.ArgumentParser(
        'python -m depth_training import-weights',
        description=('Convert published checkpoints to weights files of the node.'),
    )
    parser.add_argument(
        'kind',
        choices=KINDS,
        help=(
            "hybrid: paper 003's hyb_net_weights.model; densedepth: paper 004's nyu.h5; sff: paper "
            "001's network on GLPDepth's classes; fcrn: Laina et al.'s, converted to .npz; "
            'encoder: ImageNet weights of timm or torchvision, for train --encoder-weights'
        ),
    )
    parser.add_argument('checkpoint', type=Path, help='the file to read')
    parser.add_argument('--output', type=Path, required=True, help='the .safetensors to write')
    parser.add_argument(
        '--network', help='for encoder: the network it belongs to, such as resnet_unet'
    )
    parser.add_argument('--encoder', help='timm name of the encoder of an EfficientNet network')
    parser.add_argument(
        '--half-width',
        action='store_true',
        help='densedepth: the half-width decoder, which its code has by default',
    )
    parser.add_argument(
        '--normalize',
        choices=('imagenet', 'unit'),
        help='input geometry of its training, if not the usual one',
    )
    parser.add_argument('--licence', type=spdx, help='SPDX identifier of the weights')
    parser.add_argument('--sha256', help='refuse a checkpoint with a different SHA-256')
    return parser


def import_weights(words: list[str]) -> int:
    """Run `import-weights`, see `depth_training.convert.import_weights`."""
    options = import_weights_parser().parse_args(words)
    from depth_training.convert.import_weights import run

    return run(options)


def _say(text: str) -> None:
    sys.stderr.write(text + '\n')
    sys.stderr.flush()
