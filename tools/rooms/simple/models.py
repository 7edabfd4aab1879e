# SPDX-License-Identifier: Apache-2.0
"""The meshes of catalogue models: OBJ files at their true size, with the axes of `mesh.Thing`.

Reading a model takes up to a second, so it is stored in a cache folder (`ROOMS_CACHE`, or
`~/.cache/rooms`); the cache may be deleted at any time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import posixpath
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from simple.catalogue import Model

FORMAT = 5  # of the cache
CELL = 0.02  # metres, of the map of heights
AXES = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # x right, y up, z front
MOST_TEXELS = 512
METALS = ('metal', 'chrom', 'steel', 'inox', 'alu', 'iron', 'brass', 'gold', 'silver')
COLOURS = (0.15, 0.92)  # the darkest and lightest that real surfaces have
CLEAR = 0.75  # opacity below which a surface is glass


@dataclass(frozen=True)
class Surface:
    """A material of a model: sRGB colour, texture file, and Principled parameters."""

    name: str
    colour: tuple[float, float, float] = (0.6, 0.6, 0.6)
    texture: str | None = None
    roughness: float = 0.5
    metallic: float = 0.0
    specular: float = 0.5
    opacity: float = 1.0
    cutout: bool = False

    @property
    def glass(self) -> bool:
        """Whether one sees through it."""
        return self.opacity < CLEAR and not self.cutout


@dataclass(frozen=True)
class Shape:
    """The mesh of a model in metres, its back to -y, the centre of its footprint at the origin.

    Attributes:
        vertices: (N, 3).
        faces: triangles (M, 3).
        uv: texture coordinates (M, 3, 2).
        slots: index in `surfaces` of every triangle (M,).
        heights: highest point above cells of `CELL` metres (rows along y, columns along x) from
            the lowest corner of the footprint, 0 where there is nothing.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    slots: np.ndarray
    surfaces: tuple[Surface, ...]
    heights: np.ndarray

    def cells(self, left: float, right: float, back: float, front: float) -> np.ndarray:
        """Return the heights within a rectangle of the footprint, in metres from its centre."""
        low = self.vertices.min(axis=0)[:2]
        rows, columns = self.heights.shape
        j0, j1 = (round((x - low[0]) / CELL) for x in (left, right))
        i0, i1 = (round((y - low[1]) / CELL) for y in (back, front))
        return self.heights[
            max(i0, 0) : min(max(i1, i0 + 1), rows), max(j0, 0) : min(max(j1, j0 + 1), columns)
        ]


def cache_folder() -> Path:
    """Return the folder of read models."""
    return Path(os.environ.get('ROOMS_CACHE') or Path.home() / '.cache' / 'rooms')


@functools.cache
def shape(model: Model) -> Shape:
    """Return the mesh of a model, from the cache if it has been read before."""
    entry = replace(model, archive=Path(model.archive.name))
    name = f'{FORMAT}:{model.archive.stat().st_size}:{entry}'
    folder = cache_folder() / hashlib.sha256(name.encode()).hexdigest()[:24]
    if not (folder / 'shape.npz').exists():
        store(read(model, folder), folder)
    return restore(folder)


def store(made: Shape, folder: Path) -> None:
    """Write a shape next to its textures; the file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f'shape.{os.getpid()}.npz'
    surfaces = json.dumps([vars(surface) for surface in made.surfaces])
    arrays = {name: getattr(made, name) for name in ('vertices', 'faces', 'uv', 'slots', 'heights')}
    np.savez(part, surfaces=np.frombuffer(surfaces.encode(), np.uint8), **arrays)
    os.replace(part, folder / 'shape.npz')


def restore(folder: Path) -> Shape:
    """Read a stored shape; its textures get their full names."""
    with np.load(folder / 'shape.npz') as stored:
        arrays = {name: stored[name] for name in stored.files}
    surfaces = []
    for entry in json.loads(arrays.pop('surfaces').tobytes()):
        entry['colour'] = tuple(entry['colour'])
        entry['texture'] = str(folder / entry['texture']) if entry['texture'] else None
        surfaces.append(Surface(**entry))
    return Shape(**arrays, surfaces=tuple(surfaces))


def read(model: Model, folder: Path) -> Shape:
    """Read the OBJ file of a model; write its textures to `folder`.

    Raises:
        ValueError: the file has no faces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(model.archive) as files:
        content = read_obj(files.read(model.path).decode('utf-8', 'replace'))
        beside = posixpath.dirname(model.path)
        surfaces: dict[str, Surface] = {}
        for library in content.libraries:
            path = posixpath.normpath(posixpath.join(beside, library))
            if path in files.namelist():
                text = files.read(path).decode('utf-8', 'replace')
                surfaces.update(read_mtl(text, files, posixpath.dirname(path), folder))
    if not len(content.faces):
        raise ValueError(f'{model.key}: {model.path} has no faces')
    used = np.unique(content.faces)
    vertices = true_size(content.vertices[used], model)
    faces = np.searchsorted(used, content.faces)
    listed = tuple(surfaces.get(name, Surface(name)) for name in content.names)
    faces_uv = content.uv.astype(np.float32)
    heights = height_map(vertices, faces)
    return Shape(vertices, faces, faces_uv, content.slots, listed, heights)


