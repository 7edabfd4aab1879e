# SPDX-License-Identifier: Apache-2.0
"""Read other programs' checkpoints; a pickle is never allowed to run code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from depth_perception.reading import refuse_device

State = dict[str, Tensor]
#: Keys under which a checkpoint may store its state dict next to the optimizer's and others.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model')
_COUNTER = 'num_batches_tracked'


class ForeignError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


def checksum(file: str | Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read, or is a device.
    """
    refuse_device(file)
    digest = hashlib.sha256()
    with open(file, 'rb') as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_state(file: str | Path) -> State:
    """Read a PyTorch or safetensors state dict, without wrappers and DataParallel's `module.`.

    Raises:
        ForeignError: the file is neither, or a pickle that contains more than tensors.
        OSError: the file cannot be read.
    """
    refuse_device(file)
    content = _read_safetensors(file) if _is_safetensors(file) else _read_pickle(file)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise ForeignError(f'{file} is not a state dict of tensors by name')
    return {str(name).removeprefix('module.'): value for name, value in content.items()}


def _is_safetensors(file: str | Path) -> bool:
    with open(file, 'rb') as content:
        # A safetensors file starts with the length of its header, which is JSON.
        return content.read(9)[8:] == b'{'


def _read_safetensors(file: str | Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise ForeignError(f'{file} is a damaged safetensors file: {error}') from error


def _read_pickle(file: str | Path) -> Any:
    import pickle

    import torch

    try:
        return torch.load(file, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ForeignError(
            f'{file} is refused: it is not a PyTorch file of tensors only (weights_only=True), so '
            'loading it might run code'
        ) from error


def fill(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict that must match exactly, except for BatchNorm's step counters.

    Raises:
        ForeignError: a tensor is missing, unknown or of another shape; the first one is named.
    """
    target = module.state_dict()
    for name in sorted(target.keys() | state.keys()):
        sides = [tuple(side[name].shape) if name in side else None for side in (target, state)]
        if sides[0] != sides[1] and not name.endswith(_COUNTER):
            wanted, found = ('absent' if side is None else str(side) for side in sides)
            raise ForeignError(
                f'{what} does not match: {name} is {found} in the checkpoint, '
                f'{wanted} in the network'
            )
    module.load_state_dict({**target, **{k: v for k, v in state.items() if k in target}})


def below(state: Mapping[str, Tensor], prefix: str) -> State:
    """Return the part of a state dict under a prefix, with the prefix removed."""
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
