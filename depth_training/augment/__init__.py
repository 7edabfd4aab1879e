# SPDX-License-Identifier: Apache-2.0
"""Augmentation: random steps, pipelines of them, and a version for batches on a GPU."""
