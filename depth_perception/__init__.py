# SPDX-License-Identifier: Apache-2.0
"""Metric depth, point clouds and obstacle scans from one RGB camera."""

__version__ = '0.1.0'
