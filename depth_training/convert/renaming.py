# SPDX-License-Identifier: Apache-2.0
"""Rename the tensors of a state dict by the prefixes of their names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from depth_training.convert.reading import State


def rename(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> State:
    """Rename every tensor below a module in `modules` (foreign -> ours); keep other names.

    The longest matching module is used; `conv1` does not match `conv10.weight`.
    """
    return {_renamed(name, modules): value for name, value in state.items()}


def _renamed(name: str, modules: Mapping[str, str]) -> str:
    parts = name.split('.')
    for length in range(len(parts), 0, -1):
        module = '.'.join(parts[:length])
        if module in modules:
            return '.'.join([modules[module], *parts[length:]])
    return name
