# SPDX-License-Identifier: Apache-2.0
"""The process `depth_node`: create the nodes, spin them, and exit cleanly.

ros2 run depth_perception depth_node --ros-args -r image:=/camera/image_raw
ros2 run depth_perception depth_node --cameras front,rear
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from depth_perception.extras import explains_missing
from depth_perception.inference.threads import share_the_cores
from depth_perception.ros.arguments import parser, process_namespace, without_ros_arguments
from depth_perception.ros.process import (
    ignore_signals,
    leave,
    leave_signals_to_ros,
    quit_at_once_on_signals,
)
from depth_perception.ros.start import WRONG_USAGE, StartError, enter_ros, plain
from depth_perception.ros.transport import prefer_large_shared_memory

if TYPE_CHECKING:
    from depth_perception.ros.node.depth_node import DepthNode


@explains_missing('depth_node')
def main(arguments: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; return 0, 1 if no node can start, or 2 for wrong usage."""
    quit_at_once_on_signals()
    share_the_cores()
    words = [sys.argv[0], *arguments] if arguments is not None else sys.argv
    cameras = parser().parse_args(without_ros_arguments(words[1:])).cameras
    prefer_large_shared_memory()
    try:
        words = enter_ros(words)
    except StartError as error:
        sys.stderr.write(f'depth_node: cannot start: {error}\n')
        return WRONG_USAGE
    return _serve(words, cameras)


def _serve(words: list[str], cameras: tuple[str, ...]) -> int:
    """Run the nodes until a signal, and return the exit code."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from depth_perception.ros.node.depth_node import DepthNode
    from depth_perception.ros.node.parameters import ParameterError
    from depth_perception.ros.node.several_cameras import create_nodes, spin_all

    nodes: list[DepthNode] = []
    try:
        nodes += create_nodes(cameras, process_namespace(words)) if cameras else [DepthNode()]
        _tell_unused_files(words, nodes)
        if not cameras:
            _spin(nodes[0])
            return 0
        leave_signals_to_ros()
        spin_all(nodes)
        return 0 if nodes else 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except ParameterError as error:
        return _cannot_start(str(error), error.exit_code)
    except Exception as error:
        # A signal may shut down the context during any call; this is not an error.
        if not rclpy.ok():
            return 0
        if nodes or 'rclpy' not in type(error).__module__:
            raise
        return _cannot_start(plain(error), WRONG_USAGE)  # middleware: domain or profile
    finally:
        ignore_signals()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()


def _cannot_start(why: str, code: int) -> int:
    import rclpy

    rclpy.logging.get_logger('depth_node').fatal(f'cannot start: {why}')
    return code


def _tell_unused_files(words: list[str], nodes: list[DepthNode]) -> None:
    from depth_perception.ros.node.unused import unused_files

    for remark in unused_files(words, nodes) if nodes else ():
        nodes[0].get_logger().warning(remark)


def _spin(node: DepthNode) -> None:
    from rclpy.executors import SingleThreadedExecutor

    from depth_perception.ros.node import guard

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.autostart()
    leave_signals_to_ros()
    guard.spin(executor, node)


def command() -> None:
    """Run `main` and exit; entry point of the installed `depth_node`."""
    leave(main())


if __name__ == '__main__':
    command()
