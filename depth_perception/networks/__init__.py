# SPDX-License-Identifier: Apache-2.0
"""Depth networks, created by name."""
from depth_perception.networks import efficientnet_sff, resnet_unet_hybrid  # noqa: F401
from depth_perception.networks.registry import create_network, network_names

__all__ = ['create_network', 'network_names']
