# SPDX-License-Identifier: Apache-2.0
"""After every epoch: judge the network, log its scores, show what it predicts."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from depth_perception.files import write_atomically
from depth_training import pictures
from depth_training.data import DepthDataset, evenly
from depth_training.evaluation import Evaluation, Predictor, evaluate, rescaled
from depth_training.journal import Journal
from depth_training.progress import ProgressDisplay
from depth_training.protocols import Protocol

#: So many pairs are shown.
_PICTURES = 4


class Validation:
    """Judges by one protocol on always the same pairs.

    Args:
        pairs: to judge on.
        protocol: the recipe's.
        folder: of the run; pictures go to `pictures/` in it.
        journal, display: where scores go.
    """

    def __init__(self, pairs: DepthDataset, protocol: Protocol, folder: Path, journal: Journal,
                 display: ProgressDisplay) -> None:
        self._pairs, self._protocol = pairs, protocol
        self._shown = evenly(pairs, min(_PICTURES, len(pairs)))
        self._folder, self._journal, self._display = folder / 'pictures', journal, display

    def judge(self, predictor: Predictor, step: int, epoch: int,
              counts: Mapping[str, int]) -> Evaluation:
        """Scores after an epoch (counted from 0), logged and said with counts of what failed."""
        result = evaluate(predictor, self._pairs, self._protocol)
        said = [f'{name} {result.scores[name]:.4f}' for name in ('AbsRel', 'RMSE', 'delta1')]
        said += [f'{count} {name.replace("_", " ")}' for name, count in counts.items() if count]
        said += [rescaled(result)] if result.is_rescaled else []
        self._display.say(f'epoch {epoch + 1}: {", ".join(said)}')
        self._journal.write(
            step, 'validation', {'epoch': epoch, **result.scores, **counts})
        return result

    def show(self, predictor: Predictor, step: int, epoch: int) -> None:
        """Write a picture of some predictions.

        Raises:
            OSError: it cannot be written.
        """
        picture = pictures.of_predictor(predictor, self._shown, self._protocol)
        if picture is None:
            return
        self._folder.mkdir(exist_ok=True)
        write_atomically(self._folder / f'epoch_{epoch + 1:03d}.png', [pictures.png(picture)])
        self._journal.picture(step, 'validation', picture)
