# SPDX-License-Identifier: Apache-2.0
"""Reading other programs' checkpoints; no pickle is ever allowed to run code."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

State = dict[str, Tensor]
#: Under which a checkpoint may keep its state dict beside the optimizer's and other things.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model')
_COUNTER = 'num_batches_tracked'


class ForeignError(ValueError):
    """A checkpoint that cannot be used; the text says why."""


def checksum(file: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, 'rb') as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_state(file: str | Path) -> State:
    """A PyTorch or safetensors state dict, without wrappers and DataParallel's `module.`.

    Raises:
        ForeignError: it is no such file, or a pickle that holds more than tensors.
        OSError: it cannot be read.
    """
    content = _read_safetensors(file) if _is_safetensors(file) else _read_pickle(file)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content \
            or not all(isinstance(value, Tensor) for value in content.values()):
        raise ForeignError(f'{file} is not a state dict: tensors by name')
    return {str(name).removeprefix('module.'): value for name, value in content.items()}


def _is_safetensors(file: str | Path) -> bool:
    with open(file, 'rb') as content:
        # A safetensors file starts with its header's length, then the header, which is JSON.
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
            f'{file} is refused: it is no PyTorch file of tensors alone (weights_only=True), so '
            'loading it might run code') from error


def fill(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict that must fit exactly, but for BatchNorm's step counters.

    Raises:
        ForeignError: the first tensor that is missing, unknown or of another shape.
    """
    target = module.state_dict()
    for name in sorted(target.keys() | state.keys()):
        sides = [tuple(side[name].shape) if name in side else None for side in (target, state)]
        if sides[0] != sides[1] and not name.endswith(_COUNTER):
            wanted, found = ('absent' if side is None else str(side) for side in sides)
            raise ForeignError(f'{what} does not fit: {name} is {found} in the checkpoint, '
                               f'{wanted} in the network')
    module.load_state_dict({**target, **{k: v for k, v in state.items() if k in target}})


def below(state: Mapping[str, Tensor], prefix: str) -> State:
    """The part of a state dict under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items()
            if name.startswith(prefix)}
