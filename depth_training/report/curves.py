# SPDX-License-Identifier: Apache-2.0
"""Draw learning curves of one or several runs in one image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from depth_training.train.run_folder import Row, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Validation scores with a panel each, and whether lower is better.
SCORES = (('AbsRel', True), ('RMSE', True), ('log10', True), ('delta1', False))
#: Number of loss values averaged for the smooth curve, at most a twentieth of all.
_SMOOTHING = 20


def draw(runs: Sequence[Run], names: Sequence[str]) -> bytes:
    """Draw training loss and learning rate by step, validation scores by epoch: a PNG file.

    Args:
        runs: at least one run.
        names: their names in the legend.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), dpi=100, layout='constrained')
    axes = list(figure.subplots(2, 3).flat)
    for run, name in zip(runs, names):
        label = f'{name} ({run.description.recipe["loss"]})'
        _loss(axes[0], run, label)
        axes[1].plot(*_column(run.training, 'learning_rate'), label=name)
        for panel, (score, _) in zip(axes[2:], SCORES):
            panel.plot(*_column(run.validation, score, by='epoch'), marker='.', label=name)
    axes[0].legend(fontsize='small')
    _finish(axes)
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return content.getvalue()


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Return the mean of each value and up to `width` - 1 values before it."""
    sums = np.cumsum([0.0, *values])
    return [
        (sums[i + 1] - sums[max(0, i + 1 - width)]) / (i + 1 - max(0, i + 1 - width))
        for i in range(len(values))
    ]


def _loss(axes: Axes, run: Run, label: str) -> None:
    """Draw the logged loss (faint), the smoothed loss, and the validation loss (dashed)."""
    steps, losses = _column(run.training, 'loss')
    width = max(1, min(_SMOOTHING, len(losses) // 20))
    (line,) = axes.plot(steps, smooth(losses, width), label=label)
    if width > 1:
        axes.plot(steps, losses, color=line.get_color(), alpha=0.25, linewidth=0.7)
    steps, judged = _column(run.validation, 'loss')
    axes.plot(steps, judged, color=line.get_color(), linestyle='--', marker='.')
    if min([*losses, *judged], default=0) > 0:
        axes.set_yscale('log')


def _finish(axes: Sequence[Axes]) -> None:
    titles = [
        'loss (each run its own; dashed: validation)',
        'learning rate',
        *(f'validation {score}, {"less" if less else "more"} is better' for score, less in SCORES),
    ]
    for panel, title in zip(axes, titles):
        panel.set_title(title, fontsize='medium')
        panel.set_xlabel('epoch' if title.startswith('validation') else 'step')
        panel.grid(alpha=0.3)
    for panel in axes[2:]:
        panel.locator_params('x', integer=True)


def _column(rows: Sequence[Row], name: str, by: str = 'step') -> tuple[list[float], list[float]]:
    """Return x and y values; epochs are counted from 1."""
    kept = [row for row in rows if row.get(name) is not None]
    return [row[by] + (by == 'epoch') for row in kept], [row[name] for row in kept]
