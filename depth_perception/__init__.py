# SPDX-License-Identifier: Apache-2.0
"""Metric depth, point clouds and obstacle scans from one RGB camera.

Examples:
    >>> import numpy as np
    >>> from depth_perception import CameraModel, DepthEstimator, depth_products, write_ply
    >>> rgb = np.zeros((240, 320, 3), np.uint8)                       # an RGB image
    >>> camera = CameraModel(320, 240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
    >>> estimator = DepthEstimator.load(device='cpu')                 # the bundled network
    >>> depth = estimator.infer(rgb, camera)                          # metres
    >>> depth.shape, depth.dtype
    ((240, 320), dtype('float32'))
    >>> products = depth_products(rgb, camera, depth)                 # as in the node
    >>> products.points.shape                                         # x right, y down, z forward
    (120, 160, 3)
    >>> products.scan().ranges.ndim                                   # obstacles, metres
    1

Names are imported at their first use, because importing PyTorch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depth_perception.camera.file import read_camera
    from depth_perception.camera.model import CameraModel
    from depth_perception.depth.anchor_sources import (
        depth_anchors,
        point_anchors,
        range_anchors,
        scan_anchors,
    )
    from depth_perception.depth.anchors import AnchoredDepth, AnchorReport, Anchors, anchor_depth
    from depth_perception.depth.floor_anchors import floor_anchors
    from depth_perception.depth.geometry import back_project, mask_edges, mask_range, pack_cloud
    from depth_perception.depth.millimetres import to_millimetres
    from depth_perception.depth.products import (
        DepthProducts,
        DepthScan,
        ProductMaker,
        depth_products,
    )
    from depth_perception.depth.scan import CameraPose, ObstacleBand, scan_layout, scan_ranges
    from depth_perception.depth.settings import DepthSettings
    from depth_perception.depth.visualise import colourise
    from depth_perception.inference.estimator import DepthEstimator
    from depth_perception.io.ply import write_ply
    from depth_perception.io.weights import WeightsInfo, load_weights, save_weights

__version__ = '0.2.0'

__all__ = [
    'AnchorReport',
    'AnchoredDepth',
    'Anchors',
    'CameraModel',
    'CameraPose',
    'DepthEstimator',
    'DepthProducts',
    'DepthScan',
    'DepthSettings',
    'ObstacleBand',
    'ProductMaker',
    'WeightsInfo',
    'anchor_depth',
    'back_project',
    'colourise',
    'depth_anchors',
    'depth_products',
    'floor_anchors',
    'load_weights',
    'mask_edges',
    'mask_range',
    'pack_cloud',
    'point_anchors',
    'range_anchors',
    'read_camera',
    'save_weights',
    'scan_anchors',
    'scan_layout',
    'scan_ranges',
    'to_millimetres',
    'write_ply',
]

_MODULES = {
    'camera.file': ('read_camera',),
    'camera.model': ('CameraModel',),
    'depth.anchors': ('AnchorReport', 'AnchoredDepth', 'Anchors', 'anchor_depth'),
    'depth.anchor_sources': ('depth_anchors', 'point_anchors', 'range_anchors', 'scan_anchors'),
    'depth.floor_anchors': ('floor_anchors',),
    'depth.geometry': ('back_project', 'mask_edges', 'mask_range', 'pack_cloud'),
    'depth.millimetres': ('to_millimetres',),
    'depth.products': ('DepthProducts', 'DepthScan', 'ProductMaker', 'depth_products'),
    'depth.scan': ('CameraPose', 'ObstacleBand', 'scan_layout', 'scan_ranges'),
    'depth.settings': ('DepthSettings',),
    'depth.visualise': ('colourise',),
    'inference.estimator': ('DepthEstimator',),
    'io.ply': ('write_ply',),
    'io.weights': ('WeightsInfo', 'load_weights', 'save_weights'),
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f'depth_perception.{module}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
