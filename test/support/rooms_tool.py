# SPDX-License-Identifier: Apache-2.0
"""Import modules of tools/rooms, which is a folder of scripts, not a package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'rooms'


def load(name: str) -> ModuleType:
    """Import one of the scripts."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOLS))
