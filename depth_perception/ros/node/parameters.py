# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node: name, default, range, unit, read-only, meaning.

`Settings` is the table, with one field per parameter. Fields about depth and its products are
inherited from `depth.settings.DepthSettings`, which is also used by programs without ROS. The table
is declared in a loop and read into a frozen instance. A change at run time is checked as a whole
before it is accepted.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_perception.depth.settings import OPTIONS, DepthSettings, Option
from depth_perception.inference.backends.choice import BACKENDS
from depth_perception.inference.estimator import PRECISIONS


class ParameterError(ValueError):
    """A parameter value cannot be used; the message names it and the accepted values."""

    #: Exit code of a process that cannot start because of this error.
    exit_code = 1


class RosParameterError(ParameterError):
    """A value cannot be used for a parameter that ROS gives every node."""

    exit_code = 2


@dataclass(frozen=True)
class Rule(Option):
    """The meaning of a parameter and the values it accepts.

    Attributes:
        choices: the accepted values of a string; empty if any string is accepted.
        configured: whether it may be set while the node is configured; if not, it may be set only
            at start and while the node is unconfigured.
        read_only: whether it may be set only at start.
    """

    choices: tuple[str, ...] = ()
    configured: bool = True
    read_only: bool = False


def _parameter(default: Any, text: str, **rule: Any) -> Any:
    return dataclasses.field(default=default, metadata={'rule': Rule(text, **rule)})


@dataclass(frozen=True)
class Settings(DepthSettings):
    """The node's parameters with their defaults, as one consistent set.

    `DepthSettings` contains the parameters about depth and its products.
    """

    model_file: str = _parameter(
        '', 'weights file (.safetensors); empty: the bundled network', configured=False
    )
    device: str = _parameter(
        'auto',
        'where the network runs: auto, cpu, cuda or cuda:N; without a GPU, auto uses the '
        'CPU with a warning and cuda fails',
        configured=False,
    )
    precision: str = _parameter(
        'fp16',
        'number format of the network: fp16 is half precision where that is faster (on a '
        'GPU, and as bfloat16 on a CPU that supports it), otherwise fp32; bf16 is the same with '
        'bfloat16 on a GPU',
        choices=PRECISIONS,
        configured=False,
    )
    backend: str = _parameter(
        'auto',
        'what runs the network: torch, openvino (on a CPU), onnxruntime (a network from an '
        'ONNX file), or auto: openvino on a CPU if it is installed, otherwise torch or onnxruntime',
        choices=BACKENDS,
        configured=False,
    )
    image_sizes: str = _parameter(
        '',
        'image sizes, such as 1280x720,640x480, for which the network is compiled when the '
        'node is configured (OpenVINO); for other sizes it is compiled when their first image '
        'arrives, and images are resized to another size for those seconds',
        configured=False,
    )
    image_transport: str = _parameter(
        'raw',
        'raw subscribes to image, compressed to image/compressed, as image_transport does',
        choices=('raw', 'compressed'),
        configured=False,
    )
    autostart: bool = _parameter(
        True, 'configure and activate at start, without a lifecycle manager', read_only=True
    )
    rectify: str = _parameter(
        'auto',
        'undistort the image first; auto: if camera_info has distortion and the topic is '
        'not named image_rect*',
        choices=('auto', 'on', 'off'),
        configured=False,
    )
    horizontal_fov_deg: float = _parameter(
        0.0,
        "the camera's horizontal field of view in degrees, for a camera without a usable "
        'camera_info; 0 = off',
        low=0,
        high=170,
        configured=False,
    )
    depth_encoding: str = _parameter(
        '32FC1',
        'encoding of depth/image: 32FC1 metres (NaN unknown, +Inf too far, -Inf too '
        'near) or 16UC1 millimetres (0 for all three)',
        choices=('32FC1', '16UC1'),
        configured=False,
    )
    optical_frame: str = _parameter(
        '',
        'frame_id of the outputs, an optical frame (x right, y down, z forward), for a driver '
        'whose images name another; empty: that of the images',
    )
    base_frame: str = _parameter(
        '',
        'frame with z up and its origin on the floor, such as base_footprint: TF from the '
        "image's frame to it gives the camera pose; empty: camera_pitch and camera_height do",
        configured=False,
    )
    scan_frame: str = _parameter(
        '',
        'frame_id of the scan, level and at the camera with x forward; empty: the frame_id of '
        'the image without its "optical" part, or, if base_frame or camera_pitch is set, with '
        '_level, published on TF',
        configured=False,
    )
    anchors: str = _parameter(
        '',
        'what corrects depth by true distances, a list of scan, range, points, depth (sensors '
        'on anchors/scan and so on) and floor (the known height of the camera), such as '
        'scan,floor; empty: nothing',
        configured=False,
    )
    anchor_max_age: float = _parameter(
        0.2,
        'seconds; a measurement whose stamp is farther from that of the image is not used',
        low=0,
        high=10,
    )
    anchor_hold: float = _parameter(
        1.0,
        'seconds in which the last correction fades when there are too few anchors',
        low=0,
        high=60,
    )
    max_rate: float = _parameter(
        0.0, 'Hz; maximum number of frames processed a second; 0 = no limit', low=0, high=120
    )
    max_age: float = _parameter(
        0.5,
        'seconds; a frame whose stamp is older when it is to be processed is dropped; 0 = off',
        low=0,
        high=10,
    )


