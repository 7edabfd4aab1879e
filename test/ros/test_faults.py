# SPDX-License-Identifier: Apache-2.0
"""A short `python -m benchmarks.faults`: after each fault, the next good frame is processed.

test_diagnostics.py tests hanging, lack of memory and two nodes; test_fuzz.py fuzzed messages.
"""

from __future__ import annotations

import pytest

from benchmarks import faults
from benchmarks.scenarios import Outcome, scenario

COUNTS = {
    'unplugged': 1,
    'changed_in_mid_stream': 28,
    'sim_time_jumps': 4,
    'system_clock_jumps': 1,
    'raising': 5,
    'not_a_number': 5,
    'slow_subscriber': 5,
    'best_effort_subscriber': 5,
    'fuzz_services': 20,
    'twenty_subscribers': 2,
}


@pytest.mark.parametrize('name', COUNTS)
def test_the_node_serves_the_next_good_frame_after(name):
    outcome = faults.scenarios()[name].run(COUNTS[name])
    assert outcome.done


def test_a_scenario_that_fails_is_told_and_does_not_stop_the_others(monkeypatch, capsys):
    known = faults.scenarios()
    monkeypatch.setattr('benchmarks.scenarios.SCENARIOS', known)

    @scenario(full=2)
    def broken(times: int) -> Outcome:
        raise AssertionError(f'no depth after {times}')

    try:
        row = faults.perform('broken', None, short=False)
    finally:
        known.pop('broken')
    assert not row['served_next_frame']
    assert row['said'] == 'FAILED: AssertionError: no depth after 2'
    assert 'NOT SERVED' in faults.table([row])


def test_an_unknown_scenario_names_those_there_are(capsys):
    assert faults.main(['no_such']) == 2
    assert 'unplugged' in capsys.readouterr().err
