# SPDX-License-Identifier: Apache-2.0
"""Parse the node's parameters, parameter files and remappings without a node."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from depth_perception.errors import UsageError
from depth_perception.reading import read_text
from depth_perception.ros.conversions.topics import INPUTS, OUTPUTS
from depth_perception.ros.node.parameters import (
    DEFAULTS,
    RULES,
    ParameterError,
    Settings,
    check,
)
from depth_perception.ros.start import StartError, is_for, parameter_sections

#: Parameters of every ROS node, and the prefix of QoS overrides; both are ignored here.
_OF_ROS = ('use_sim_time', 'start_type_description_service')
_QOS = 'qos_overrides.'


@dataclass
class NodeArguments:
    """The node's arguments after `--ros-args`.

    Attributes:
        parameters: given values by name; `-p` takes precedence over files.
        remappings: remapped topic names by the node's own topic names.
        namespace: namespace of the node, without the trailing /.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    remappings: dict[str, str] = field(default_factory=dict)
    namespace: str = ''

    def resolve_topic_name(self, topic: str) -> str:
        """Return the full name of a topic, like `rclpy.node.Node`."""
        name = self.remappings.get(topic, topic)
        return name if name.startswith('/') else f'{self.namespace}/{name}'

    def settings(self) -> Settings:
        """Return the parameters of the node.

        Raises:
            UsageError: a value cannot be used.
        """
        ours = {name: value for name, value in self.parameters.items() if name in RULES}
        try:
            for name, value in ours.items():
                check(name, value)
            settings = Settings(
                **{name: type(DEFAULTS[name])(value) for name, value in ours.items()}
            )
        except ParameterError as error:
            raise UsageError(str(error)) from error
        if misfit := settings.misfit():
            raise UsageError(misfit[1])
        return settings

    def unknown(self) -> str:
        """Return one sentence about given parameters that the node does not have, or ''."""
        names = [
            name
            for name in self.parameters
            if name not in RULES and name not in _OF_ROS and not name.startswith(_QOS)
        ]
        near = {name: difflib.get_close_matches(name, RULES, 1, 0.5) for name in names}
        described = (f'{name} (is it {near[name][0]}?)' if near[name] else name for name in names)
        return f'given, but no parameter of the node: {", ".join(described)}' if names else ''


def node_arguments(
    files: Sequence[str], assignments: Sequence[str], rules: Sequence[str]
) -> NodeArguments:
    """Parse the values of `--params-file`, `-p` and `-r`.

    Raises:
        UsageError: an argument cannot be used.
    """
    found = NodeArguments()
    for rule in rules:
        own, separator, name = rule.partition(':=')
        if not separator or not own or not name:
            raise UsageError(
                f'-r {rule}: a remapping is FROM:=TO, such as -r image:=/camera/image_raw'
            )
        if own == '__ns':
            found.namespace = '/' + name.strip('/') if name.strip('/') else ''
        elif own in (*INPUTS, *OUTPUTS):
            found.remappings[own] = name
        elif not own.startswith('__'):
            raise UsageError(
                f'-r {rule}: the node has no topic {own}; it has {", ".join((*INPUTS, *OUTPUTS))}'
            )
    for file in files:
        found.parameters |= _of_file(file, f'{found.namespace}/depth_node')
    found.parameters |= dict(map(_assigned, assignments))
    return found


def _of_file(path: str, node: str) -> dict[str, Any]:
    """Return the parameters for a node in a file."""
    path = str(Path(path).expanduser())
    try:
        sections = parameter_sections(path)
    except StartError as error:
        raise UsageError(str(error)) from error
    if not any(is_for(section, node) for section in sections):
        raise UsageError(f'{path} has parameters for {", ".join(sections)} alone, none for {node}')
    content = yaml.safe_load(read_text(path))
    return dict(
        itertools.chain.from_iterable(
            _flat(values) for section, values in _sections(content, '') if is_for(section, node)
        )
    )


def _sections(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and parameters of each node in a file."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key == 'ros__parameters':
                yield name or '/', value
            else:
                yield from _sections(value, f'{name}/{str(key).strip("/")}')


def _flat(values: Any, head: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the name and value of each parameter; join nested names with dots."""
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{head}{name}.')
        else:
            yield f'{head}{name}', value


def _assigned(text: str) -> tuple[str, Any]:
    """Return the name and value in `NAME:=VALUE`; the value is YAML."""
    name, separator, value = text.partition(':=')
    if not separator or not name or not value:
        raise UsageError(f'-p {text}: a parameter is NAME:=VALUE, such as -p max_depth:=5.0')
    try:
        return name.removeprefix('depth_node:'), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f'-p {text}: the value is no YAML') from error