#: Sources of anchors, which correct depth.
FLOOR = 'floor'
ANCHORS = ('scan', 'range', 'points', 'depth', FLOOR)
#: The lifecycle state in which all parameters except read-only ones can be set.
UNCONFIGURED = 'unconfigured'
#: Descriptions that differ from those in `DepthSettings`.
_OF_NODE = {
    'point_stride': 'depth/points contains every n-th pixel of both axes',
    'point_color': 'depth/points has the field rgb',
    'camera_pitch': f'{OPTIONS["camera_pitch"].text}; not used with base_frame',
    'camera_height': f'{OPTIONS["camera_height"].text}, or with base_frame: taken from TF',
}


def _rule(field: dataclasses.Field[Any]) -> Rule:
    known: Option = field.metadata['rule']
    if isinstance(known, Rule):
        return known
    return Rule(_OF_NODE.get(field.name, known.text), known.low, known.high)


RULES: dict[str, Rule] = {field.name: _rule(field) for field in dataclasses.fields(Settings)}
DEFAULTS: dict[str, Any] = dataclasses.asdict(Settings())


def declare(node: Node) -> None:
    """Declare every parameter on the node with its descriptor and range.

    Raises:
        ParameterError: a value given at start is out of range or of the wrong type.
    """
    for name, rule in RULES.items():
        # Types are checked here and not by rclpy: "max_depth: 5" in a YAML file is an integer, but
        # means 5.0. So are ranges, so that a wrong value at start gives one sentence, no traceback.
        if name in node._parameter_overrides:  # rclpy has no public API for this
            check(name, node._parameter_overrides[name].value)
        given = node.declare_parameter(name, DEFAULTS[name], _descriptor(name, rule)).value
        if type(given) is not type(DEFAULTS[name]):
            Node.set_parameters(node, [Parameter(name, value=_of_type(name, given))])


def read(node: Node) -> Settings:
    """Return the values of the parameters at start.

    Raises:
        ParameterError: two values contradict each other.
    """
    settings = Settings(**{name: node.get_parameter(name).value for name in RULES})
    if misfit := settings.misfit():
        raise ParameterError(misfit[1])
    return settings


