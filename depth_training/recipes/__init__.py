# SPDX-License-Identifier: Apache-2.0
"""Recipes by name: one short file per paper; each number has its source."""

from __future__ import annotations

from depth_training.recipes import (
    bundled,
    paper_000,
    paper_001,
    paper_002,
    paper_003,
    paper_004,
    rooms,
)
from depth_training.recipes.recipe import LossName, Recipe

_MODULES = (paper_000, paper_001, paper_002, paper_003, paper_004, rooms, bundled)
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for module in _MODULES for recipe in module.RECIPES
}

__all__ = ['RECIPES', 'LossName', 'Recipe', 'get_recipe']


def get_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        ValueError: there is no such recipe.
    """
    if name not in RECIPES:
        raise ValueError(f'unknown recipe {name!r}: choose one of {", ".join(RECIPES)}')
    return RECIPES[name]
