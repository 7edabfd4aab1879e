# SPDX-License-Identifier: Apache-2.0
"""The furniture catalogue of the Debian package `sweethome3d-furniture`: names, sizes, licences.

An archive (`*.sh3f`) is a ZIP file with OBJ models and `PluginFurnitureCatalog.properties`, where
`width#7=90.5` is the width in centimetres of the seventh model. Here lengths are in metres.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PACKAGE = 'sweethome3d-furniture'
FOLDER = Path('/usr/share/sweethome3d/furniture')
VARIABLE = 'ROOMS_FURNITURE'  # names another folder; empty: no models
PROPERTIES = 'PluginFurnitureCatalog.properties'
ABSENT = (
    f'no furniture models in {{folder}}: rooms are made without them; '
    f'to get them, run: sudo apt-get install {PACKAGE}'
)
LICENCES = (  # words of the catalogue's licence, SPDX name
    ('public domain', 'CC0-1.0'),
    ('cc0', 'CC0-1.0'),
    ('attribution 3.0 united states', 'CC-BY-3.0-US'),
    ('attribution 3.0', 'CC-BY-3.0'),
)
ENTRY = re.compile(r'(\w+)#(\d+)\s*=\s*(.*)')
HEADER = re.compile(r'(\w+)\s*=\s*(.*)')


class CatalogueError(ValueError):
    """An archive of furniture cannot be used; the message says why."""


@dataclass(frozen=True)
class LightSource:
    """A light in a model: position in shares of width, depth (from the back) and height."""

    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Model:
    """An entry of the catalogue; lengths in metres.

    Attributes:
        key: unique name, such as `Scopia#bed1`.
        stem: its last part, such as `bed1`.
        name: what it is, in English.
        archive, path: where its OBJ file is.
        size: width, depth and height.
        elevation: of its lower end above the floor, for what hangs on a wall.
        top: height on which things can be put, or None.
        rotation: 3 x 3 matrix (row by row) that turns the file's axes, x right, y up, z front.
        opening: whether it is a door or a window.
        staircase: whether it needs a hole in the ceiling.
    """

    key: str
    name: str
    category: str
    creator: str
    licence: str
    archive: Path
    path: str
    size: tuple[float, float, float]
    elevation: float = 0.0
    top: float | None = None
    rotation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    movable: bool = True
    opening: bool = False
    staircase: bool = False
    lights: tuple[LightSource, ...] = ()

    @property
    def stem(self) -> str:
        """The name of the file without folder and ending."""
        return Path(self.path).stem

    def light_places(self) -> list[tuple[float, float, float]]:
        """Return where the lights are, with the axes of `mesh.Thing`."""
        width, depth, height = self.size
        return [
            ((0.5 - light.x) * width, (light.y - 0.5) * depth, light.z * height)
            for light in self.lights
        ]


@dataclass(frozen=True)
class Catalogue:
    """All models of the installed archives."""

    models: dict[str, Model]

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each archive by name."""
        archives = {model.archive for model in self.models.values()}
        return {
            archive.name: hashlib.sha256(archive.read_bytes()).hexdigest()
            for archive in sorted(archives)
        }

    def named(self, stems: Iterable[str]) -> list[Model]:
        """Return the models with these file names, `Archive/name` for one of several."""
        wanted = set(stems)
        return [
            model
            for model in self.models.values()
            if model.stem in wanted or f'{model.archive.stem}/{model.stem}' in wanted
        ]