def true_size(vertices: np.ndarray, model: Model) -> np.ndarray:
    """Turn a model upright and give it the size of the catalogue, standing on z = 0."""
    turned = vertices @ np.array(model.rotation).reshape(3, 3).T @ AXES.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    scale = np.array(model.size) / np.maximum(high - low, 1e-9)
    centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return ((turned - centre) * scale).astype(np.float32)


def height_map(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the highest point above every cell of the footprint."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    columns, rows = np.maximum(np.ceil((high - low)[:2] / CELL).astype(int), 1)
    heights = np.zeros((rows, columns), np.float32)
    for points in samples(vertices[faces]):
        at = np.floor((points[:, :2] - low[:2]) / CELL).astype(int)
        index = np.clip(at[:, 1], 0, rows - 1), np.clip(at[:, 0], 0, columns - 1)
        np.maximum.at(heights, index, points[:, 2])
    return heights


def samples(corners: np.ndarray) -> list[np.ndarray]:
    """Return points on triangles (M, 3, 3), closer to each other than a cell."""
    flat = corners[..., :2]
    longest = np.max(np.linalg.norm(flat - np.roll(flat, 1, axis=1), axis=2), axis=1)
    steps = np.clip(np.ceil(longest / (0.7 * CELL)), 1, 200).astype(int)
    steps = 2 ** np.ceil(np.log2(steps)).astype(int)  # few different numbers
    found = []
    for step in np.unique(steps):
        a, b = (grid.ravel() for grid in np.mgrid[0 : step + 1, 0 : step + 1])
        weights = np.stack([a, b, step - a - b], axis=1)[a + b <= step] / step
        chosen = corners[steps == step]
        for start in range(0, len(chosen), 2000):
            found.append(
                np.einsum('wk,mkc->mwc', weights, chosen[start : start + 2000]).reshape(-1, 3)
            )
    return found


@dataclass(frozen=True)
class ObjFile:
    """The content of an OBJ file, triangulated."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    slots: np.ndarray
    names: list[str]
    libraries: list[str]


def read_obj(text: str) -> ObjFile:
    """Read vertices, texture coordinates, faces and names of materials."""
    vertices: list[list[float]] = []
    coordinates: list[list[float]] = [[0.0, 0.0]]
    polygons: list[tuple[int, list[tuple[int, int]]]] = []
    names: list[str] = []
    libraries: list[str] = []
    slot = 0
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == 'v':
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == 'vt':
            coordinates.append([float(word) for word in words[1:3]])
        elif words[0] == 'usemtl':
            name = line.split(None, 1)[1].strip() if len(words) > 1 else ''
            if name not in names:
                names.append(name)
            slot = names.index(name)
        elif words[0] == 'mtllib':
            libraries.append(line.split(None, 1)[1].strip())
        elif words[0] == 'f':
            corners = [corner(word, len(vertices), len(coordinates)) for word in words[1:]]
            polygons.append((slot, corners))
    points = np.array(vertices, float).reshape(-1, 3)
    table = cut(distinct(polygons, points), points)
    uv = np.array(coordinates, np.float32)[table[:, 2::2]]
    return ObjFile(
        points,
        table[:, 1::2],
        uv,
        table[:, 0],
        names or [''],
        libraries,
    )


Polygon = tuple[int, list[tuple[int, int]]]  # number of the material; vertices and coordinates


def distinct(polygons: list[Polygon], points: np.ndarray) -> list[Polygon]:
    """Leave out faces in the place of others: of two, each would be in the other's shade."""
    if not len(points):
        return []
    fine = 1e-5 * float(np.ptp(points, axis=0).max()) or 1.0
    _, place = np.unique(np.round(points / fine), axis=0, return_inverse=True)
    numbers = place.reshape(-1).tolist()
    first: dict[frozenset[int], Polygon] = {}
    for polygon in polygons:
        first.setdefault(frozenset(numbers[vertex] for vertex, _ in polygon[1]), polygon)
    return list(first.values())


def cut(polygons: list[Polygon], points: np.ndarray) -> np.ndarray:
    """Return triangles (N, 7): the material, then vertex and coordinate of each corner."""
    rows = [
        (slot, *corners[a], *corners[b], *corners[c])
        for slot, corners in polygons
        for a, b, c in triangulate([points[vertex] for vertex, _ in corners])
    ]
    return np.array(rows, np.int32).reshape(-1, 7)


def corner(word: str, vertices: int, coordinates: int) -> tuple[int, int]:
    """Return the indices of a face's corner `v/vt/vn`; texture coordinate 0 is none."""
    parts = word.split('/')
    vertex = int(parts[0])
    texture = int(parts[1]) if len(parts) > 1 and parts[1] else 0
    return (
        vertex - 1 if vertex > 0 else vertices + vertex,
        texture if texture >= 0 else coordinates + texture,
    )


def triangulate(corners: Sequence[np.ndarray]) -> list[tuple[int, int, int]]:
    """Cut a polygon into triangles, by ears if it may be concave."""
    count = len(corners)
    fan = [(0, k, k + 1) for k in range(1, count - 1)]
    if count < 4:
        return fan
    points = np.array(corners)
    following = np.roll(points, -1, axis=0)
    normal = np.cross(points, following).sum(axis=0)
    axis = int(np.argmax(np.abs(normal)))
    flat = np.delete(points, axis, axis=1)
    if (normal[axis] < 0) != (axis == 1):
        flat = flat[:, ::-1]
    ahead = np.roll(flat, -1, axis=0) - flat
    turns = cross(ahead, np.roll(ahead, -1, axis=0))
    if np.all(turns >= -1e-9 * np.abs(turns).max(initial=0.0)):
        return fan
    return cut_ears(flat) or fan


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the z component of the cross product of plane vectors (N, 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def cut_ears(flat: np.ndarray) -> list[tuple[int, int, int]]:
    """Cut a simple polygon (N, 2), counter-clockwise, into triangles; nothing if that fails."""
    left, found = list(range(len(flat))), []
    while len(left) > 3:
        for at in range(len(left)):
            a, b, c = left[at - 1], left[at], left[(at + 1) % len(left)]
            if cross(flat[b] - flat[a], flat[c] - flat[b]) <= 0:
                continue
            others = flat[[k for k in left if k not in (a, b, c)]]
            edges = ((a, b), (b, c), (c, a))
            inside = [cross(flat[q] - flat[p], others - flat[p]) >= 0 for p, q in edges]
            if not np.any(np.all(inside, axis=0)):
                found.append((a, b, c))
                left.pop(at)
                break
        else:
            return []
    return [*found, tuple(left)]


def read_mtl(text: str, files: zipfile.ZipFile, beside: str, folder: Path) -> dict[str, Surface]:
    """Return the materials of an MTL file by name; write their textures to `folder`."""
    blocks: dict[str, dict[str, str]] = {}
    block: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(' ')
        if word == 'newmtl':
            block = blocks.setdefault(rest.strip(), {})
        elif word and not word.startswith('#'):
            block[word] = rest.strip()
    return {name: surface(name, block, files, beside, folder) for name, block in blocks.items()}


def surface(
    name: str, block: dict[str, str], files: zipfile.ZipFile, beside: str, folder: Path
) -> Surface:
    """Return the Principled parameters nearest to a Phong material."""
    colour = numbers(block.get('Kd', ''), 3) or [0.6, 0.6, 0.6]
    gloss = float(np.mean(numbers(block.get('Ks', ''), 3) or [0.1]))
    exponent = (numbers(block.get('Ns', ''), 1) or [20.0])[0]
    opacity = (numbers(block.get('d', ''), 1) or [1.0])[0]
    texture, cutout = None, False
    if 'map_Kd' in block:
        path = posixpath.normpath(posixpath.join(beside, block['map_Kd']))
        if path in files.namelist():
            texture, cutout = store_texture(files.read(path), folder)
    metal = any(word in name.lower() for word in METALS) or gloss > 0.75
    metal = metal and texture is None and max(colour) - min(colour) < 0.5
    shine = gloss > 0.02
    roughness = float(np.sqrt(2.0 / (2.0 + max(exponent, 1.0)))) if shine else 0.8
    return Surface(
        name=name,
        colour=tuple(float(np.clip(value, *COLOURS)) for value in colour),
        texture=texture,
        roughness=float(np.clip(roughness, 0.12 if metal else 0.2, 0.9)),
        metallic=0.9 if metal else 0.0,
        specular=float(np.clip(gloss, 0.1, 0.6)),
        opacity=opacity,
        cutout=cutout,
    )


def numbers(text: str, count: int) -> list[float]:
    """Return the first numbers of a line, none if they are not all there."""
    try:
        found = [float(word) for word in text.split()[:count]]
    except ValueError:
        return []
    return found if len(found) == count else []


def store_texture(content: bytes, folder: Path) -> tuple[str | None, bool]:
    """Write a texture of at most 512 texels a side; return its name, and if it has holes."""
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return None, False
    if image.dtype != np.uint8:
        image = (image / 257).astype(np.uint8)
    longest = max(image.shape[:2])
    if longest > MOST_TEXELS:
        size = [max(1, round(side * MOST_TEXELS / longest)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    holes = image.ndim == 3 and image.shape[2] == 4 and float(np.mean(image[..., 3] < 128)) > 0.01
    if image.ndim == 3 and image.shape[2] == 4 and not holes:
        image = image[..., :3]
    name = hashlib.sha256(content).hexdigest()[:16] + '.png'
    (folder / name).write_bytes(cv2.imencode('.png', image)[1].tobytes())
    return name, holes
