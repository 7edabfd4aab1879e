# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules: pure functions of the place in the run and of the scores so far.

Without state of their own there is nothing to save, and a resumed run cannot differ. Where a paper
counts epochs, so do `StepDecay` and `Drops`, however long the run is; `OneCycle` spans the run.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from depth_training.ranges import Count, NotNegative, Positive, Share


@dataclass(frozen=True)
class Place:
    """Where a run is.

    Attributes:
        step: steps done.
        steps: of the whole run.
        scores: validation losses of the epochs done.
        per_epoch: steps of an epoch.
    """

    step: int
    steps: int
    scores: Sequence[float] = ()
    per_epoch: int = 1

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step // self.per_epoch


@dataclass(frozen=True)
class Constant:
    """Always the same learning rate."""

    def factor(self, place: Place) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class StepDecay:
    """Multiply by `drop` after every so many epochs, as torch's StepLR."""

    epochs: Count = 5
    drop: Positive = 0.1

    def factor(self, place: Place) -> float:
        """`drop` to the power of the times it was reached."""
        return self.drop ** (place.epoch // self.epochs)


@dataclass(frozen=True)
class Drops:
    """Factors that hold after so many epochs, such as ((10, 0.5), (20, 0.1))."""

    factors: tuple[tuple[int, float], ...]

    def factor(self, place: Place) -> float:
        """The last factor whose epoch has been reached."""
        return ([1.0] + [factor for epoch, factor in self.factors if place.epoch >= epoch])[-1]


@dataclass(frozen=True)
class OneCycle:
    """Cosine up, then cosine down (Smith & Topin 2019), as torch's OneCycleLR computes it.

    Attributes:
        rise: share of the run in which the rate rises.
        start: the first rate is the largest / start.
        end: the last rate is the first / end.
    """

    rise: Share = 0.3
    start: Positive = 25.0
    end: Positive = 100.0

    def factor(self, place: Place) -> float:
        """Share of the largest rate."""
        first, top = 1 / self.start, self.rise * place.steps - 1
        if place.step <= top:
            return _cosine(first, 1.0, place.step / max(top, 1e-9))
        share = (place.step - top) / max(place.steps - 1 - top, 1e-9)
        return _cosine(1.0, first / self.end, min(share, 1.0))


@dataclass(frozen=True)
class Plateau:
    """Multiply by `drop` whenever the validation loss rests for `patience` epochs (Keras).

    Attributes:
        drop: factor of each reduction.
        patience: epochs without an improvement.
        smallest: factor below which the rate never falls.
        margin: by how much a loss must fall to count as an improvement.
    """

    drop: Positive = 0.7
    patience: Count = 5
    smallest: NotNegative = 0.9
    margin: NotNegative = 1e-4

    def factor(self, place: Place) -> float:
        """Replays all scores so far."""
        factor, best, waited = 1.0, math.inf, 0
        for score in place.scores:
            waited = 0 if score < best - self.margin else waited + 1
            best = min(best, score) if waited == 0 else best
            if waited >= self.patience:
                factor, waited = max(factor * self.drop, self.smallest), 0
        return factor


Schedule = Constant | StepDecay | Drops | OneCycle | Plateau


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
