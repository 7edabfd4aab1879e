# SPDX-License-Identifier: Apache-2.0
"""Which network the pictures of a folder show: network.json, the weights' checksum by file."""
from __future__ import annotations

import json
from pathlib import Path

from depth_perception.io.files import write_atomically

FILE = 'network.json'


def record(folder: Path, picture: str, checksum: str) -> None:
    """Note that a picture shows the network of that checksum.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: it is no JSON.
    """
    known = {**recorded(folder), picture: checksum}
    text = json.dumps(dict(sorted(known.items())), indent=1) + '\n'
    write_atomically(folder / FILE, [text.encode()])


def recorded(folder: Path) -> dict[str, str]:
    """The checksum of each picture's network."""
    file = folder / FILE
    return json.loads(file.read_text('utf-8')) if file.exists() else {}
