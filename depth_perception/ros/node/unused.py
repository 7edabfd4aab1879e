# SPDX-License-Identifier: Apache-2.0
"""Find arguments without effect, such as misspelt parameters or sections for other nodes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from rclpy.node import Node

from depth_perception.ros.conversions.topics import INPUTS, OUTPUTS
from depth_perception.ros.start import is_for, parameter_files, parameter_sections

_QOS = 'qos_overrides.'


def unused_parameters(node: Node, qos: bool) -> str:
    """Return one sentence about given parameters that the node does not have, or ''.

    Args:
        node: the node, after its parameters are declared.
        qos: True: check only QoS overrides, which are declared with their topics; False: check
            only the other parameters.
    """
    names = [
        name
        for name in node._parameter_overrides  # rclpy has no public API
        if name.startswith(_QOS) == qos and not node.has_parameter(name)
    ]
    known = [name for name in node._parameters if name.startswith(_QOS) == qos]
    described = [
        f'{name}{_meant(name, node._parameter_overrides[name].value, known)}'
        for name in sorted(names)
    ]
    return f'given, but no parameter of this node: {", ".join(described)}' if names else ''


def _meant(name: str, value: Any, known: Iterable[str]) -> str:
    if name in (*INPUTS, *OUTPUTS):
        return f' (a topic: -r {name}:={value})'
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f' (is it {near[0]}?)' if near else ''


def unused_files(words: Sequence[str], nodes: Sequence[Node]) -> list[str]:
    """Return one sentence for each given parameter file without a section for these nodes."""
    names = [node.get_fully_qualified_name() for node in nodes]
    remarks = []
    for path in parameter_files(words):
        sections = parameter_sections(path)
        if not any(is_for(section, name) for section in sections for name in names):
            remarks.append(
                f'{path} has parameters for {", ".join(sections)} alone, '
                f'none for {", ".join(names)}: begin it with /**: to be for any node'
            )
    return remarks
