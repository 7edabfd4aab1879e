# SPDX-License-Identifier: Apache-2.0
"""Options shared by several commands of `depth-perception`; the imports are cheap."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_perception.depth.settings import (
    DEFAULTS,
    OPTIONS,
    DepthSettings,
    SettingError,
    check,
)
from depth_perception.errors import UsageError
from depth_perception.inference.backends.names import BACKENDS

if TYPE_CHECKING:
    from depth_perception.io.weights import WeightsInfo

#: Largest side of an image, pixels.
MOST_PIXELS = 1 << 14


def image_size(text: str) -> tuple[int, int]:
    """Return (width, height) of a size such as `640x480`, for an option of argparse."""
    parts = text.lower().split('x')
    if len(parts) != 2 or not all(
        part.isdecimal() and 0 < int(part) <= MOST_PIXELS for part in parts
    ):
        raise argparse.ArgumentTypeError(
            f'must be WIDTHxHEIGHT in pixels, such as 640x480, got {text}'
        )
    return int(parts[0]), int(parts[1])


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare weights, device and precision."""
    parser.add_argument(
        '--model', metavar='FILE', default='', help='weights file (default: the bundled network)'
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--precision',
        default='fp16',
        choices=('fp16', 'bf16', 'fp32'),
        help='fp16 or bf16: half precision where that is faster (default: %(default)s)',
    )


def add_backend_argument(parser: argparse._ActionsContainer) -> None:
    """Declare the backend."""
    parser.add_argument(
        '--backend',
        default='auto',
        choices=BACKENDS,
        help='auto: OpenVINO on a CPU where it is installed, otherwise PyTorch, or onnxruntime '
        'for a network from an ONNX file',
    )


def add_network_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the network, its device, and the camera of the images."""
    add_model_arguments(parser)
    add_backend_argument(parser)
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument(
        '--camera',
        metavar='FILE',
        type=Path,
        help="the camera's calibration: camera_info as YAML, ost.txt, YAML of "
        'OpenCV or Kalibr, JSON of RealSense or Open3D or with width, height, '
        'fx, fy, cx, cy; FILE:NAME if a file has several cameras',
    )
    camera.add_argument(
        '--horizontal-fov-deg',
        metavar='X',
        type=float,
        help="the camera's horizontal field of view, if there is no calibration",
    )
    parser.add_argument(
        '--rectified',
        action='store_true',
        help='the images are rectified already: their camera is the P of --camera '
        '(default: images of a lens that distorts are rectified first)',
    )


def add_depth_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare an option per field of `DepthSettings`, with the node's name, default and limits."""
    for name, rule in OPTIONS.items():
        option, default, text = '--' + name.replace('_', '-'), DEFAULTS[name], rule.text
        # None means "not given", which is different from explicitly giving the default.
        if isinstance(default, bool):
            parser.add_argument(
                option,
                action=argparse.BooleanOptionalAction,
                default=None,
                help=f'{text} (default: {"on" if default else "off"})',
            )
        else:
            parser.add_argument(
                option,
                type=_setting(name),
                default=None,
                metavar='X',
                help=f'{text} ({rule.low:g} to {rule.high:g}, default: {default:g})',
            )


def depth_settings(options: argparse.Namespace) -> DepthSettings:
    """Return the settings of the parsed options.

    Raises:
        UsageError: two settings contradict each other.
    """
    given = {name: value for name in OPTIONS if (value := getattr(options, name)) is not None}
    settings = DepthSettings(**given)
    if misfit := settings.misfit():
        raise UsageError(misfit[1])
    return settings


def check_limits(settings: DepthSettings, network: WeightsInfo) -> None:
    """Refuse settings that would mask all depth of a network, or need what it does not give.

    Raises:
        UsageError: the limits and the network's range do not overlap, or it has no confidence.
    """
    if problem := settings.problem_with(network):
        raise UsageError(problem)


def _setting(name: str) -> Callable[[str], Any]:
    """Return a parser for an option's text; argparse prefixes errors with the option's name."""
    kind = type(DEFAULTS[name])

    def read(text: str) -> Any:
        try:
            value = kind(text)
            check(name, value)
        except SettingError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f'{name} must be of type {kind.__name__}, got {text!r}'
            ) from error
        return value

    return read
