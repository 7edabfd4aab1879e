# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one process: one node and namespace per camera, one shared network.

Each node is spun in its own thread, so that a node that loads a network, waits for a frame to
finish, or fails does not block the others.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger

from depth_perception.inference.sharing import SharedNetworks
from depth_perception.ros.node import guard
from depth_perception.ros.node.depth_node import LOAD, DepthNode
from depth_perception.ros.node.parameters import ParameterError

#: Seconds that the nodes have to finish after ROS is shut down.
LAST_WORD = 2.0


def create_nodes(
    names: Sequence[str],
    namespace: str,
    networks: SharedNetworks | None = None,
    **node_arguments: Any,
) -> list[DepthNode]:
    """Create a node for each camera; log and skip cameras with unusable parameters.

    Args:
        names: names of the cameras, which become namespaces.
        namespace: parent namespace; '' or a name such as '/robot'.
        networks: provides the network of each node.
        node_arguments: passed to rclpy's node.
    """
    networks = networks or SharedNetworks(LOAD)
    nodes = []
    for name in names:
        try:
            # Only an argument of the node itself overrides a __ns rule of the process.
            nodes.append(
                DepthNode(
                    networks.loader(name),
                    cli_args=['--ros-args', '-r', f'__ns:={namespace}/{name}'],
                    **node_arguments,
                )
            )
        except ParameterError as error:
            get_logger('depth_node').fatal(f'camera {name} cannot start: {error}')
    if len(nodes) < len(names):
        gc.collect()  # remove nodes that failed to start from the ROS graph
    return nodes


def spin_all(nodes: Iterable[DepthNode]) -> None:
    """Start and spin each node until ROS is shut down."""
    nodes = list(nodes)
    threads = [
        threading.Thread(target=_spin, args=(node,), name=node.get_namespace(), daemon=True)
        for node in nodes
    ]
    for thread in threads:
        thread.start()
    ended = None
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.1)
        if ended is None and not all(node.context.ok() for node in nodes):
            ended = time.monotonic()
        if ended is not None and time.monotonic() - ended > LAST_WORD:
            return  # a node is still loading its network


def _spin(node: DepthNode) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    executor.create_task(node.autostart)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        guard.spin(executor, node)
