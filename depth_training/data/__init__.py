# SPDX-License-Identifier: Apache-2.0
"""Readers of RGB-D data."""

from depth_training.data.dataset import DepthDataset, Part, evenly, every, good_samples
from depth_training.data.open import open_dataset
from depth_training.data.sample import DataError, Sample

__all__ = [
    'DataError',
    'DepthDataset',
    'Part',
    'Sample',
    'evenly',
    'every',
    'good_samples',
    'open_dataset',
]
