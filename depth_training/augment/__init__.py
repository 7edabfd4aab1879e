# SPDX-License-Identifier: Apache-2.0
"""Augmentation: steps, pipelines and the version for whole batches."""
