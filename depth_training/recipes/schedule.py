# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules: pure functions of the position in the run and of the scores so far.

As they have no state, nothing need be saved, and a resumed run cannot differ. `StepDecay` and
`Drops` count epochs like the papers, whatever the length of the run; `OneCycle` spans the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from depth_training.ranges import Count, NotNegative, Positive, Share


@dataclass(frozen=True)
class Place:
    """Position in a run.

    Attributes:
        step: completed steps.
        steps: steps of the whole run.
        scores: validation losses of the completed epochs.
        per_epoch: steps per epoch.
    """

    step: int
    steps: int
    scores: Sequence[float] = ()
    per_epoch: int = 1

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return self.step // self.per_epoch


@dataclass(frozen=True)
class Constant:
    """Keep the learning rate constant."""

    def factor(self, place: Place) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class StepDecay:
    """Multiply by `drop` after every `epochs` epochs, like torch's StepLR."""

    epochs: Count = 5
    drop: Positive = 0.1

    def factor(self, place: Place) -> float:
        """Return `drop` to the power of the drops so far."""
        return self.drop ** (place.epoch // self.epochs)


@dataclass(frozen=True)
class Drops:
    """Set the factor at given epochs, such as ((10, 0.5), (20, 0.1))."""

    factors: tuple[tuple[int, float], ...]

    def factor(self, place: Place) -> float:
        """Return the factor of the last epoch reached."""
        return ([1.0] + [factor for epoch, factor in self.factors if place.epoch >= epoch])[-1]


@dataclass(frozen=True)
class OneCycle:
    """Rise, then fall by cosines (Smith & Topin 2019), computed like torch's OneCycleLR.

    Attributes:
        rise: share of the run in which the rate rises.
        start: the first rate is the largest / start.
        end: the last rate is the first / end.
    """

    rise: Share = 0.3
    start: Positive = 25.0
    end: Positive = 100.0

    def factor(self, place: Place) -> float:
        """Return the share of the largest rate."""
        first, top = 1 / self.start, self.rise * place.steps - 1
        if place.step <= top:
            return _cosine(first, 1.0, place.step / max(top, 1e-9))
        share = (place.step - top) / max(place.steps - 1 - top, 1e-9)
        return _cosine(1.0, first / self.end, min(share, 1.0))


@dataclass(frozen=True)
class Plateau:
    """Multiply by `drop` whenever the validation loss stagnates for `patience` epochs (Keras).

    Attributes:
        drop: factor of each reduction.
        patience: epochs without an improvement.
        smallest: lower limit of the factor.
        margin: decrease of the loss that counts as an improvement.
    """

    drop: Positive = 0.7
    patience: Count = 5
    smallest: NotNegative = 0.9
    margin: NotNegative = 1e-4

    def factor(self, place: Place) -> float:
        """Compute the factor by replaying all scores so far."""
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
