# SPDX-License-Identifier: Apache-2.0
"""Names of the backends, for command lines; imports nothing heavy."""

from __future__ import annotations

BACKENDS = ('auto', 'torch', 'openvino', 'onnxruntime')


class BackendError(RuntimeError):
    """A backend cannot be used; the message says why and what to do."""
