# SPDX-License-Identifier: Apache-2.0
"""Marks of tests that need a GPU: `pytest -m cuda` runs them alone, as scripts/gpu_session does."""

from __future__ import annotations

import pytest
import torch

cuda_only = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device here')
#: For tests of both: `cpu`, and `cuda` if there is a GPU.
DEVICES = ('cpu', pytest.param('cuda', marks=cuda_only))
