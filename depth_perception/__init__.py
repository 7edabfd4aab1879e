# SPDX-License-Identifier: Apache-2.0
"""Metric depth, point clouds and obstacle scans from one RGB camera."""
