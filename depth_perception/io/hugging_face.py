# SPDX-License-Identifier: Apache-2.0
"""Read a depth network in the Hugging Face layout.

The folder contains `config.json`, `model.safetensors` (or its parts, with an index) and
`preprocessor_config.json`. Nothing is downloaded, and no code from the folder is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from depth_perception.errors import first_line
from depth_perception.io.preparation import Preparation
from depth_perception.io.weights import WeightsError, WeightsInfo
from depth_perception.networks.transformers_network import (
    TransformersDepth,
    configuration,
    quiet,
    refuse_unknown,
)
from depth_perception.reading import NotTextError, read_text

#: Entries of config.json that do not describe the network itself.
_OF_NO_USE = (
    '_name_or_path',
    'architectures',
    'auto_map',
    'dtype',
    'torch_dtype',
    'transformers_version',
)
_LFS_POINTER = b'version https://git-lfs'
Triple = tuple[float, float, float]
#: PIL's resampling codes.
_RESAMPLING = {0: 'nearest', 2: 'bilinear', 3: 'bicubic'}
#: Smallest depth that is trusted, metres.
_NEAREST = 0.1
#: Depth Pro outputs up to 1 / 1e-4 m; a weights file may declare at most this, metres.
_FARTHEST = 1000.0
#: Range in metres for a network that does not state one, such as a relative network.
_USUAL_RANGE = 100.0


@dataclass(frozen=True)
class Overrides:
    """Values that replace the folder's own; None keeps the folder's value.

    Attributes:
        output: kind of output, see `WeightsInfo.output`.
        max_depth: largest depth, metres.
        licence: SPDX identifier.
        model_card: link to the model card.
        name: name of the network.
        training_focal_length: focal length of the training images, pixels, for images that are
            `training_image_width` wide.
        training_image_width: width of those images, pixels.
        recipe: the command that made the weights file.
    """

    output: str | None = None
    max_depth: float | None = None
    licence: str | None = None
    model_card: str | None = None
    name: str | None = None
    training_focal_length: float | None = None
    training_image_width: int | None = None
    recipe: str | None = None


def check_configuration(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `config.json` and the entries of `WeightsInfo` that describe the input.

    Raises:
        WeightsError: they are missing, or of a network that is not supported.
    """
    config = _json(folder / 'config.json')
    processor = _json(folder / 'preprocessor_config.json')
    if 'depth_estimation' in config:  # so the first metric Depth Anything V2 were published
        config.setdefault('depth_estimation_type', config.pop('depth_estimation'))
    try:
        refuse_unknown(config)
    except ValueError as error:
        raise WeightsError(f'{folder} cannot be imported: {error}') from error
    return config, _processor_info(folder, config, processor)


def read_hugging_face(folder: Path, given: Overrides) -> tuple[nn.Module, WeightsInfo]:
    """Return a network and the complete metadata for its weights file.

    Raises:
        WeightsError: the folder is incomplete, or its network is not supported.
        ImportError: transformers is not installed.
    """
    import transformers

    config, processed = check_configuration(folder)
    with quiet(transformers):
        model = _model(transformers, folder, config)
    kept = {key: value for key, value in model.config.to_dict().items() if key not in _OF_NO_USE}
    info = _info(folder, config, kept, processed, given)
    return TransformersDepth(model).eval(), info


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise WeightsError(
            f'{path.parent} cannot be imported: there is no {path.name}; a folder '
            'in the Hugging Face layout has config.json, model.safetensors and '
            'preprocessor_config.json'
        ) from error
    except NotTextError as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f'{path} is not JSON: {first_line(error)}') from error
    if not isinstance(values, dict):
        raise WeightsError(f'{path} holds no JSON object')
    return values


