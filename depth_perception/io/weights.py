# SPDX-License-Identifier: Apache-2.0
"""The weights file: a `.safetensors` file whose header has all that is needed to use it.

The header's `depth_perception` entry is a JSON document (see :class:`WeightsInfo`); its
`checksum` entry is the SHA-256 of everything else in the file. Pickles are never read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from depth_perception.errors import first_line, why_missing
from depth_perception.extras import remedy
from depth_perception.io.files import write_atomically
from depth_perception.io.preparation import Preparation
from depth_perception.networks import create_network, loadable_names, network_names
from depth_perception.reading import read_whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FORMAT_VERSION = 1
#: The bundled network, used if no file is given.
BUNDLED_DEFAULT = Path(__file__).parents[1] / 'models' / 'default.safetensors'

_INFO_KEY = 'depth_perception'
_CHECKSUM_KEY = 'checksum'
#: Header entry of a file with only an encoder.
ENCODER_KEY = 'depth_perception_encoder'
#: Header entries of this project's other files, which are not depth networks, and the errors.
_NO_NETWORKS = {
    ENCODER_KEY: 'it has only an encoder, which gives no depth: use it to start a training '
    '(train --encoder-weights)',
    'depth_training': 'it is the checkpoint of a training; the network is in weights.safetensors '
    'next to it',
}
#: Marks an encoder with a random decoder, which the first version saved as a network.
_RANDOM_DECODER = 'decoder: random'
#: Entries that older files lack; their defaults say what those files are.
_ADDED = frozenset({'recipe_name', 'origin', 'test_geometry', 'preparation', 'model_card'})
#: What a network's output may be; see `WeightsInfo.output`.
OUTPUTS = ('metres', 'reciprocal', 'relative_depth', 'relative_disparity')
#: Argument of a network that adds its estimate of the error, see `networks.uncertainty`.
UNCERTAINTY = 'uncertainty'
#: Degrees, of a network whose training's field of view is unknown: that of most webcams.
_USUAL_FOV_DEG = 60.0
_REMEDY = (
    'use a .safetensors file written by depth_perception, or name none for the bundled network'
)


class WeightsError(ValueError):
    """A weights file cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class WeightsInfo:
    """Metadata of a weights file.

    Attributes:
        network: registered name, see :func:`depth_perception.networks.create_network`.
        network_arguments: arguments of that network's factory.
        input_height: image height at which the network was trained, pixels.
        input_width: image width at which the network was trained, pixels.
        mean: mean of each channel of RGB / 255, for normalisation.
        std: standard deviation of each channel of RGB / 255, for normalisation.
        output: `metres`; `reciprocal` (depth = reciprocal_scale / output); `relative_depth`
            (depth = unknown factor x output); or `relative_disparity` (1 / depth = unknown factor x
            output + unknown shift). The relative ones give metres only with anchors.
        reciprocal_scale: metres; used only with `reciprocal` (DenseDepth: 10).
        min_depth: smallest depth of the training, metres.
        max_depth: largest depth of the training, metres.
        training_focal_length: focal length in pixels, for images `training_image_width` wide; 0 if
            unknown: depth is then not corrected for the focal length.
        training_data: description of the training data.
        scores: one entry per evaluation: `data`, `protocol` and the figures.
        licence: SPDX identifier of the weights.
        name: name of the network in logs and diagnostics.
        recipe: the command that made the weights, as text.
        format_version: version of the file format.
        recipe_name: name of the training recipe; '' if the weights belong to no recipe.
        origin: `trained` by this program, `imported` from the recipe's authors, or '' (unknown).
        test_geometry: how test frames are resized and cropped to reproduce a paper, see
            `depth_training.evaluate.geometry`. The node always uses the whole frame; with
            geometry `canonical`, it resizes the frame to the focal length of the training.
        preparation: how images are prepared for the network, and its output is resized.
        model_card: link to the model card of a third-party network, or ''.

    Examples:
        >>> from depth_perception import WeightsInfo
        >>> info = WeightsInfo(
        ...     network='efficientnet_sff', network_arguments={}, input_height=240,
        ...     input_width=320, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
        ...     output='metres', min_depth=0.1, max_depth=10.0, training_focal_length=259.0,
        ...     training_image_width=320, training_data='my own', licence='CC-BY-4.0')
        >>> info.focal_length_at(640)  # pixels, in images twice as wide
        518.0
    """

    network: str
    network_arguments: dict[str, Any]
    input_height: int
    input_width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: Literal['metres', 'reciprocal', 'relative_depth', 'relative_disparity']
    min_depth: float
    max_depth: float
    training_focal_length: float
    training_image_width: int
    training_data: str
    licence: str
    scores: tuple[dict[str, Any], ...] = ()
    reciprocal_scale: float = 10.0
    name: str = 'unnamed'
    recipe: str = ''
    format_version: int = field(default=FORMAT_VERSION)
    recipe_name: str = ''
    origin: Literal['', 'trained', 'imported'] = ''
    test_geometry: str = 'squeeze'
    preparation: Preparation = field(default_factory=Preparation)
    model_card: str = ''

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise WeightsError(problem)

    def focal_length_at(self, width: int) -> float:
        """Return the training focal length in pixels for an image `width` pixels wide."""
        return self.training_focal_length * width / self.training_image_width

    @property
    def is_metric(self) -> bool:
        """Whether the output alone tells metres."""
        return self.output in ('metres', 'reciprocal')

    @property
    def gives_confidence(self) -> bool:
        """Whether the network also estimates how far off its depth is."""
        return self.is_metric and self.network_arguments.get(UNCERTAINTY) is True

    @property
    def horizontal_fov_deg(self) -> float:
        """Horizontal field of view of the training images, degrees; 60 if unknown."""
        if not self.training_focal_length:
            return _USUAL_FOV_DEG
        half = self.input_width / 2 / self.focal_length_at(self.input_width)
        return 2 * math.degrees(math.atan(half))


