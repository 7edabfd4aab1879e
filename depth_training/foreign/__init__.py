# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other projects: how each names its tensors."""
