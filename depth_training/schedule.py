# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules: pure functions of the place in the run and of the scores so far.

Without state of their own there is nothing to save, and a resumed run cannot differ. All places
are shares of the whole run, taken from its real number of steps: a shorter run or another batch
keeps the schedule's shape.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where a run is.

    Attributes:
        step: steps done.
        steps: of the whole run.
        scores: validation scores of the epochs done, smaller is better.
    """

    step: int
    steps: int
    scores: Sequence[float] = ()


@dataclass(frozen=True)
class Constant:
    """Always the same learning rate."""

    def factor(self, place: Place) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Drops:
    """Factors that hold from a share of the run on, such as ((1/3, 0.5), (2/3, 0.1))."""

    factors: tuple[tuple[float, float], ...]

    def factor(self, place: Place) -> float:
        """The last factor whose share has been reached."""
        # A tenth of a step of slack, for shares such as 1/3 are not exact.
        done = (place.step + 0.1) / place.steps
        return ([1.0] + [factor for share, factor in self.factors if done >= share])[-1]


@dataclass(frozen=True)
class OneCycle:
    """Cosine up, then cosine down (Smith & Topin 2019), as torch's OneCycleLR computes it.

    Attributes:
        rise: share of the run in which the rate rises.
        start: the first rate is the largest / start.
        end: the last rate is the first / end.
    """

    rise: float = 0.3
    start: float = 25.0
    end: float = 100.0

    def factor(self, place: Place) -> float:
        """Share of the largest rate."""
        first, top = 1 / self.start, self.rise * place.steps - 1
        if place.step <= top:
            return _cosine(first, 1.0, place.step / max(top, 1e-9))
        share = (place.step - top) / max(place.steps - 1 - top, 1e-9)
        return _cosine(1.0, first / self.end, min(share, 1.0))


@dataclass(frozen=True)
class Plateau:
    """Multiply by `drop` whenever the score has not improved for `patience` epochs (Keras).

    Attributes:
        drop: factor of each reduction.
        patience: epochs without an improvement.
        smallest: factor below which the rate never falls.
        margin: what counts as an improvement (Keras: 1e-4).
    """

    drop: float = 0.7
    patience: int = 5
    smallest: float = 0.9
    margin: float = 1e-4

    def factor(self, place: Place) -> float:
        """Replays all scores so far."""
        factor, best, waited = 1.0, math.inf, 0
        for score in place.scores:
            waited = 0 if score < best - self.margin else waited + 1
            best = min(best, score) if waited == 0 else best
            if waited >= self.patience:
                factor, waited = max(factor * self.drop, self.smallest), 0
        return factor


Schedule = Constant | Drops | OneCycle | Plateau


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