def folder_of_models() -> Path | None:
    """Return the folder that the environment or the package gives, None if it is to be ignored."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    return FOLDER


@functools.cache
def installed() -> Catalogue | None:
    """Return the installed catalogue; say how to get it, and return None, if there is none."""
    folder = folder_of_models()
    if folder is None:
        return None
    archives = sorted(folder.glob('*.sh3f'))
    if not archives:
        print(ABSENT.format(folder=folder), file=sys.stderr, flush=True)
        return None
    return load(archives)


def load(archives: Iterable[Path]) -> Catalogue:
    """Read the catalogues of these archives.

    Raises:
        CatalogueError: an archive is damaged, or its licence is unknown.
    """
    models: dict[str, Model] = {}
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as files:
                text = files.read(PROPERTIES).decode('latin-1')
                present = set(files.namelist())
        except (OSError, KeyError, zipfile.BadZipFile) as reason:
            raise CatalogueError(f'{archive} is no furniture archive: {reason}') from reason
        for model in parse(text, archive):
            if model.path in present:
                models[model.key] = model
    return Catalogue(models)


def parse(text: str, archive: Path) -> list[Model]:
    """Return the models that the properties of an archive describe.

    Raises:
        CatalogueError: the licence is unknown, or a size is missing or no number.
    """
    header: dict[str, str] = {}
    entries: dict[int, dict[str, str]] = defaultdict(dict)
    for line in text.splitlines():
        if found := ENTRY.match(line):
            entries[int(found[2])][found[1]] = unescape(found[3].strip())
        elif found := HEADER.match(line):
            header[found[1]] = unescape(found[2].strip())
    licence = spdx(header.get('license', ''), archive)
    try:
        return [model_of(entry, archive, licence) for _, entry in sorted(entries.items())]
    except (KeyError, ValueError) as reason:
        raise CatalogueError(f'{archive}: an entry of the catalogue lacks {reason}') from reason


def spdx(words: str, archive: Path) -> str:
    """Return the SPDX name of a licence.

    Raises:
        CatalogueError: it is unknown.
    """
    for known, name in LICENCES:
        if known in words.lower():
            return name
    raise CatalogueError(f'{archive}: unknown licence {words!r}; only CC0 and CC-BY are used')


def unescape(text: str) -> str:
    """Resolve the escapes of a properties file."""
    return re.sub(r'\\u([0-9a-fA-F]{4})', lambda found: chr(int(found[1], 16)), text)


def model_of(entry: dict[str, str], archive: Path, licence: str) -> Model:
    """Return the model of one entry."""
    metres = {
        name: float(entry[name]) / 100
        for name in ('width', 'depth', 'height', 'elevation', 'dropOnTopElevation')
        if name in entry
    }
    height, top = metres['height'], metres.get('dropOnTopElevation')
    if top is None:
        top = height
    rotation = tuple(map(float, entry.get('modelRotation', '1 0 0 0 1 0 0 0 1').split()))
    return Model(
        key=entry.get('id') or f'{archive.stem}#{entry["model"]}',
        name=entry['name'],
        category=entry.get('category', ''),
        creator=entry.get('creator', 'unknown'),
        licence=licence,
        archive=archive,
        path=entry['model'].lstrip('/'),
        size=(metres['width'], metres['depth'], height),
        elevation=metres.get('elevation', 0.0),
        top=top if top > 0 else None,
        rotation=rotation,
        movable=entry.get('movable') != 'false',
        opening=entry.get('doorOrWindow') == 'true',
        staircase='staircaseCutOutShape' in entry,
        lights=light_sources(entry),
    )


def light_sources(entry: dict[str, str]) -> tuple[LightSource, ...]:
    """Return the lights of a lamp."""
    names = ('lightSourceX', 'lightSourceY', 'lightSourceZ')
    places = [[float(value) for value in entry.get(name, '').split()] for name in names]
    width, depth, height = (float(entry[name]) for name in ('width', 'depth', 'height'))
    return tuple(LightSource(x / width, y / depth, z / height) for x, y, z in zip(*places))


def attribution(models: Iterable[Model]) -> list[dict[str, str]]:
    """Return what a licence asks to be said about each of these models."""
    listed = sorted(set(models), key=lambda model: model.key)
    return [
        {
            'model': model.key,
            'name': model.name,
            'creator': model.creator,
            'licence': model.licence,
        }
        for model in listed
    ]
