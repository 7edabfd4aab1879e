# SPDX-License-Identifier: Apache-2.0
"""Fault scenarios: functions that inject a fault a number of times and report the node's reaction.

A scenario returns once the node has processed the next good frame and its diagnostics have reported
the fault; otherwise it fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Result of a scenario.

    Attributes:
        done: what was done to the node, with counts.
        said: what its diagnostics reported; '' if nothing was to be reported.
        figures: counts and times.
    """

    done: str
    said: str = ''
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A named scenario and its numbers of repetitions, full and short."""

    name: str
    run: Callable[[int], Outcome]
    full: int
    short: int


SCENARIOS: dict[str, Scenario] = {}


def scenario(full: int, short: int = 1) -> Callable[[Callable[[int], Outcome]], Any]:
    """Register a function under its name; it is called with the number of repetitions."""

    def register(function: Callable[[int], Outcome]) -> Callable[[int], Outcome]:
        name = function.__name__
        SCENARIOS[name] = Scenario(name, function, full, short)
        return function

    return register
