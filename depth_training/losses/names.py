# SPDX-License-Identifier: Apache-2.0
"""The names of the losses: without PyTorch for the options, without their packages for recipes."""

from __future__ import annotations

from typing import Literal

#: Functions of `depth_training.losses.losses`.
LossName = Literal[
    'mse',
    'l1',
    'berhu',
    'silog',
    'silog_gradient',
    'log_l1_gradient',
    'abs_rel_gradient',
    'densedepth',
]
