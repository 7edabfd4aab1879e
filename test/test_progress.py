# SPDX-License-Identifier: Apache-2.0
"""Progress on a terminal and in a log, with a simulated clock."""

from __future__ import annotations

import io

import pytest

from depth_perception.progress import Progress, duration, tracked


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream, seconds, steps):
    """Run a progress with steps of equal duration, and return what it wrote."""
    clock = Clock()
    with Progress('work', steps, ' images', stream, clock) as progress:
        for _ in range(steps):
            clock.now += seconds
            progress.step()
    return stream.getvalue()


def test_a_log_has_few_lines_with_the_time_left():
    lines = run(io.StringIO(), 1.0, 25).splitlines()
    assert lines == ['work: 10 of 25 images, 15 s left', 'work: 20 of 25 images, 5 s left']
    assert len(run(io.StringIO(), 1.0, 20_000).splitlines()) < 100
    assert run(io.StringIO(), 0.1, 25) == ''


def test_a_terminal_has_one_line_that_is_removed_at_the_end():
    shown = run(Terminal(), 0.5, 10)
    assert shown.count('\r') > 5 and '\n' not in shown and shown.endswith('\r\033[K')


def test_a_permanent_line_replaces_the_changing_one():
    stream, clock = Terminal(), Clock()
    with Progress('work', None, stream=stream, clock=clock) as progress:
        clock.now = 1.0
        progress.step(3)
        progress.say('note')
    assert 'work: 3' in stream.getvalue() and stream.getvalue().endswith('\r\033[Knote\n')


def test_tracked_yields_every_item(capsys):
    assert list(tracked([1, 2, 3], 'work')) == [1, 2, 3]
    assert list(tracked(iter('ab'), 'work')) == ['a', 'b'] and capsys.readouterr().err == ''


@pytest.mark.parametrize('seconds, said', [(3.2, '3 s'), (600, '10 min'), (9000, '2.5 h')])
def test_durations(seconds, said):
    assert duration(seconds) == said
