# SPDX-License-Identifier: Apache-2.0
"""Protocols, metrics, baselines and pictures to judge a network by."""
