# SPDX-License-Identifier: Apache-2.0
"""Faults, each as a function that does it, so often, and says what became of the node.

A scenario returns when the node has served the next good frame and its diagnostics have said what
was to be said; otherwise it fails.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """What a scenario showed.

    Attributes:
        done: what was done to the node, with counts.
        said: what its diagnostics said; '' where there was nothing to say.
        figures: counts and times.
    """

    done: str
    said: str = ''
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A scenario by name, with how often it is done in full and in short."""

    name: str
    run: Callable[[int], Outcome]
    full: int
    short: int


SCENARIOS: dict[str, Scenario] = {}


def scenario(full: int, short: int = 1) -> Callable[[Callable[[int], Outcome]], Any]:
    """Register a function under its name; it is called with a count."""
    def register(function: Callable[[int], Outcome]) -> Callable[[int], Outcome]:
        name = function.__name__
        SCENARIOS[name] = Scenario(name, function, full, short)
        return function
    return register