def _problems(info: WeightsInfo) -> list[str]:
    """Return a sentence for each invalid value."""
    checks = {
        'format_version': info.format_version == FORMAT_VERSION and _is_size(info.format_version),
        'network': info.network in loadable_names(),
        'network_arguments': _are_arguments(info.network_arguments),
        'input_height': _is_size(info.input_height),
        'input_width': _is_size(info.input_width),
        'mean': _is_triple(info.mean),
        'std': _is_triple(info.std) and all(value > 0 for value in info.std),
        'output': info.output in OUTPUTS,
        'min_depth': _is_number(info.min_depth) and info.min_depth >= 0,
        'max_depth': _is_number(info.max_depth) and 0 < info.max_depth <= 1000,
        'training_focal_length': _is_number(info.training_focal_length)
        and info.training_focal_length >= 0,
        'training_image_width': _is_size(info.training_image_width),
        'training_data': isinstance(info.training_data, str),
        'licence': isinstance(info.licence, str),
        'scores': isinstance(info.scores, (list, tuple))
        and all(isinstance(score, dict) for score in info.scores),
        'reciprocal_scale': _is_number(info.reciprocal_scale) and info.reciprocal_scale > 0,
        'name': isinstance(info.name, str),
        'recipe': isinstance(info.recipe, str),
        'recipe_name': isinstance(info.recipe_name, str),
        'origin': info.origin in ('', 'trained', 'imported'),
        'test_geometry': isinstance(info.test_geometry, str),
        'preparation': isinstance(info.preparation, Preparation) and info.preparation.is_valid(),
        'model_card': isinstance(info.model_card, str),
    }
    known = {'network': f' (it knows {", ".join(loadable_names())})'}
    problems = [
        f'its metadata has {key} = {getattr(info, key)!r}, which this version cannot use'
        f'{known.get(key, "")}'
        for key, good in checks.items()
        if not good
    ]
    if not problems and info.min_depth >= info.max_depth:
        problems.append(f'min_depth {info.min_depth} is not below max_depth {info.max_depth}')
    return problems


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < float('inf')
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 14


def _are_arguments(value: Any) -> bool:
    """Return whether a value can be keyword arguments of a factory: names and plain values."""
    return (
        isinstance(value, dict)
        and all(isinstance(key, str) for key in value)
        and all(isinstance(item, (str, bool)) or _is_number(item) for item in value.values())
    )


