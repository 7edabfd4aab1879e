# SPDX-License-Identifier: Apache-2.0
"""The current parameters of a node, which may change while its threads run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_perception.io.weights import WeightsInfo
from depth_perception.ros.node import parameters
from depth_perception.ros.node.parameters import Settings

Set = Callable[[list[Parameter]], SetParametersResult]


class LiveParameters:
    """Declare a node's parameters, check changes, and hold the current values.

    Attributes:
        settings: the parameters in effect: a frozen object that is replaced as a whole, so that
            any thread may read it.
        remark: why `settings` differs from the requested parameters, or ''.

    Raises:
        ParameterError: a parameter given at start cannot be used.
    """

    def __init__(self, node: Node) -> None:
        parameters.declare(node)
        self.settings: Settings = parameters.read(node)
        self.remark = ''
        self._asked = self.settings
        self._network_max_depth = math.inf
        self._unsure = ''

    def network_loaded(self, info: WeightsInfo) -> None:
        """Check the parameters against the loaded network, and later changes too.

        Raises:
            ParameterError: the parameters exclude the network's whole depth range, or need a
                confidence that it does not give.
        """
        if problem := self._asked.problem_with(info):
            raise parameters.ParameterError(problem)
        self._network_max_depth = info.max_depth
        self._unsure = '' if info.gives_confidence else info.name

    def network_gone(self) -> None:
        """Remove the limits of the network, which is no longer loaded."""
        self._network_max_depth, self._unsure = math.inf, ''

    def change(
        self, node: Node, changes: Sequence[Parameter], state: str, set_all: Set
    ) -> SetParametersResult:
        """Change all of these parameters, or none if one is rejected.

        Args:
            node: the node with the parameters.
            changes: the new values; an integer is accepted for a float.
            state: lifecycle state of the node.
            set_all: rclpy's own function to set them.
        """
        unknown = [change.name for change in changes if not node.has_parameter(change.name)]
        if unknown:
            return parameters.refusal(f'there is no parameter {unknown[0]!r}')
        try:
            typed = parameters.typed(changes)
            asked = parameters.changed(self._asked, typed, state, self._network_max_depth)
        except parameters.ParameterError as error:
            return parameters.refusal(str(error))
        if self._unsure and (problem := asked.without_confidence(self._unsure)):
            return parameters.refusal(problem)
        result = set_all(typed)
        if result.successful:
            self._asked = asked
            self.settings, self.remark = parameters.in_effect(
                asked, self.settings, self._network_max_depth
            )
        return result
