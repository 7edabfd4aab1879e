# SPDX-License-Identifier: Apache-2.0
"""Read the project's PLY files, with a strict check of the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_TYPES = {'float': '<f4', 'uchar': 'u1'}


def read_ply(path: Path) -> np.ndarray:
    """Return the vertices as a structured array."""
    header, _, body = path.read_bytes().partition(b'end_header\n')
    lines = header.decode('ascii').splitlines()
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    count = next(int(line.split()[2]) for line in lines if line.startswith('element vertex'))
    properties = [line.split()[1:] for line in lines if line.startswith('property')]
    dtype = np.dtype([(name, _TYPES[kind]) for kind, name in properties])
    assert len(body) == count * dtype.itemsize
    return np.frombuffer(body, dtype)