def _is_triple(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 3 and all(map(_is_number, value))


@dataclass(frozen=True)
class CheckedWeights:
    """A weights file whose header and checksum are right; its network is not built yet.

    Attributes:
        info: metadata of the file.
        checksum: checksum of the file.
        path: the file.
    """

    info: WeightsInfo
    checksum: str
    path: Path

    @property
    def is_ours(self) -> bool:
        """Whether the network is one of this project, not an imported one."""
        return self.info.network in network_names()

    def network(self) -> nn.Module:
        """Build the network.

        Raises:
            WeightsError: the file has changed since it was checked, or cannot be used.
        """
        loaded = load_weights(self.path)
        if loaded.checksum != self.checksum:
            raise WeightsError(f'{self.path} is no longer the file that was loaded')
        return loaded.network


@dataclass(frozen=True)
class LoadedWeights:
    """A network ready for inference (eval mode, CPU, float32) and its metadata."""

    network: nn.Module
    info: WeightsInfo
    checksum: str
    path: Path


def save_weights(
    path: str | Path, network: nn.Module, info: WeightsInfo, dtype: torch.dtype | None = None
) -> str:
    """Write a weights file; an existing file is replaced only by a complete one.

    Args:
        path: the file to write; its folder must exist.
        network: the network that `info` describes.
        info: the metadata.
        dtype: floating-point type to store, such as `torch.float16`; None keeps the types.

    Returns:
        The checksum, 64 hexadecimal digits.

    Raises:
        WeightsError: a value is not finite, or too large for `dtype`; nothing is written.
        OSError: the file cannot be written; no partial file is left behind.

    Examples:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from depth_perception import load_weights, save_weights
        >>> bundled = load_weights()
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, 'mine.safetensors')
        ...     checksum = save_weights(file, bundled.network, replace(bundled.info, name='mine'))
        ...     load_weights(file).checksum == checksum
        True
    """
    from safetensors.torch import save

    tensors = {name: _for_storage(tensor, dtype) for name, tensor in network.state_dict().items()}
    _refuse_not_finite(tensors)
    metadata = {_INFO_KEY: json.dumps(dataclasses.asdict(info), sort_keys=True)}
    checksum = _checksum(save(tensors, metadata))
    write_atomically(path, [save(tensors, {**metadata, _CHECKSUM_KEY: checksum})])
    return checksum


def weights_path(path: str | Path | None = None) -> Path:
    """Return the file that `load_weights` reads."""
    return BUNDLED_DEFAULT if str(path or 'default') == 'default' else Path(str(path))


def load_weights(path: str | Path | None = None) -> LoadedWeights:
    """Read a weights file, check it completely, and build its network.

    Args:
        path: the file; None, '' or 'default' for the bundled network.

    Raises:
        WeightsError: the file is missing, truncated, altered, a pickle, of a newer format or of
            another program; the message names the file, the fault and the remedy.

    Examples:
        >>> from depth_perception import load_weights
        >>> weights = load_weights()  # the bundled network
        >>> weights.info.network, weights.network.training
        ('efficientnet_sff', False)
    """
    file = weights_path(path)
    with _explained(file):
        content = _read(file)
        info, checksum = _checked_info(content)
        return LoadedWeights(_build(info, content), info, checksum, file)


def check_weights(path: str | Path | None = None) -> CheckedWeights:
    """Read a weights file and check its header and checksum, without importing PyTorch.

    Args:
        path: the file; None, '' or 'default' for the bundled network.

    Raises:
        WeightsError: see `load_weights`; that the tensors fit the network is checked there alone.

    Examples:
        >>> from depth_perception.io.weights import check_weights
        >>> check_weights().info.network
        'efficientnet_sff'
    """
    file = weights_path(path)
    with _explained(file):
        return CheckedWeights(*_checked_info(_read(file)), file)


@contextlib.contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Add the file and the remedy to the error."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f'cannot use weights {file}: {error}; {_REMEDY}') from error


def _read(file: Path) -> bytes:
    try:
        content = read_whole(file.expanduser())
    except FileNotFoundError as error:
        raise WeightsError(why_missing(file, 'there is no such file')) from error
    except IsADirectoryError as error:
        import_it = (
            '; import it first: depth-perception import-model FOLDER --out FILE.safetensors'
            if (file.expanduser() / 'config.json').is_file()
            else ''
        )
        raise WeightsError(f'it is a folder{import_it}') from error
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a zero byte in the name; RuntimeError: the home of an unknown user.
        reason = getattr(error, 'strerror', None) or error
        raise WeightsError(f'it cannot be read ({reason})') from error
    _refuse_foreign(file, content)
    return content


def _refuse_foreign(file: Path, content: bytes) -> None:
    """Raise a helpful error for typical wrong files."""
    if file.suffix.lower() == '.onnx':
        raise WeightsError(
            'it is an ONNX file; import it first: depth-perception import-model '
            f'{file.name} --out FILE.safetensors'
        )
    kinds = {
        b'PK\x03\x04': 'it is a zip or PyTorch pickle, which could run code when loaded',
        b'\x80': 'it is a Python pickle, which could run code when loaded',
        b'\x89HDF\r\n\x1a\n': 'it is an HDF5 (Keras) file',
        b'version https://git-lfs': 'it is a Git LFS pointer, not the file itself',
    }
    for signature, meaning in kinds.items():
        # A safetensors header starts with its length; byte 8 is always "{".
        if content.startswith(signature) and content[8:9] != b'{':
            raise WeightsError(meaning)


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header as a dictionary, and the bytes of the tensors."""
    length = int.from_bytes(content[:8], 'little')
    if len(content) < 8 or length > len(content) - 8:
        raise WeightsError('it is truncated or not a safetensors file')
    try:
        text = content[8 : 8 + length].decode()
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError('it is not a safetensors file') from error
    if not isinstance(header, dict):
        raise WeightsError('it is not a safetensors file')
    # The checksum covers the parsed header; this check covers its exact bytes.
    if text.rstrip(' ') != json.dumps(header, separators=(',', ':'), ensure_ascii=False):
        raise WeightsError('its header was altered, or written by another program')
    return header, memoryview(content)[8 + length :]


def _checksum(content: bytes) -> str:
    """Return the SHA-256 of the header (without the checksum) and the bytes of the tensors."""
    header, data = _split(content)
    header.get('__metadata__', {}).pop(_CHECKSUM_KEY, None)
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def _checked_info(content: bytes) -> tuple[WeightsInfo, str]:
    header, _ = _split(content)
    metadata = header.get('__metadata__')
    if not isinstance(metadata, dict) or _INFO_KEY not in metadata:
        raise WeightsError(
            next(
                (what for key, what in _NO_NETWORKS.items() if key in (metadata or {})),
                'it is a safetensors file of another program',
            )
        )
    checksum = _checksum(content)
    if metadata.get(_CHECKSUM_KEY) != checksum:
        raise WeightsError('its checksum does not match: it is truncated or was altered')
    info = parse_info(metadata[_INFO_KEY])
    if _RANDOM_DECODER in info.training_data:
        raise WeightsError(_NO_NETWORKS[ENCODER_KEY])
    return info, checksum


def parse_info(text: str) -> WeightsInfo:
    """Return the metadata stored as JSON.

    Raises:
        WeightsError: it cannot be used; the message begins with `its`.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise WeightsError('its metadata is not JSON') from error
    if not isinstance(values, dict):
        raise WeightsError('its metadata is not a JSON object')
    version = values.get('format_version')
    if version != FORMAT_VERSION:
        is_newer = isinstance(version, (int, float)) and version > FORMAT_VERSION
        newer = ', so update depth_perception' if is_newer else ''
        raise WeightsError(
            f'its format version is {version!r}, this program reads {FORMAT_VERSION}{newer}'
        )
    _refuse_other_fields(set(values))
    for key in ('mean', 'std', 'scores'):
        if isinstance(values.get(key), list):
            values[key] = tuple(values[key])
    if 'preparation' in values:
        values['preparation'] = _preparation(values['preparation'])
    return WeightsInfo(**values)


def _preparation(values: Any) -> Preparation:
    try:
        return Preparation(**values)
    except TypeError as error:
        raise WeightsError(
            f'its metadata has preparation = {values!r}, which this version cannot use'
        ) from error


def _refuse_other_fields(names: set[str]) -> None:
    expected = {item.name for item in dataclasses.fields(WeightsInfo)}
    if missing := sorted(expected - names - _ADDED):
        raise WeightsError(f'its metadata lacks {", ".join(missing)}')
    if unknown := sorted(names - expected):
        raise WeightsError(f'its metadata has unknown entries: {", ".join(unknown)}')


def _build(info: WeightsInfo, content: bytes) -> nn.Module:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        network = create_network(info.network, **info.network_arguments)
    except ModuleNotFoundError as error:
        if error.name != 'transformers':
            raise
        raise WeightsError(remedy(error) or first_line(error)) from error
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise WeightsError(first_line(error)) from error
    _refuse_misfits(network.state_dict(), tensors, info.network)
    _refuse_not_finite(tensors)
    network.load_state_dict(tensors)
    return network.float().eval().requires_grad_(False)


def _refuse_misfits(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], network: str
) -> None:
    """Raise an error for the first tensor that is missing, unknown or of another shape."""
    for name in sorted(expected.keys() | found.keys()):
        shapes = [tuple(side[name].shape) if name in side else None for side in (expected, found)]
        if shapes[0] != shapes[1]:
            texts = ['absent' if shape is None else str(shape) for shape in shapes]
            raise WeightsError(
                f'its tensors do not fit network {network!r}: {name} is '
                f'{texts[1]} in the file, {texts[0]} in the network'
            )


def _refuse_not_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise WeightsError(
                f'tensor {name} has values that are not finite, or too large for '
                f'its type {str(tensor.dtype).removeprefix("torch.")}'
            )


def _is_finite(tensor: Tensor) -> bool:
    # By numpy: PyTorch wakes its threads for each tensor, which takes a second on a busy machine.
    try:
        values = tensor.numpy()
    except TypeError:  # bfloat16, which numpy does not know
        values = tensor.float().numpy()
    return bool(np.isfinite(values).all())


def _for_storage(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
