# SPDX-License-Identifier: Apache-2.0
"""Files of a rendered room: always complete or absent, with checksums."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import resource
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

CHECKSUMS = 'SHA256SUMS'
CAMERAS = 'cameras.csv'
INSTALL = 'use the Python of the environment that tools/rooms/README.md installs'
MODELS = 'models.json'  # names, creators and licences of the models in a room, if there are any


def need(*packages: str) -> None:
    """End with a sentence if this Python lacks one of the packages."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        sys.exit(f'{sys.executable} has no {", ".join(missing)}: {INSTALL}')


def positive(text: str) -> int:
    """Convert an option that counts something."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f'{count} is not 1 or more')
    return count


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new."""
    part = path.with_name(path.name + '.part')
    part.write_bytes(content)
    os.replace(part, path)


def rgb_name(index: int) -> str:
    """Return the name of a picture."""
    return f'rgb_{index:05d}.jpg'


def depth_name(index: int) -> str:
    """Return the name of a depth image."""
    return f'depth_{index:05d}.png'


def read_cameras(folder: Path) -> dict[int, list[str]]:
    """Return the lines of `cameras.csv` by index, for the views whose two images exist."""
    path = folder / CAMERAS
    if not path.exists():
        return {}
    with path.open(newline='') as lines:
        rows = {int(row[0]): row for row in list(csv.reader(lines))[1:]}
    return {index: row for index, row in rows.items() if has_images(folder, index)}


def has_images(folder: Path, index: int) -> bool:
    """Tell whether the picture and the depth image of a view exist."""
    return (folder / rgb_name(index)).exists() and (folder / depth_name(index)).exists()


def read_models(folder: Path) -> list[dict[str, str]]:
    """Return what `models.json` says about the models in a room; nothing if there are none."""
    path = folder / MODELS
    return json.loads(path.read_text()) if path.exists() else []


def write_cameras(folder: Path, columns: Iterable[str], rows: dict[int, list[str]]) -> None:
    """Write `cameras.csv`, ordered by index."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(columns)
    writer.writerows(rows[index] for index in sorted(rows))
    write_whole(folder / CAMERAS, text.getvalue().encode())


def limit_cpu(seconds: int | None) -> None:
    """Limit the processor time of this process, which does not count pauses."""
    if seconds:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS` of the listed views, for `sha256sum -c`; it marks a room as done."""
    names = [CAMERAS, *([MODELS] if (folder / MODELS).exists() else [])]
    for index in sorted(read_cameras(folder)):
        names += [rgb_name(index), depth_name(index)]
    lines = [f'{sha256(folder / name)}  {name}\n' for name in names]
    write_whole(folder / CHECKSUMS, ''.join(lines).encode())
