# SPDX-License-Identifier: Apache-2.0
"""Networks by name: a weights file names its network, the registry builds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

_FACTORIES: dict[str, Callable[..., nn.Module]] = {}
#: Networks of others, which `import-model` brings: only weights files name them.
_IMPORTED: dict[str, Callable[..., nn.Module]] = {}


def register_network(
    name: str, imported: bool = False
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register the decorated factory function under `name`."""

    def register(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        (_IMPORTED if imported else _FACTORIES)[name] = factory
        return factory

    return register


def network_names() -> list[str]:
    """Return the names of this project's own networks, sorted."""
    return sorted(_FACTORIES)


def loadable_names() -> list[str]:
    """Return the names that a weights file may have, sorted: also those of imported networks."""
    return sorted([*_FACTORIES, *_IMPORTED])


def network_arguments(name: str) -> list[str]:
    """Return the argument names of a registered network's factory."""
    return list(inspect.signature(_FACTORIES[name]).parameters)


def create_network(name: str, **arguments: Any) -> nn.Module:
    """Build a network with random weights.

    Every network maps a normalised image (B, 3, H, W) of any size to (B, 1, h, w).

    Raises:
        ValueError: the name is unknown, or the network does not take these arguments.
    """
    factory = _FACTORIES.get(name) or _IMPORTED.get(name)
    if factory is None:
        raise ValueError(f'unknown network {name!r}: choose one of {", ".join(network_names())}')
    try:
        return factory(**arguments)
    except TypeError as error:
        raise ValueError(f'network {name!r} does not take {arguments}: {error}') from error
