# SPDX-License-Identifier: Apache-2.0
"""The state of a lifecycle node."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode


def lifecycle_state(node: LifecycleNode) -> str:
    """Return the label of the current state; it is also correct after a failed transition."""
    state: str = node._state_machine.current_state[1]  # rclpy has no public API for this
    return state
