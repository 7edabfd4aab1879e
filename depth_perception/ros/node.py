# SPDX-License-Identifier: Apache-2.0
"""The process `depth_node`: starts, spins, and ends quietly.

    ros2 run depth_perception depth_node --ros-args -r image:=/camera/image_raw
    ros2 run depth_perception depth_node --cameras front,rear
"""
from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from depth_perception.extras import explains_missing
from depth_perception.ros.arguments import parser, process_namespace, without_ros_arguments
from depth_perception.ros.process import (
    ignore_signals,
    leave_signals_to_ros,
    quit_at_once_on_signals,
)
from depth_perception.ros.transport import prefer_large_shared_memory
from depth_perception.threads import share_the_cores

if TYPE_CHECKING:
    from depth_perception.ros.depth_node import DepthNode


@explains_missing('depth_node')
def main(arguments: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 then, 1 if no node can start, 2 for wrong usage."""
    quit_at_once_on_signals()
    share_the_cores()
    words = [sys.argv[0], *arguments] if arguments is not None else sys.argv
    cameras = parser().parse_args(without_ros_arguments(words[1:])).cameras
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from depth_perception.ros.depth_node import DepthNode
    from depth_perception.ros.parameters import ParameterError
    from depth_perception.ros.several_cameras import create_nodes, spin_all

    prefer_large_shared_memory()
    rclpy.init(args=words)
    nodes: list[DepthNode] = []
    try:
        if cameras:
            nodes += create_nodes(cameras, process_namespace(words))
            leave_signals_to_ros()
            spin_all(nodes)
            return 0 if nodes else 1
        nodes.append(DepthNode())
        _spin(nodes[0])
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except ParameterError as error:
        rclpy.logging.get_logger('depth_node').fatal(f'cannot start: {error}')
        return 1
    except Exception:
        # A signal may end the context in the middle of any call; that is no error.
        if rclpy.ok():
            raise
    finally:
        ignore_signals()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin(node: DepthNode) -> None:
    from rclpy.executors import SingleThreadedExecutor

    from depth_perception.ros import guard

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.autostart()
    leave_signals_to_ros()
    guard.spin(executor, node)


if __name__ == '__main__':
    sys.exit(main())
