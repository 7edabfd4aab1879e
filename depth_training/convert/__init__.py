# SPDX-License-Identifier: Apache-2.0
"""Import other projects' weights and export this project's."""

from __future__ import annotations

#: Output formats of `export`.
FORMATS = ('safetensors', 'onnx', 'program')
#: Kinds of checkpoints for `import-weights`.
KINDS = ('hybrid', 'densedepth', 'sff', 'fcrn', 'encoder')
