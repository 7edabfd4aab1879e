# SPDX-License-Identifier: Apache-2.0
"""Validation after every epoch: evaluate the network, log its scores, draw its predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from depth_perception.io.files import write_atomically
from depth_training.data import DepthDataset, evenly, good_samples
from depth_training.evaluate import pictures
from depth_training.evaluate.evaluation import Evaluation, Predictor, evaluate, rescaled
from depth_training.losses.losses import Loss
from depth_training.recipes import Recipe
from depth_training.train import build
from depth_training.train.progress import ProgressDisplay
from depth_training.train.run_log import Journal
from depth_training.train.training_data import reduce_depth

#: Number of pairs to draw.
_PICTURES = 4


class Validation:
    """Evaluate a network by one protocol, always on the same pairs.

    Args:
        pairs: the validation pairs.
        recipe: defines the protocol and the pixels for the loss.
        loss: the training loss of prediction, target and mask.
        folder: folder of the run; images are written to `pictures/` in it.
        journal, display: where to log the scores.
    """

    def __init__(
        self,
        pairs: DepthDataset,
        recipe: Recipe,
        loss: Loss,
        folder: Path,
        journal: Journal,
        display: ProgressDisplay,
    ) -> None:
        self._pairs, self._recipe, self._loss_of = pairs, recipe, loss
        self._protocol = recipe.own_protocol
        self._shown = evenly(pairs, min(_PICTURES, len(pairs)))
        self._folder, self._journal, self._display = folder / 'pictures', journal, display

    def judge(
        self, predictor: Predictor, step: int, epoch: int, counts: Mapping[str, int]
    ) -> tuple[Evaluation, float]:
        """Evaluate and log an epoch (counted from 0); `counts` are numbers of failures to log."""
        result, loss = evaluate(predictor, self._pairs, self._protocol), self.loss(predictor)
        said = [f'loss {loss:.4g}']
        said += [f'{name} {result.scores[name]:.4f}' for name in ('AbsRel', 'RMSE', 'delta1')]
        said += [f'{count} {name.replace("_", " ")}' for name, count in counts.items() if count]
        said += [rescaled(result)] if result.is_rescaled else []
        self._display.say(f'epoch {epoch + 1}: {", ".join(said)}')
        self._journal.write(
            step, 'validation', {'epoch': epoch, 'loss': loss, **result.scores, **counts}
        )
        return result, loss

    @torch.no_grad()
    def loss(self, predictor: Predictor) -> float:
        """Return the mean training loss over the pairs, with images as in a test.

        The truth is converted to the training camera, as in training.
        """
        losses = []
        for sample in good_samples(self._pairs):
            output, box, factor = predictor.output_of(sample)
            truth = np.ascontiguousarray(box.of(sample.depth)) / np.float32(factor)
            height, width = output.shape[-2:]
            target = reduce_depth(
                torch.from_numpy(truth)[None, None], (height, width), self._recipe.reduce
            ).to(output.device)
            known = build.to_learn(self._recipe, target)
            if known.any():
                losses.append(self._loss_of(output, target, known).item())
        return float(np.mean(losses)) if losses else math.inf

    def show(self, predictor: Predictor, step: int, epoch: int) -> None:
        """Write an image of some predictions.

        Raises:
            OSError: it cannot be written.
        """
        picture = pictures.of_predictor(predictor, self._shown, self._protocol)
        if picture is None:
            return
        self._folder.mkdir(exist_ok=True)
        write_atomically(self._folder / f'epoch_{epoch + 1:03d}.png', [pictures.png(picture)])
        self._journal.picture(step, 'validation', picture)
