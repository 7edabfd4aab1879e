# SPDX-License-Identifier: Apache-2.0
"""The package as colcon and pip install it; what it needs is in requirements/."""

from __future__ import annotations

import os
import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.develop import develop

NAME = 'depth_perception'
#: colcon build --symlink-install runs a link to this file in a build folder without requirements/.
ROOT = Path(__file__).resolve().parent


class Develop(develop):
    """What colcon build --symlink-install runs: it ignores the interpreter named in setup.cfg."""

    def write_script(self, script_name: str, contents: str, *rest: object) -> None:
        """Start with the interpreter on the PATH, as setup.cfg says for an ordinary build."""
        _, _, body = contents.partition('\n')
        super().write_script(script_name, f'#!/usr/bin/env python3\n{body}', *rest)


def requirements(group: str) -> list[str]:
    """The lines of requirements/GROUP.txt."""
    lines = (ROOT / 'requirements' / f'{group}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version() -> str:
    """`__version__` of the package, which cannot be imported before what it needs is there."""
    text = Path(NAME, '__init__.py').read_text()
    return re.search(r"^__version__ = '(.*)'$", text, re.MULTILINE)[1]


# A sourced ROS 2 brings its OpenCV and cv_bridge: compiled for numpy 1 on most robots, they break
# beside the numpy 2 that PyPI's OpenCV asks for.
OPENCV = [] if 'ROS_DISTRO' in os.environ else requirements('opencv')

setup(
    name=NAME,
    version=version(),
    description='Metric depth, point cloud and obstacle scan from one camera, for ROS 2',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    maintainer='depth_perception developers',
    maintainer_email='depth_perception@example.org',
    packages=find_packages(include=['depth_perception*', 'depth_training*']),
    package_data={
        'depth_perception': ['models/*.json', 'models/*.safetensors', 'py.typed'],
        'depth_perception.ros': ['*.xml'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        (f'share/{NAME}/config', glob('config/*.yaml')),
        (f'share/{NAME}/rviz', glob('rviz/*.rviz')),
        (f'share/{NAME}/docs', glob('docs/*.md')),  # messages name these pages
    ],
    python_requires='>=3.10',
    install_requires=[*requirements('run'), *requirements('replay'), *OPENCV],
    extras_require={
        **{
            group: requirements(group)
            for group in (
                'ros',
                'openvino',
                'heic',
                'hub',
                'onnx',
                'onnx-gpu',
                'demo',
                'train',
                'test',
                'docs',
            )
        },
        'cpu': requirements('openvino'),
        'view': [*requirements('view'), *requirements('openvino')],
    },
    entry_points={
        'console_scripts': [
            'depth_node = depth_perception.ros.node.main:command',
            'replay_bag = depth_perception.ros.replay.replay_bag:command',
            'process_bag = depth_perception.ros.offline.process_bag:command',
            'replay_check = depth_perception.ros.replay.replay_check:command',
            'depth-perception = depth_perception.cli.main:main',
        ],
    },
    cmdclass={'develop': Develop},
    zip_safe=False,
)
