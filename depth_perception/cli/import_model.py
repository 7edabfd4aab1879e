# SPDX-License-Identifier: Apache-2.0
"""`depth-perception import-model`: make a weights file from another project's depth network."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_perception.cli.import_settings import read_settings
from depth_perception.cli.models import known_networks
from depth_perception.cli.options import MOST_PIXELS, image_size
from depth_perception.errors import UsageError, first_line
from depth_perception.licence_option import spdx
from depth_perception.number_options import number

if TYPE_CHECKING:
    from depth_perception.io.hugging_face import Overrides

#: Range of a network, metres.
_RANGE = number(float, 0, 1000, above=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the source, the output, and the facts that the source files do not contain."""
    parser.add_argument(
        'source',
        metavar='SOURCE',
        help='a folder in the Hugging Face layout (config.json, model.safetensors, '
        'preprocessor_config.json), an ONNX file, or the owner/name of a network on the Hugging '
        'Face hub, which is downloaded',
    )
    parser.add_argument(
        '--out',
        metavar='FILE',
        type=Path,
        required=True,
        help='the weights file to write, named *.safetensors',
    )
    parser.add_argument(
        '--revision',
        metavar='NAME',
        help='branch, tag or commit of the network on the hub (default: main)',
    )
    parser.add_argument(
        '--settings',
        metavar='FILE',
        type=Path,
        help='a YAML file with values of the options below by their names, such as '
        '"max_depth: 10"; an option on the command line overrides its value',
    )
    _add_described(parser)


def _add_described(parser: argparse.ArgumentParser) -> None:
    """Declare the options that a file for `--settings` may hold."""
    _add_known(parser.add_argument_group("what you know better than the network's files"))
    _add_onnx(parser.add_argument_group('of an ONNX file'))


def _add_known(known: argparse._ArgumentGroup) -> None:
    known.add_argument(
        '--output',
        choices=('metres', 'reciprocal', 'relative_depth', 'relative_disparity'),
        help='what the network gives; relative ones give metres only with anchors',
    )
    known.add_argument(
        '--max-depth', metavar='METRES', type=_RANGE, help='how far the network sees'
    )
    known.add_argument(
        '--focal-length',
        metavar='PX',
        type=number(float, 0, above=True),
        help="focal length of its training images: depth is corrected for the camera's "
        '(default: no correction)',
    )
    known.add_argument(
        '--image-width',
        metavar='PX',
        type=number(int, 1, MOST_PIXELS),
        help='width of those images (needed with --focal-length)',
    )
    known.add_argument(
        '--licence', type=spdx, metavar='SPDX', help='licence of the weights, such as Apache-2.0'
    )
    known.add_argument('--model-card', metavar='LINK', help='where to read about the network')
    known.add_argument('--name', help='what to call it (default: the name of the folder or file)')


def _add_onnx(onnx: argparse._ArgumentGroup) -> None:
    onnx.add_argument(
        '--size',
        metavar='WIDTHxHEIGHT',
        type=image_size,
        help="size of the network's input, as in its training",
    )
    for name, least in (('mean', -1e6), ('std', 0)):
        onnx.add_argument(
            f'--{name}',
            type=number(float, least, 1e6, above=True),
            nargs=3,
            metavar=('R', 'G', 'B'),
            help=f'{name} of each channel of RGB / 255, for normalisation',
        )
    onnx.add_argument(
        '--resize',
        choices=('fixed', 'aspect', 'own'),
        help='fixed: images are resized to exactly that size; aspect: to that size in one '
        'side, with their aspect ratio; own: they are not resized '
        '(default: aspect where the file takes any size)',
    )
    onnx.add_argument(
        '--multiple',
        type=number(int, 1, 1024),
        metavar='PX',
        help='both sides of the input are a multiple of this (default: 32)',
    )
    onnx.add_argument('--output-name', metavar='NAME', help='which of its outputs is the depth')
    onnx.add_argument(
        '--reciprocal-scale',
        metavar='METRES',
        type=number(float, 0, above=True),
        help='with --output reciprocal: depth = this / output (default: 1)',
    )


def run(options: argparse.Namespace) -> int:
    """Import the network and return the exit code.

    Raises:
        UsageError: the network cannot be imported; nothing was written.
    """
    from depth_perception.io.weights import WeightsError, save_weights

    if options.out.suffix != '.safetensors':
        raise UsageError(f'--out {options.out}: name a file *.safetensors')
    _add_settings(options)
    if (options.focal_length is None) != (options.image_width is None):
        raise UsageError('--focal-length and --image-width belong together: give both')
    _refuse_unwritable(options.out, Path(options.source))
    try:
        network, info = _read(options)
    except (WeightsError, OSError) as error:
        raise UsageError(first_line(error)) from error
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        checksum = save_weights(options.out, network, info)
    except WeightsError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f'cannot write {options.out}: {error.strerror or error}') from error
    _tell(options.out, info, checksum)
    return 0


def _refuse_unwritable(out: Path, source: Path) -> None:
    """Refuse an output that cannot be written, or is part of the source, before anything is read.

    Raises:
        UsageError: the message names the output.
    """
    from depth_perception.io.files import check_writable

    place = out
    while not place.parent.is_dir() and place.parent != place:
        place = place.parent  # a folder that does not exist yet
    try:
        if place.parent.exists() and place.is_file() and place != out:
            raise NotADirectoryError(errno.ENOTDIR, f'{place} is a file, not a folder')
        check_writable(place if place == out else place.parent / 'new')
    except OSError as error:
        raise UsageError(f'cannot write {out}: {error.strerror}') from error
    if out.exists() and (
        os.path.realpath(out) == os.path.realpath(source) or _lies_in(out, source)
    ):
        raise UsageError(f'--out {out} is a file of the network to import: name another')