def _model(transformers: Any, folder: Path, config: dict[str, Any]) -> Any:
    """Return the network with the weights from the folder; none may be missing."""
    if not (folder / 'model.safetensors').is_file() and not _has_parts(folder):
        pickles = [name for name in ('pytorch_model.bin', 'model.bin') if (folder / name).exists()]
        why = f'; {pickles[0]} is a pickle, which could run code when loaded' if pickles else ''
        raise WeightsError(f'{folder} cannot be imported: there is no model.safetensors{why}')
    _refuse_damaged(folder)
    try:
        settings = configuration(
            transformers, {key: value for key, value in config.items() if key not in _OF_NO_USE}
        )
        model, report = transformers.AutoModelForDepthEstimation.from_pretrained(
            str(folder),
            config=settings,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises many types of errors
        raise WeightsError(f'{folder} cannot be imported: {first_line(error)}') from error
    if missing := sorted(report['missing_keys']):
        raise WeightsError(
            f'{folder} cannot be imported: model.safetensors lacks {missing[0]} and '
            f'{len(missing) - 1} more of the tensors that config.json asks for'
        )
    return model.float()


def _refuse_damaged(folder: Path) -> None:
    """Refuse weights that are no complete safetensors files, by their headers and sizes."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob('model*.safetensors')):
        try:
            with path.open('rb') as file:
                start = file.read(len(_LFS_POINTER))
            with safe_open(path, 'pt'):
                pass
        except OSError as error:
            raise WeightsError(f'{path} cannot be read: {error.strerror or error}') from error
        except SafetensorError as error:
            raise WeightsError(
                f'{path} is a Git LFS pointer, not the file itself: run "git lfs pull" there'
                if start == _LFS_POINTER
                else f'{path} is truncated or no safetensors file ({first_line(error)}): get it '
                'again'
            ) from error


def _has_parts(folder: Path) -> bool:
    """Return whether the weights are in several files, which an index lists.

    Raises:
        WeightsError: a part is missing.
    """
    if not (folder / 'model.safetensors.index.json').is_file():
        return False
    index = _json(folder / 'model.safetensors.index.json').get('weight_map')
    parts = sorted(set(map(str, index.values()))) if isinstance(index, dict) else []
    for part in parts:
        if Path(part).name != part or not part.endswith('.safetensors'):
            raise WeightsError(f'{folder} cannot be imported: its index names {part!r}')
        if not (folder / part).is_file():
            raise WeightsError(f'{folder} cannot be imported: there is no {part}')
    return bool(parts)


def _info(
    folder: Path,
    config: dict[str, Any],
    kept: dict[str, Any],
    processed: dict[str, Any],
    given: Overrides,
) -> WeightsInfo:
    card = _model_card(folder)
    output, reach = output_of(config)
    return WeightsInfo(
        network='transformers',
        network_arguments={'config': json.dumps(kept, sort_keys=True)},
        output=given.output or output,  # type: ignore[arg-type]
        reciprocal_scale=1.0,
        min_depth=_NEAREST,
        max_depth=float(given.max_depth or reach),
        training_focal_length=given.training_focal_length or 0.0,
        training_image_width=given.training_image_width or processed['input_width'],
        training_data='as its model card says',
        origin='imported',
        licence=given.licence or _licence(card),
        model_card=given.model_card or '',
        name=given.name or folder.resolve().name,
        recipe=given.recipe or f'depth-perception import-model {folder.resolve().name}',
        **processed,
    )


def output_of(config: dict[str, Any]) -> tuple[str, float]:
    """Return the kind of output and the range in metres of a network."""
    kind = config['model_type']
    if kind == 'depth_pro':
        return 'reciprocal', _FARTHEST
    if kind == 'zoedepth':
        ranges = config.get('bin_configurations') or [{}]
        return 'metres', max(float(one.get('max_depth', 10.0)) for one in ranges)
    if kind == 'prompt_depth_anything':  # without a prompt its scale is unknown
        return 'relative_depth', _USUAL_RANGE
    if kind == 'glpn' or config.get('depth_estimation_type') == 'metric':
        return 'metres', float(config.get('max_depth') or 10.0)
    return 'relative_disparity', _USUAL_RANGE


def _processor_info(
    folder: Path, config: dict[str, Any], processor: dict[str, Any]
) -> dict[str, Any]:
    """Return the entries of `WeightsInfo` that describe the input."""
    kind = str(processor.get('image_processor_type') or processor.get('feature_extractor_type'))
    name = (
        kind.removesuffix('Fast')
        .removesuffix('Pil')
        .removesuffix('ImageProcessor')
        .removesuffix('FeatureExtractor')
    )
    if name not in _PREPARATIONS:
        raise WeightsError(
            f'{folder} cannot be imported: its preprocessor_config.json is for '
            f'{kind!r}: known are {", ".join(sorted(_PREPARATIONS))}'
        )
    if processor.get('do_resize', True) is False or processor.get('do_center_crop'):
        raise WeightsError(
            f'{folder} cannot be imported: its preprocessor_config.json does not '
            'resize images, or crops them'
        )
    if processor.get('do_pad') and processor.get('size_divisor') and _PREPARATIONS[name] is _dpt:
        raise WeightsError(
            f'{folder} cannot be imported: its preprocessor_config.json pads images, which is not '
            'supported for its kind'
        )
    height, width = _size(processor, _SIZES[name])
    mean, std = _normalisation(name, processor)
    return {
        'preparation': _PREPARATIONS[name](processor),
        'mean': mean,
        'std': std,
        'input_height': height,
        'input_width': width,
    }


def _size(processor: dict[str, Any], usual: tuple[int, int]) -> tuple[int, int]:
    size = processor.get('size')
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {'height', 'width'} <= size.keys():
        return int(size['height']), int(size['width'])
    return usual


def _normalisation(name: str, processor: dict[str, Any]) -> tuple[Triple, Triple]:
    """Return the mean and standard deviation of RGB / 255."""
    factor = (
        255 * processor.get('rescale_factor', 1 / 255)
        if processor.get('do_rescale', True)
        else 255.0
    )
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if name != 'GLPN' and processor.get('do_normalize', True):
        mean = tuple(map(float, processor.get('image_mean') or (0.5,) * 3))
        std = tuple(map(float, processor.get('image_std') or (0.5,) * 3))
    elif name == 'GLPN' and processor.get('do_normalize') and processor.get('image_mean'):
        mean, std = tuple(processor['image_mean']), tuple(processor['image_std'])
    (red, green, blue), deviations = mean, [value / factor for value in std]
    return (
        (red / factor, green / factor, blue / factor),
        (deviations[0], deviations[1], deviations[2]),
    )


def _interpolation(processor: dict[str, Any], usual: int) -> Any:
    number = processor.get('resample', usual)
    if number not in _RESAMPLING:
        raise WeightsError(
            f'its preprocessor_config.json resamples by {number!r}: known are 0 '
            '(nearest), 2 (bilinear) and 3 (bicubic)'
        )
    return _RESAMPLING[number]


def _dpt(processor: dict[str, Any]) -> Preparation:
    keeps = bool(processor.get('keep_aspect_ratio', False))
    return Preparation(
        size='aspect' if keeps else 'fixed',
        multiple=int(processor.get('ensure_multiple_of', 1)),
        interpolation=_interpolation(processor, 3),
        output_interpolation='bicubic',
    )


def _zoedepth(processor: dict[str, Any]) -> Preparation:
    keeps = bool(processor.get('keep_aspect_ratio', True))
    return Preparation(
        size='aspect' if keeps else 'fixed',
        multiple=int(processor.get('ensure_multiple_of', 32)),
        interpolation=_interpolation(processor, 2),
        antialias=False,
        align_corners=True,
        resize_values='floats',
        padding=3.0 if processor.get('do_pad', True) else 0.0,
        output_interpolation='bicubic',
    )


def _glpn(processor: dict[str, Any]) -> Preparation:
    return Preparation(
        size='own',
        multiple=int(processor.get('size_divisor', 32)),
        interpolation=_interpolation(processor, 2),
        output_interpolation='bicubic',
    )


def _depth_pro(processor: dict[str, Any]) -> Preparation:
    interpolation = _interpolation(processor, 2)
    return Preparation(
        size='fixed',
        multiple=1,
        interpolation=interpolation,
        antialias=False,
        resize_values='floats',
        output_interpolation=interpolation,
        converts_last=True,
    )


_PREPARATIONS = {
    'DPT': _dpt,
    'PromptDepthAnything': _dpt,
    'ZoeDepth': _zoedepth,
    'GLPN': _glpn,
    'DepthPro': _depth_pro,
}
#: Sizes if the file does not state one; GLPN does not resize images, and most are NYU's 640x480.
_SIZES = {
    'DPT': (384, 384),
    'PromptDepthAnything': (384, 384),
    'ZoeDepth': (384, 512),
    'GLPN': (480, 640),
    'DepthPro': (1536, 1536),
}


def _licence(card: dict[str, Any]) -> str:
    """Return the licence that a model card names: its own name if it is no common one."""
    named = card.get('license')
    if isinstance(named, list):
        return ' and '.join(map(str, named))
    if named == 'other' and card.get('license_name'):
        return str(card['license_name'])
    return str(named or 'unknown')


def _model_card(folder: Path) -> dict[str, Any]:
    """Return the metadata block at the head of README.md; empty if there is none."""
    import yaml

    try:
        parts = read_text(folder / 'README.md').split('---\n', 2)
        values = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}
