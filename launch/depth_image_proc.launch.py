# SPDX-License-Identifier: Apache-2.0
"""Run components of depth_image_proc with the node: they compute clouds from its depth.

    ros2 launch depth_perception depth_image_proc.launch.py image:=/camera/image_raw

An example to copy from, not yet run with those components. The node itself publishes a cloud
(depth/points) without them; use them for what the node lacks: registration to another camera,
intensities, cropping. test/ros/test_image_pipeline_rules.py tests that the node's outputs meet
their requirements. Needs ros-$ROS_DISTRO-depth-image-proc.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import ComposableNodeContainer
from launch_ros.descriptions import ComposableNode

SHARE = Path(__file__).resolve().parents[1]
PACKAGE = 'depth_image_proc'

ARGUMENTS = (
    DeclareLaunchArgument(
        'image',
        default_value='camera/image_raw',
        description='Topic of the camera images: raw, and rectified or from a lens without '
        'distortion, because the coloured cloud takes its colours from them.',
    ),
    DeclareLaunchArgument(
        'namespace',
        default_value='',
        description='Namespace of the nodes and of their relative topics, such as front.',
    ),
    DeclareLaunchArgument(
        'image_queue',
        default_value='30',
        description='Images that the coloured cloud keeps until their depth arrives: more than the '
        "camera's rate times the node's latency in seconds.",
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='false',
        choices=['true', 'false', 'True', 'False'],
        description='Take the time from /clock.',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Return everything that `ros2 launch` starts."""
    depth = PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'depth.launch.py'))
    # The included launch file sees the arguments of this one.
    return LaunchDescription(
        [*ARGUMENTS, IncludeLaunchDescription(depth), OpaqueFunction(function=_components)]
    )


def _components(context: LaunchContext) -> list[Action]:
    from depth_perception.ros.transport import large_image_variables

    given = {
        argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS
    }
    sim_time = {'use_sim_time': given['use_sim_time'].lower() == 'true'}
    return [
        ComposableNodeContainer(
            name='depth_image_proc',
            namespace=given['namespace'],
            package='rclcpp_components',
            executable='component_container',
            output='screen',
            # Large messages such as its clouds get lost with the default settings: docs/dds.md.
            additional_env=large_image_variables(),
            composable_node_descriptions=[
                _cloud(given, sim_time),
                _coloured_cloud(given, sim_time),
            ],
        )
    ]


def _cloud(given: dict[str, str], sim_time: dict[str, bool]) -> ComposableNode:
    # Uses the camera_info that the node publishes with the depth.
    return ComposableNode(
        package=PACKAGE,
        plugin='depth_image_proc::PointCloudXyzNode',
        name='point_cloud_xyz',
        namespace=given['namespace'],
        parameters=[sim_time],
        remappings=[
            ('image_rect', 'depth/image'),
            ('camera_info', 'depth/camera_info'),
            ('points', 'depth_image_proc/points'),
        ],
    )


def _coloured_cloud(given: dict[str, str], sim_time: dict[str, bool]) -> ComposableNode:
    parent, slash, _ = given['image'].rpartition('/')
    # Depth has the stamp of its image, so exact_sync pairs them correctly.
    parameters = {'exact_sync': True, 'queue_size': int(given['image_queue']), **sim_time}
    return ComposableNode(
        package=PACKAGE,
        plugin='depth_image_proc::PointCloudXyzrgbNode',
        name='point_cloud_xyzrgb',
        namespace=given['namespace'],
        parameters=[parameters],
        remappings=[
            ('depth_registered/image_rect', 'depth/image'),
            ('rgb/image_rect_color', given['image']),
            # Jazzy subscribes to camera_info next to the image, Humble to the old name.
            (f'{parent}{slash}camera_info', 'depth/camera_info'),
            ('rgb/camera_info', 'depth/camera_info'),
            ('points', 'depth_image_proc/points_color'),
        ],
    )
