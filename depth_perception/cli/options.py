# SPDX-License-Identifier: Apache-2.0
"""Options that several commands of `depth-perception` share; nothing heavy is imported."""
from __future__ import annotations

import argparse
from pathlib import Path

from depth_perception.inference.backends.names import BACKENDS


class UsageError(ValueError):
    """What was asked for cannot be started; the text says why."""


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare weights, device and precision."""
    parser.add_argument('--model', metavar='FILE', default='',
                        help='weights file (default: the bundled network)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--precision', default='fp16', choices=('fp16', 'bf16', 'fp32'),
                        help='fp16 or bf16: half precision where that is faster (default: '
                        '%(default)s)')


def add_network_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare which network runs where, and the camera of its images."""
    add_model_arguments(parser)
    parser.add_argument('--backend', default='auto', choices=BACKENDS,
                        help='auto: OpenVINO on a CPU where it is installed, otherwise PyTorch; '
                        'compiled: what depth-perception compile has made')
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument('--camera', metavar='FILE', type=Path,
                        help="the camera's calibration: camera_info as YAML, ost.txt, YAML of "
                             'OpenCV or Kalibr, JSON of RealSense or Open3D or with width, height, '
                             'fx, fy, cx, cy; FILE:NAME where a file has several cameras')
    camera.add_argument('--horizontal-fov-deg', metavar='X', type=float,
                        help="the camera's horizontal field of view, where it is all you know")
    parser.add_argument('--rectified', action='store_true',
                        help='the images are rectified already: the camera is P of --camera '
                             '(default: images of a lens that distorts are rectified first)')
