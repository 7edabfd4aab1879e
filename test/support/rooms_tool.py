# SPDX-License-Identifier: Apache-2.0
"""Modules of tools/rooms, which is a folder of scripts and no package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'rooms'


def load(name: str) -> ModuleType:
    """Import one of them."""
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOLS))
