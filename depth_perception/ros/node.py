# SPDX-License-Identifier: Apache-2.0
"""The process `depth_node`: starts, spins, and ends quietly.

    ros2 run depth_perception depth_node --ros-args -r image:=/camera/image_raw
"""
from __future__ import annotations

import sys

from depth_perception.ros.process import ignore_signals, quit_at_once_on_signals
from depth_perception.ros.transport import prefer_large_shared_memory


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 0 then, 1 if it cannot start."""
    quit_at_once_on_signals()
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from depth_perception.ros.depth_node import DepthNode
    from depth_perception.ros.parameters import ParameterError

    prefer_large_shared_memory()
    rclpy.init(args=arguments)
    node = None
    try:
        node = DepthNode()
        executor = rclpy.executors.SingleThreadedExecutor()
        executor.add_node(node)
        node.autostart()
        executor.spin()
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
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
