# SPDX-License-Identifier: Apache-2.0
"""Record in network.json which network, by its weights' checksum, each image of a folder shows."""

from __future__ import annotations

import json
from pathlib import Path

from depth_perception.io.files import write_atomically
from depth_perception.reading import read_text

FILE = 'network.json'


def record(folder: Path, picture: str, checksum: str) -> None:
    """Record that an image shows the network with that checksum.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is not JSON.
    """
    known = {**recorded(folder), picture: checksum}
    text = json.dumps(dict(sorted(known.items())), indent=1) + '\n'
    write_atomically(folder / FILE, [text.encode()])


def recorded(folder: Path) -> dict[str, str]:
    """Return the checksum of each image's network."""
    file = folder / FILE
    return json.loads(read_text(file)) if file.exists() else {}
