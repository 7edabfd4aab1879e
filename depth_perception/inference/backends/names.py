# SPDX-License-Identifier: Apache-2.0
"""The backends by name, for command lines: nothing heavy is imported."""
from __future__ import annotations

BACKENDS = ('auto', 'torch', 'openvino')


class BackendError(RuntimeError):
    """A backend that cannot be used; the text says why and what would help."""
