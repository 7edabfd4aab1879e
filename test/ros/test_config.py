# SPDX-License-Identifier: Apache-2.0
"""config/depth.yaml and docs/parameters.md against the table of parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node

from depth_perception.ros.node import parameters

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'config' / 'depth.yaml'


def configured() -> dict:
    return yaml.safe_load(CONFIG.read_text())['/**']['ros__parameters']


def comment_of(name: str) -> str:
    """Return the comment above a parameter, or above its group, as one line."""
    lines = [line.strip() for line in CONFIG.read_text().splitlines()]
    at = next(i for i, line in enumerate(lines) if line.startswith(f'{name}:'))
    while not lines[at - 1].startswith('#'):
        at -= 1
    start = at
    while lines[start - 1].startswith('# ') and not lines[start - 1].startswith('# ---'):
        start -= 1
    return ' '.join(line.removeprefix('# ') for line in lines[start:at])


def test_names_exactly_the_parameters_with_their_defaults_and_types():
    assert configured() == parameters.DEFAULTS
    assert {name: type(value) for name, value in configured().items()} == {
        name: type(value) for name, value in parameters.DEFAULTS.items()
    }


@pytest.mark.parametrize('name', parameters.RULES)
def test_comment_gives_range_choices_and_whether_it_acts_at_start_alone(name):
    rule, comment = parameters.RULES[name], comment_of(name)
    if rule.low is not None:
        assert f'{rule.low} to {rule.high}' in comment
    for choice in rule.choices:
        assert choice in comment
    assert comment.endswith('At start.') == (rule.read_only or not rule.configured)


def test_rcl_reads_it_for_a_node_in_any_namespace():
    context = Context()
    rclpy.init(context=context, args=['--ros-args', '--params-file', str(CONFIG)])
    try:
        node = Node('depth_node', namespace='/front', context=context)
        parameters.declare(node)
        assert parameters.read(node) == parameters.Settings()
        node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_the_page_of_parameters_is_up_to_date():
    command = [sys.executable, str(ROOT / 'scripts' / 'parameters_page.py'), '--check']
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
