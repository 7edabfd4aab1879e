# SPDX-License-Identifier: Apache-2.0
"""QoS overrides given as parameters: `qos_overrides.<topic>.<entity>.<policy>`."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    ReliabilityPolicy,
)

#: Policies whose values are strings.
_WORDS = {
    'reliability': ReliabilityPolicy,
    'durability': DurabilityPolicy,
    'history': HistoryPolicy,
    'liveliness': LivelinessPolicy,
}
Entity = Literal['publisher', 'subscription']


class QosError(ValueError):
    """An override cannot be used; the message names it and the accepted values."""


def overrides(node: Node, topic: str, entity: Entity) -> dict[str, Any]:
    """Return the overrides of a topic by policy, such as {'reliability': 'best_effort'}.

    Raises:
        QosError: an override cannot be used.
    """
    head = override_name(node, topic, entity, '')
    given = {
        name.removeprefix(head): parameter.value
        for name, parameter in node._parameter_overrides.items()  # rclpy has no public API
        if name.startswith(head)
    }
    for policy, value in given.items():
        _check(f'{head}{policy}', policy, value)
    return given


def override_name(node: Node, topic: str, entity: Entity, policy: str) -> str:
    """Return the full name of the parameter."""
    return f'qos_overrides.{node.resolve_topic_name(topic)}.{entity}.{policy}'


def pinned(node: Node, topic: str, entity: Entity, policy: str, default: Any) -> str:
    """Return the override of a policy as `name: value`; '' if there is none or it is the default.

    An override equal to the default is ignored, because `ros2 param dump` writes defaults too.

    Raises:
        QosError: an override cannot be used.
    """
    value = overrides(node, topic, entity).get(policy)
    if value is None or value.lower() == default.name.lower():
        return ''
    return f'{override_name(node, topic, entity, policy)}: {value}'


def _check(name: str, policy: str, value: Any) -> None:
    if policy in _WORDS:
        words = [word.lower() for word in _WORDS[policy].__members__ if word != 'UNKNOWN']
        if str(value).lower() not in words:
            near = difflib.get_close_matches(str(value), words, 1)
            hint = f'; is it {near[0]}?' if near else ''
            raise QosError(f'{name} must be one of {", ".join(words)}, got {value!r}{hint}')
    elif policy == 'depth' and not (type(value) is int and 0 < value < 2**31):
        raise QosError(f'{name} must be a whole number above 0, got {value!r}')
