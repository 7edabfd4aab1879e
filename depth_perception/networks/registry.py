# SPDX-License-Identifier: Apache-2.0
"""Networks by name: a weights file names its network, the registry builds it.

The module of a network is imported when it is built, because that imports PyTorch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

#: The module in this package that registers each of this project's own networks.
_MODULES = {
    'cnn': 'cnn',
    'cnn_fc': 'cnn_fc',
    'cnn_residual': 'cnn_residual',
    'cnn_transpose': 'cnn_transpose',
    'densedepth': 'densedepth',
    'efficientnet_sff': 'efficientnet_sff',
    'efficientnet_unet': 'efficientnet_unet',
    'fcrn': 'fcrn',
    'resnet_fcrn': 'cnn_residual',
    'resnet_unet': 'resnet_unet',
    'resnet_unet_hybrid': 'resnet_unet_hybrid',
}
#: The same of networks of others, which `import-model` brings: only weights files name them.
_MODULES_OF_OTHERS = {'onnx': 'onnx_network', 'transformers': 'transformers_network'}

_FACTORIES: dict[str, Callable[..., nn.Module]] = {}
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
    return sorted({*_MODULES, *_FACTORIES})


def loadable_names() -> list[str]:
    """Return the names that a weights file may have, sorted: also those of imported networks."""
    return sorted({*network_names(), *_MODULES_OF_OTHERS, *_IMPORTED})


def network_arguments(name: str) -> list[str]:
    """Return the argument names of a registered network's factory."""
    factory = _factory(name)
    assert factory is not None
    return list(inspect.signature(factory).parameters)


def create_network(name: str, **arguments: Any) -> nn.Module:
    """Build a network with random weights.

    Every network maps a normalised image (B, 3, H, W) of any size to (B, 1, h, w).

    Raises:
        ValueError: the name is unknown, or the network does not take these arguments.
    """
    factory = _factory(name)
    if factory is None:
        raise ValueError(f'unknown network {name!r}: choose one of {", ".join(network_names())}')
    try:
        return factory(**arguments)
    except TypeError as error:
        raise ValueError(f'network {name!r} does not take {arguments}: {error}') from error


def _factory(name: str) -> Callable[..., nn.Module] | None:
    """Return the function that builds a network; None if the name is unknown."""
    module = {**_MODULES, **_MODULES_OF_OTHERS}.get(name)
    if module is not None:
        import_module(f'depth_perception.networks.{module}')
    return _FACTORIES.get(name) or _IMPORTED.get(name)
