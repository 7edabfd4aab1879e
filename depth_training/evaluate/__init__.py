# SPDX-License-Identifier: Apache-2.0
"""Evaluation of networks: protocols, metrics, baselines and comparison images."""
