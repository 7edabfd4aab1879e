# SPDX-License-Identifier: Apache-2.0
"""Depth networks, created by name."""

from depth_perception.networks.registry import (
    create_network,
    loadable_names,
    network_arguments,
    network_names,
)

__all__ = ['create_network', 'loadable_names', 'network_arguments', 'network_names']
