# SPDX-License-Identifier: Apache-2.0
"""Cameras: the model, its calibration, the files that describe it."""
