# SPDX-License-Identifier: Apache-2.0
"""Weights of others in, weights of ours out."""
