# SPDX-License-Identifier: Apache-2.0
"""Keep the node running after an exception in a callback or service.

In rclpy, an exception in a callback ends the process, and the client of a service that raises waits
forever. With this module, the service responds that it failed, any other callback is abandoned, and
the error is logged in one line.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.service import Service

from depth_perception.errors import named
from depth_perception.ros.node.lifecycle_state import lifecycle_state
from depth_perception.ros.node.throttle import Throttle

#: Seconds to wait after an uncaught exception, so that a repeating one does not use a whole core.
PAUSE = 0.01

Answer = Callable[[Any, Any], Any]


def guard_services(node: LifecycleNode) -> None:
    """Make all services of the node, including rclpy's own, respond even if a callback raises."""
    for service in node.services:
        service.callback = _answering(node, service, service.callback)


def _answering(node: LifecycleNode, service: Service, answer: Answer) -> Answer:
    def call(request: Any, response: Any) -> Any:
        try:
            if isinstance(request, ChangeState.Request) and (no := _no_such(node, request)):
                node.get_logger().warning(no)
                return response
            return answer(request, response)
        except Exception as error:  # the client must get a response
            text = f'{service.srv_name}: {_where(error)}'
            if node.context.ok():
                node.get_logger().error(text)
            return _refusal(service.srv_type, request, text)

    return call


def _no_such(node: LifecycleNode, request: ChangeState.Request) -> str:
    """Return why this transition is not possible in the current state, or ''."""
    machine = node._state_machine  # rclpy has no public API for this
    # Each entry is (id, label, ...); a requested label takes precedence over an id.
    possible = {at[1]: at[0] for at in machine.available_transitions}
    wanted = request.transition
    if wanted.label in possible or (not wanted.label and wanted.id in possible.values()):
        return ''
    labels = {at[0]: at[1] for at in machine.transition_graph}
    known = wanted.label in labels.values() if wanted.label else wanted.id in labels
    # One name may have several ids: shutdown is 5, 6 or 7, depending on the state.
    asked = wanted.label or (f'{labels[wanted.id]} ({wanted.id})' if known else str(wanted.id))
    here = ', '.join(f'{label} ({number})' for label, number in possible.items())
    return (
        f'change_state: {"cannot" if known else "there is no transition"} {asked}'
        f'{"" if known else ","} while {lifecycle_state(node)}: there it can '
        f'{here or "do nothing"}'
    )


def _refusal(kind: Any, request: Any, text: str) -> Any:
    """Return the negative response of a failed service, with the reason."""
    response = kind.Response()  # success is False
    refused = SetParametersResult(successful=False, reason=text)
    if kind is SetParameters:
        response.results = [refused] * len(request.parameters)
    elif kind is SetParametersAtomically:
        response.result = refused
    elif hasattr(response, 'message'):
        response.message = text
    return response


def spin(executor: Executor, node: Node) -> None:
    """Spin the node until ROS is shut down; continue if its callbacks raise exceptions.

    Raises:
        KeyboardInterrupt, ExternalShutdownException: a signal stopped it.
    """
    throttle = Throttle()
    while node.context.ok():
        try:
            executor.spin()
            return
        except (KeyboardInterrupt, ExternalShutdownException):
            raise
        except Exception as error:
            # A signal may shut down the context during any call; this is not an error.
            if not node.context.ok():
                return
            text = f'goes on after an error: {_where(error)}'
            if throttle.allows(text):
                node.get_logger().error(text)
            time.sleep(PAUSE)


def _where(error: BaseException) -> str:
    """Return the error and the line in this package where it occurred."""
    package = Path(__file__).parents[2]
    lines = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if package in Path(frame.filename).parents and frame.filename != __file__
    ]
    at = f' ({Path(lines[-1].filename).name}, line {lines[-1].lineno})' if lines else ''
    return f'{named(error)}{at}'
