# SPDX-License-Identifier: Apache-2.0
"""`import-weights`: convert published checkpoints to weights files of the node."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from torch import nn

from depth_perception.io.files import check_writable, write_atomically
from depth_perception.io.weights import ENCODER_KEY, WeightsInfo, save_weights
from depth_perception.networks import create_network
from depth_training.convert.densedepth import fill_densedepth, read_keras
from depth_training.convert.encoders import fill_encoder
from depth_training.convert.fcrn import fill_fcrn, read_arrays
from depth_training.convert.hybrid import fill_hybrid
from depth_training.convert.reading import ForeignError, checksum, read_state
from depth_training.convert.sff import fill_sff
from depth_training.data.layouts.sync import NYU_FX
from depth_training.failures import sentence

_IMAGENET: dict[str, Any] = {'mean': (0.485, 0.456, 0.406), 'std': (0.229, 0.224, 0.225)}
_UNIT: dict[str, Any] = {'mean': (0.0, 0.0, 0.0), 'std': (1.0, 1.0, 1.0)}
_NYU = WeightsInfo(
    network='efficientnet_sff',
    network_arguments={},
    input_height=480,
    input_width=640,
    **_IMAGENET,
    output='metres',
    min_depth=0.1,
    max_depth=10.0,
    training_focal_length=NYU_FX,
    training_image_width=640,
    training_data='NYU Depth v2, by others',
    licence='NOASSERTION',
    origin='imported',
)

#: Metadata of each kind of imported checkpoint.
INFOS: dict[str, WeightsInfo] = {
    # Paper 003's code scales a frame by 0.55 and crops 320x256 from its centre. The licence is that
    # of the repository that publishes the weights.
    'hybrid': dataclasses.replace(
        _NYU,
        network='resnet_unet_hybrid',
        input_height=256,
        input_width=320,
        training_focal_length=0.55 * NYU_FX,
        training_image_width=320,
        licence='BSD-3-Clause',
        recipe_name='paper_003',
        test_geometry='harsanyi',
    ),
    # DenseDepth and GLPDepth feed RGB / 255 without ImageNet's normalisation.
    'densedepth': dataclasses.replace(
        _NYU, network='densedepth', output='reciprocal', recipe_name='paper_004', **_UNIT
    ),
    'sff': dataclasses.replace(_NYU, **_UNIT),
    # Laina et al.: unnormalised RGB of 0 to 255; 304x228 cropped from half a frame. BSD-2, like
    # their repository.
    'fcrn': dataclasses.replace(
        _NYU,
        network='fcrn',
        input_height=228,
        input_width=304,
        mean=(0.0, 0.0, 0.0),
        std=(1 / 255, 1 / 255, 1 / 255),
        training_focal_length=0.5 * NYU_FX,
        training_image_width=304,
        licence='BSD-2-Clause',
        recipe_name='paper_003_laina',
        test_geometry='laina',
    ),
    'encoder': _NYU,
}


def import_weights(
    kind: str, source: str | Path, output: str | Path, info: WeightsInfo | None = None
) -> str:
    """Convert a foreign checkpoint to a weights file, or an encoder to a file of its tensors.

    Args:
        kind: one of `INFOS`.
        source: the checkpoint.
        output: the `.safetensors` to write; no partial file is left.
        info: metadata instead of the kind's own; for `encoder` and `sff` it names the network
            and its arguments.

    Returns:
        The new file's checksum. The source's SHA-256 is kept in the metadata's `recipe`.

    Raises:
        ForeignError: the checkpoint cannot be used, or belongs to another network.
        ValueError: the network or its arguments are unknown.
        OSError: a file cannot be read or written.
    """
    info = info or INFOS[kind]
    recipe = f'import-weights {kind} {Path(source).name}, sha256 {checksum(source)}'
    info = dataclasses.replace(info, recipe=recipe, name=f'{info.network} ({Path(source).name})')
    network = create_network(info.network, **info.network_arguments)
    _fill(kind, network, source)
    if kind == 'encoder':
        return _save_encoder(output, network.encoder, recipe)
    return save_weights(output, network, info)


def _save_encoder(output: str | Path, encoder: Any, origin: str) -> str:
    """Save the encoder's tensors under timm's names, for `train --encoder-weights`."""
    from safetensors.torch import save

    tensors = {name: value.contiguous() for name, value in encoder.body.state_dict().items()}
    about = json.dumps({'encoder': encoder.name, 'origin': origin})
    write_atomically(output, [save(tensors, {ENCODER_KEY: about})])
    return checksum(output)


def _fill(kind: str, network: nn.Module, source: str | Path) -> None:
    if kind == 'densedepth':
        fill_densedepth(network, read_keras(source))
    elif kind == 'fcrn':
        fill_fcrn(network, read_arrays(source))
    elif kind == 'encoder':
        if not hasattr(network, 'encoder'):
            raise ForeignError('the network has no encoder to fill: choose another --network')
        fill_encoder(network.encoder, read_state(source))
    else:
        {'hybrid': fill_hybrid, 'sff': fill_sff}[kind](network, read_state(source))


def run(options: argparse.Namespace) -> int:
    """Import and show both checksums; return 0, or 1 after one sentence on standard error."""
    try:
        text = _run(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f'import-weights: {" ".join(sentence(error).split())}\n')
        return 1
    sys.stdout.write(text)
    return 0


def _run(options: Any) -> str:
    check_writable(options.output)
    found = checksum(options.checkpoint)
    if options.sha256 and options.sha256.lower() != found:
        raise ForeignError(f'{options.checkpoint} has SHA-256 {found}, not the expected one')
    written = import_weights(options.kind, options.checkpoint, options.output, _info(options))
    return (
        f'{options.checkpoint}: sha256 {found}\n'
        f'{options.output}: {options.kind}, checksum {written}\n'
    )


def _info(options: Any) -> WeightsInfo:
    """Return the kind's metadata with the changes of the options."""
    info = INFOS[options.kind]
    if options.kind == 'encoder':
        if not options.network:
            raise ForeignError('an encoder needs --network, the network that it belongs to')
        info = dataclasses.replace(info, network=options.network)
    arguments = {'encoder': options.encoder} if options.encoder else {}
    arguments |= {'half_width': True} if options.half_width else {}
    changes: dict[str, Any] = {'network_arguments': arguments}
    if options.half_width:  # the published row has full width
        changes['recipe_name'] = ''
    if options.normalize:
        changes |= _IMAGENET if options.normalize == 'imagenet' else _UNIT
    if options.licence:
        changes['licence'] = options.licence
    return dataclasses.replace(info, **changes)
