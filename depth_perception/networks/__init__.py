# SPDX-License-Identifier: Apache-2.0
"""Depth networks, created by name."""

from depth_perception.networks import (  # noqa: F401
    cnn,
    cnn_fc,
    cnn_residual,
    cnn_transpose,
    densedepth,
    efficientnet_sff,
    efficientnet_unet,
    fcrn,
    onnx_network,
    resnet_unet,
    resnet_unet_hybrid,
    transformers_network,
)
from depth_perception.networks.registry import (
    create_network,
    loadable_names,
    network_arguments,
    network_names,
)

__all__ = ['create_network', 'loadable_names', 'network_arguments', 'network_names']
