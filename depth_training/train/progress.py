# SPDX-License-Identifier: Apache-2.0
"""Display of a run's progress: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from depth_perception.progress import duration

#: Seconds between two log lines.
_EVERY = 10.0


class ProgressDisplay:
    """Show loss, images/s, time left and validation scores on standard error.

    Args:
        title: title of the bar.
        done: steps completed before.
        steps: steps of the whole run.
        visible: False for all processes but the first.
    """

    def __init__(self, title: str, done: int, steps: int, visible: bool = True) -> None:
        self._visible, self._steps, self._done = visible, steps, done
        self._start = self._spoke = time.monotonic()
        self._bar: Any = None
        if visible and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task(title, total=steps, completed=done, figures='')
            self._bar.start()

    @property
    def is_due(self) -> bool:
        """Tell if the last log line is so old that the next step should be logged."""
        return self._visible and not self._bar and time.monotonic() - self._spoke > _EVERY

    def step(self, step: int, loss: float, speed: float) -> None:
        """Show a logged training step; `speed` is images/s."""
        if self._bar:
            self._bar.update(
                self._task, completed=step, figures=f'loss {loss:.4g}  {speed:.1f} images/s'
            )
        elif self.is_due or (self._visible and step == self._steps):
            self.say(
                f'step {step}/{self._steps}  loss {loss:.4g}  {speed:.1f} images/s'
                f'{self._left(step)}'
            )

    def _left(self, step: int) -> str:
        """Return the time left, at the pace so far, including validation."""
        if step in (self._done, self._steps):
            return ''
        seconds = (time.monotonic() - self._start) / (step - self._done)
        return f'  {duration(seconds * (self._steps - step))} left'

    def say(self, text: str) -> None:
        """Print a permanent line."""
        if not self._visible:
            return
        self._spoke = time.monotonic()
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(text + '\n')
            sys.stderr.flush()

    def close(self) -> None:
        """Restore the terminal."""
        if self._bar:
            self._bar.stop()


def _bar() -> Any:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn('{task.description}'),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn('{task.fields[figures]}'),
        progress.TimeElapsedColumn(),
        progress.TextColumn('left'),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
