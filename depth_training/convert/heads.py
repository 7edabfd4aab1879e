# SPDX-License-Identifier: Apache-2.0
"""Leave out the head that estimates a network's error: it holds for these very weights alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from depth_perception.io.weights import UNCERTAINTY, LoadedWeights
from depth_perception.networks import create_network

Value = TypeVar('Value')


def without_head(state: Mapping[str, Value]) -> dict[str, Value]:
    """Return a state dict without the tensors of an uncertainty head."""
    return {name: value for name, value in state.items() if not name.startswith(f'{UNCERTAINTY}.')}


def without_head_recipe(recipe: str) -> str:
    """Return a description of the training without what `train.confidence` adds."""
    return recipe.partition('; uncertainty head: ')[0]


def depth_alone(loaded: LoadedWeights) -> LoadedWeights:
    """Return a network without its uncertainty head; unchanged if it has none.

    `python -m depth_training.train.confidence` trains another one.
    """
    info = loaded.info
    if not info.network_arguments.get(UNCERTAINTY):
        return loaded
    arguments = {
        name: value for name, value in info.network_arguments.items() if name != UNCERTAINTY
    }
    network = create_network(info.network, **arguments).eval().requires_grad_(False)
    network.load_state_dict(without_head(loaded.network.state_dict()))
    recipe = without_head_recipe(info.recipe)
    info = dataclasses.replace(info, network_arguments=arguments, recipe=recipe)
    return dataclasses.replace(loaded, network=network, info=info)