def typed(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Return the parameters with integers converted to floats if the node declares a float.

    Raises:
        ParameterError: a value of one of the node's own parameters has the wrong type.
    """
    for parameter in parameters:
        if parameter.name in RULES:
            check_type(parameter.name, parameter.value)
    return [
        Parameter(p.name, value=_of_type(p.name, p.value)) if p.name in RULES else p
        for p in parameters
    ]


def changed(
    asked: Settings,
    parameters: Sequence[Parameter],
    state: str,
    network_max_depth: float = math.inf,
) -> Settings:
    """Return the requested settings after a change; ignore parameters not in `Settings`.

    Two parameters may be set one after the other even if their values contradict each other in
    between; see `in_effect`.

    Args:
        asked: the settings requested so far.
        parameters: the change.
        state: lifecycle state of the node.
        network_max_depth: largest depth of the network, metres.

    Raises:
        ParameterError: a value is out of range or of the wrong type, cannot be changed in this
            state, or contradicts another value in the same change.
    """
    ours = {p.name: p.value for p in parameters if p.name in RULES}
    for name, value in ours.items():
        check(name, value)
        if not RULES[name].configured and state != UNCONFIGURED and value != getattr(asked, name):
            raise ParameterError(
                f'{name} can be set while the node is unconfigured, now it is '
                f'{state}: deactivate it and clean it up first'
            )
    settings = dataclasses.replace(
        asked, **{name: _of_type(name, value) for name, value in ours.items()}
    )
    misfit = settings.misfit(network_max_depth)
    if misfit and set(misfit[0]) <= set(ours):
        raise ParameterError(misfit[1])
    return settings


def in_effect(
    asked: Settings, before: Settings, network_max_depth: float = math.inf
) -> tuple[Settings, str]:
    """Return the settings to use, and a remark if they differ from the requested ones.

    Two parameters that contradict each other both keep their previous values.
    """
    remarks = []
    while misfit := asked.misfit(network_max_depth):
        names, reason = misfit
        kept = {name: getattr(before, name) for name in names}
        remarks.append(
            f'{reason}: until one of them changes, '
            + ' and '.join(f'{name} {value:g}' for name, value in kept.items())
            + ' are used'
        )
        asked = dataclasses.replace(asked, **kept)
    return asked, '; '.join(remarks)


def check(name: str, value: Any) -> None:
    """Raise ParameterError unless the value has the parameter's type and is in its range."""
    rule = RULES[name]
    check_type(name, value)
    if name == 'image_sizes':
        image_sizes(value)
    if name == 'anchors':
        anchor_sources(value)
    if name.endswith('_frame') and re.search(r'^/|\s', value):
        raise ParameterError(
            f'{name} must be a frame of tf2, with no slash before it and no space, got {value!r}'
        )
    if rule.choices and value not in rule.choices:
        raise ParameterError(f'{name} must be one of {", ".join(rule.choices)}, got {value!r}')
    if problem := rule.problem(name, value, type(DEFAULTS[name])):
        raise ParameterError(problem)


def image_sizes(text: str) -> list[tuple[int, int]]:
    """Return (height, width) of each size in a list such as `1280x720,640x480`.

    Raises:
        ParameterError: an entry is not a size.
    """
    sizes = []
    for word in text.split(',') if text else []:
        size = re.fullmatch(r'\s*([1-9]\d{0,4})x([1-9]\d{0,4})\s*', word)
        if size is None:
            raise ParameterError(
                f'image_sizes must be WIDTHxHEIGHT, such as 1280x720,640x480, got {text!r}'
            )
        sizes.append((int(size[2]), int(size[1])))
    return sizes


def anchor_sources(text: str) -> tuple[str, ...]:
    """Return the sources in a list such as `scan,floor`, without duplicates.

    Raises:
        ParameterError: a source is unknown.
    """
    words = [word.strip() for word in text.split(',')] if text.strip() else []
    if unknown := [word for word in words if word not in ANCHORS]:
        raise ParameterError(
            f'anchors must be a list of {", ".join(ANCHORS)}, such as scan,floor, '
            f'got {unknown[0]!r} in {text!r}'
        )
    return tuple(dict.fromkeys(words))


def check_type(name: str, value: Any) -> None:
    """Raise ParameterError unless the value has the parameter's type."""
    rule = RULES[name]
    # An option without limits, to check only the type.
    if problem := Option(rule.text).problem(name, value, type(DEFAULTS[name])):
        hint = (
            f'; YAML takes on and off for booleans: quote them, in a shell twice: '
            f'-p {name}:="\'{"on" if value else "off"}\'"'
            if rule.choices and isinstance(value, bool)
            else ''
        )
        raise ParameterError(problem + hint)


def refusal(reason: str) -> SetParametersResult:
    """Return the result for a rejected change."""
    return SetParametersResult(successful=False, reason=reason)


def _of_type(name: str, value: Any) -> Any:
    return type(DEFAULTS[name])(value)


def _descriptor(name: str, rule: Rule) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=name, description=rule.text, read_only=rule.read_only, dynamic_typing=True
    )
    when = '' if rule.configured else 'at start or while the node is unconfigured'
    which = f'one of {", ".join(rule.choices)}' if rule.choices else ''
    descriptor.additional_constraints = '; '.join(filter(None, (which, when)))
    if rule.low is None or rule.high is None:
        return descriptor
    if isinstance(DEFAULTS[name], float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(rule.low), to_value=float(rule.high))
        ]
    else:
        descriptor.integer_range = [
            IntegerRange(from_value=int(rule.low), to_value=int(rule.high), step=1)
        ]
    return descriptor
