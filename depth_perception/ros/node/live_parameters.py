# SPDX-License-Identifier: Apache-2.0
"""The current parameters of a node, which may change while its threads work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_perception.ros.node import parameters
from depth_perception.ros.node.parameters import Settings

Set = Callable[[list[Parameter]], SetParametersResult]


class LiveParameters:
    """Declare a node's parameters, check changes, and hold the current values.

    Attributes:
        settings: in effect, one frozen object that is exchanged as a whole, so that every thread
            may read it.
        remark: where `settings` is not all that was asked for, why; or ''.

    Raises:
        ParameterError: a parameter given at start cannot be used.
    """

    def __init__(self, node: Node) -> None:
        parameters.declare(node)
        self.settings: Settings = parameters.read(node)
        self.remark = ''
        self._asked = self.settings
        self._network_max_depth = math.inf

    def network_loaded(self, max_depth: float) -> None:
        """Set the largest depth of the loaded network, metres.

        Raises:
            ParameterError: the parameters leave nothing of its depth.
        """
        if misfit := self._asked.misfit(max_depth):
            raise parameters.ParameterError(misfit[1])
        self._network_max_depth = max_depth

    def network_gone(self) -> None:
        """Reset the limit of the network, which is no longer loaded."""
        self._network_max_depth = math.inf

    def change(
        self, node: Node, changes: Sequence[Parameter], state: str, set_all: Set
    ) -> SetParametersResult:
        """Change all of these parameters, or none if one is refused.

        Args:
            node: that has them.
            changes: an integer is accepted for a float.
            state: of the node's life cycle.
            set_all: rclpy's own way to set them.
        """
        unknown = [change.name for change in changes if not node.has_parameter(change.name)]
        if unknown:
            return parameters.refusal(f'there is no parameter {unknown[0]!r}')
        try:
            typed = parameters.typed(changes)
            asked = parameters.changed(self._asked, typed, state, self._network_max_depth)
        except parameters.ParameterError as error:
            return parameters.refusal(str(error))
        result = set_all(typed)
        if result.successful:
            self._asked = asked
            self.settings, self.remark = parameters.in_effect(
                asked, self.settings, self._network_max_depth
            )
        return result
