# SPDX-License-Identifier: Apache-2.0
"""Augmentation: random steps, pipelines of them, batches on a GPU, and mixed features."""