def _lies_in(file: Path, folder: Path) -> bool:
    return os.path.dirname(os.path.realpath(file)) == os.path.realpath(folder)


def _read(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return the network and the metadata for its weights file."""
    from depth_perception.io.hub import is_hub_name
    from depth_perception.io.hugging_face import Overrides, read_hugging_face
    from depth_perception.io.weights import WeightsError

    source = Path(options.source)
    named = is_hub_name(options.source)
    if options.revision is not None and (source.exists() or not named):
        raise UsageError(
            f'--revision {options.revision} is for a network on the hub, and {source} is '
            + ('here' if source.exists() else 'no owner/name')
        )
    if source.suffix.lower() == '.onnx':
        return _read_onnx(options)
    _refuse_of_onnx(options)
    given = Overrides(
        options.output,
        options.max_depth,
        options.licence,
        options.model_card,
        options.name,
        options.focal_length,
        options.image_width,
    )
    if source.is_dir():
        if named:
            _note(f'taking the folder {source}, not the hub, which may have that name too')
        return read_hugging_face(source, given)
    if not named or source.exists():
        raise UsageError(_no_source(options.source))
    try:
        return _read_from_hub(options.source, options.revision or 'main', given)
    except WeightsError as error:  # names the folder in the cache
        said = re.sub(r'\S*/snapshots/\w{40}', options.source, str(error))
        raise UsageError(said) from error


def _no_source(source: str) -> str:
    """Return why a source is neither a folder nor a name on the hub."""
    path = Path(source)
    if match := re.match(r'https?://[^/]+/([\w.-]+/[\w.-]+)', source):
        return f'{source} is a network address: name the network as {match[1]}, or import a folder'
    if path.suffix in ('.bin', '.pt', '.pth', '.ckpt', '.pkl'):
        return f'{source} is a pickle, which could run code when loaded: import safetensors'
    if path.exists():
        return (
            f'{source} is a file: name the folder with config.json, model.safetensors and '
            'preprocessor_config.json, an ONNX file, or owner/name on the hub'
        )
    known = [one['name'] for one in known_networks()]
    meant = [name for name in known if name.partition('/')[2].lower() == source.lower()]
    return (
        f'there is no folder or ONNX file {source}, and it does not have the form owner/name of a '
        f'network on the hub{f": do you mean {meant[0]}?" if meant else ""}'
    )


def _read_from_hub(name: str, revision: str, given: Overrides) -> tuple[Any, Any]:
    """Download a network, say what was downloaded, and read it."""
    import transformers  # noqa: F401 - if it is missing, before the download

    from depth_perception.io.hub import download
    from depth_perception.io.hugging_face import check_configuration, read_hugging_face

    try:
        found = download(name, revision, check_configuration, _note)
    except KeyboardInterrupt:
        _note('what has been downloaded is kept: the same command goes on from there')
        raise
    if found.note:
        _note(f'{found.note}: taking what was downloaded before')
    for file in found.files:
        print(f'sha256 {file.sha256}  {file.name}, {file.size} bytes')
    when = 'announced when they were downloaded' if found.note else 'announces'
    print(f'{name}, revision {revision}, commit {found.commit}: as the hub {when}')
    given = dataclasses.replace(
        given,
        recipe=f'depth-perception import-model {name} --revision {found.commit}',
        name=given.name or name,
        model_card=given.model_card or found.page,
    )
    return read_hugging_face(found.folder, given)


def _read_onnx(options: argparse.Namespace) -> tuple[Any, Any]:
    from depth_perception.io.onnx_file import OnnxFacts, read_onnx

    width, height = options.size or (None, None)
    return read_onnx(
        Path(options.source),
        OnnxFacts(
            width=width,
            height=height,
            mean=options.mean and tuple(options.mean),
            std=options.std and tuple(options.std),
            output=options.output,
            max_depth=options.max_depth,
            resize=options.resize,
            multiple=options.multiple,
            output_name=options.output_name,
            reciprocal_scale=options.reciprocal_scale,
            training_focal_length=options.focal_length,
            training_image_width=options.image_width,
            licence=options.licence,
            model_card=options.model_card,
            name=options.name,
        ),
    )


def _add_settings(options: argparse.Namespace) -> None:
    """Add the values of the file `--settings` where the command line gives none.

    Raises:
        UsageError: the file cannot be used.
    """
    if options.settings is None:
        return
    for name, value in read_settings(options.settings, _add_described).items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def _refuse_of_onnx(options: argparse.Namespace) -> None:
    """Refuse options that a folder answers itself.

    Raises:
        UsageError: one is given.
    """
    parser = argparse.ArgumentParser(add_help=False)
    _add_onnx(parser.add_argument_group())
    for name in vars(parser.parse_args([])):
        if getattr(options, name) is not None:
            raise UsageError(
                f'--{name.replace("_", "-")} is for ONNX files: {options.source} says that itself'
            )


def _tell(path: Path, info: Any, checksum: str) -> None:
    """Print what was written, and what the user should know about it."""
    print(
        f'{path}: {info.name}, output {info.output}, up to {info.max_depth:g} m, fed about '
        f'{info.input_width}x{info.input_height}, licence {info.licence}, checksum '
        f'{checksum[:12]}'
    )
    if not info.is_metric:
        _note(
            f'its output is taken for {info.output}: the node gives metres only with anchors '
            '(docs/anchors.md), otherwise the preview alone; --output says otherwise'
        )
    if info.licence == 'unknown':
        _note('its licence is unknown: read its model card, then give --licence')


def _note(text: str) -> None:
    sys.stderr.write(f'import-model: {text}\n')
