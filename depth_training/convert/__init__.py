# SPDX-License-Identifier: Apache-2.0
"""Weights of others in, weights of ours out."""
from __future__ import annotations

#: What `export` writes.
FORMATS = ('safetensors', 'onnx', 'program')
#: What `import-weights` reads.
KINDS = ('hybrid', 'densedepth', 'sff', 'fcrn', 'encoder')
