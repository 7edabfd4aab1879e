# SPDX-License-Identifier: Apache-2.0
"""Quad meshes from primitives: boxes, lathed shapes, tubes, sheets. Metres, z up, no Blender.

Texture coordinates are in metres along the surface, so that a pattern keeps its real size; `fit`
instead gives coordinates from 0 to 1 over a face, for pictures and printed things.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simple.catalogue import Model

TINY = 1e-4  # radius of a pole: every face stays a quad


@dataclass
class Part:
    """One surface of one material: vertices (N, 3), faces (M, 4), coordinates (M, 4, 2)."""

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    material: str
    smooth: bool = False


@dataclass(frozen=True)
class Placed:
    """A model of the catalogue, multiplied by a rotation (3, 3) and moved by an offset (3,)."""

    model: Model
    matrix: np.ndarray
    offset: np.ndarray

    def corners(self) -> np.ndarray:
        """Return the corners (8, 3) of its box."""
        width, depth, height = self.model.size
        grid = np.meshgrid((-width / 2, width / 2), (-depth / 2, depth / 2), (0.0, height))
        return np.stack([axis.ravel() for axis in grid], axis=1) @ self.matrix.T + self.offset

    def moved(self, matrix: np.ndarray, offset: np.ndarray) -> Placed:
        """Return a copy, multiplied and shifted once more."""
        return replace(self, matrix=matrix @ self.matrix, offset=matrix @ self.offset + offset)


@dataclass
class Thing:
    """A piece of furniture: parts, and table tops that can carry things and be looked at.

    The centre of its footprint is the origin, its back points to -y, its front to +y. Parts are
    modelled here, `models` come from the catalogue.
    """

    parts: list[Part] = field(default_factory=list)
    tops: list[tuple[float, float, float]] = field(default_factory=list)
    models: list[Placed] = field(default_factory=list)

    def add(self, *others: Part | Thing) -> Thing:
        """Add parts, or all parts of other things."""
        for other in others:
            if isinstance(other, Thing):
                self.parts += other.parts
                self.tops += other.tops
                self.models += other.models
            else:
                self.parts.append(other)
        return self

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> Thing:
        """Return a copy, turned by `turn` degrees about z and then moved."""
        matrix, offset = rotation(2, turn), np.array([x, y, z])
        tops = [tuple((matrix @ np.array(top) + offset).tolist()) for top in self.tops]
        models = [placed.moved(matrix, offset) for placed in self.models]
        return Thing([moved(part, matrix, offset) for part in self.parts], tops, models)

    def tilted(self, axis: int, degrees: float) -> Thing:
        """Return a copy, turned about the x (0) or y (1) axis. Its tops are gone."""
        matrix = rotation(axis, degrees)
        models = [placed.moved(matrix, np.zeros(3)) for placed in self.models]
        return Thing([moved(part, matrix, np.zeros(3)) for part in self.parts], models=models)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest corner (3,)."""
        points = [part.vertices for part in self.parts]
        points += [placed.corners() for placed in self.models]
        low = np.min([some.min(axis=0) for some in points], axis=0)
        high = np.max([some.max(axis=0) for some in points], axis=0)
        return low, high


def moved(part: Part, matrix: np.ndarray, offset: np.ndarray) -> Part:
    """Return the part with its vertices multiplied and shifted."""
    vertices = part.vertices @ matrix.T + offset
    return Part(vertices, part.faces, part.uv, part.material, part.smooth)


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Return the rotation matrix about a coordinate axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    return matrix


def box(
    size: Sequence[float],
    centre: Sequence[float],
    material: str,
    bevel: float = 0.0,
    segments: int = 1,
    fit: bool = False,
    upright: bool = False,
) -> Part:
    """Return a box with rounded edges; with many `segments` it is shaded as a soft body.

    The texture's u runs along the longer edge of each side, or along the ground if `upright`.
    """
    half = np.asarray(size, dtype=float) / 2
    bevel = min(bevel, 0.999 * float(half.min()))
    lines = [edge_lines(length, bevel, segments) for length in half]
    faces = [
        box_face(axis, sign, half, lines, fit, upright) for axis in range(3) for sign in (-1, 1)
    ]
    part = weld(faces, material, segments > 1)
    if bevel > 0.0:
        inner = np.clip(part.vertices, -(half - bevel), half - bevel)
        outward = part.vertices - inner
        part.vertices = inner + bevel * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    part.vertices = part.vertices + np.asarray(centre, dtype=float)
    return part


def edge_lines(half: float, bevel: float, segments: int) -> np.ndarray:
    """Return where grid lines cut an edge of length 2 * half to make bevels evenly round."""
    if bevel <= 0.0:
        return np.array([-half, half])
    upper = half - bevel + bevel * np.tan(np.linspace(0.0, math.pi / 4, segments + 1))
    return np.concatenate([-upper[::-1], upper])


def box_face(
    axis: int, sign: int, half: np.ndarray, lines: list[np.ndarray], fit: bool, upright: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, faces and texture coordinates of one side of a box."""
    first, second = [(1, 2), (0, 2), (0, 1)][axis]
    a, b = np.meshgrid(lines[first], lines[second], indexing='ij')
    vertices = np.empty((a.size, 3))
    vertices[:, axis] = sign * half[axis]
    vertices[:, first], vertices[:, second] = a.ravel(), b.ravel()
    outward = sign * (-1 if axis == 1 else 1)
    faces = grid_faces(len(lines[first]), len(lines[second]), outward > 0)
    if fit:
        u = 0.5 + outward * vertices[:, first] / (2 * half[first])
        v = 0.5 + vertices[:, second] / (2 * half[second])
    else:
        level = upright or half[first] >= half[second]
        along = (first, second) if level else (second, first)
        u, v = vertices[:, along[0]] + half[axis], vertices[:, along[1]] + half[axis]
    return vertices, faces, np.stack([u, v], axis=1)[faces]


def grid_faces(rows: int, columns: int, outward: bool = True) -> np.ndarray:
    """Return quads (N, 4) over a grid of vertices stored row by row."""
    index = np.arange(rows * columns).reshape(rows, columns)
    corners = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([corner.ravel() for corner in corners], axis=1)
    return faces if outward else faces[:, ::-1]


def weld(
    pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], material: str, smooth: bool
) -> Part:
    """Join (vertices, faces, coordinates), merging vertices in the same place."""
    vertices, faces, uv, count = [], [], [], 0
    for points, quads, coordinates in pieces:
        vertices.append(points)
        faces.append(quads + count)
        uv.append(coordinates)
        count += len(points)
    points = np.concatenate(vertices)
    _, first, inverse = np.unique(
        np.round(points, 7), axis=0, return_index=True, return_inverse=True
    )
    quads = inverse.reshape(-1)[np.concatenate(faces)]
    return Part(points[first], quads, np.concatenate(uv), material, smooth)


def sheet(points: np.ndarray, material: str, smooth: bool = True, fit: bool = False) -> Part:
    """Return a surface through a grid of points (rows, columns, 3), seen from its front.

    The front is where rows run up and columns to the right.
    """
    rows, columns = points.shape[:2]
    if fit:
        u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    else:
        u, v = arc(points, 1), arc(points, 0)
    faces = grid_faces(rows, columns, outward=False)
    uv = np.stack([u.ravel(), v.ravel()], axis=1)[faces]
    return Part(points.reshape(-1, 3).astype(float), faces, uv, material, smooth)


def arc(points: np.ndarray, axis: int) -> np.ndarray:
    """Return the arc length along an axis of a grid of points."""
    steps = np.linalg.norm(np.diff(points, axis=axis), axis=2)
    pad = [(0, 0), (0, 0)]
    pad[axis] = (1, 0)
    return np.cumsum(np.pad(steps, pad), axis=axis)


def lathe(
    profile: Sequence[tuple[float, float]],
    material: str,
    centre: Sequence[float] = (0.0, 0.0, 0.0),
    segments: int = 16,
    smooth: bool = True,
) -> Part:
    """Return the shape that (radius, height) pairs sweep about the z axis."""
    radii, heights = np.maximum(np.array(profile, dtype=float).T, [[TINY], [-np.inf]])
    angle = np.linspace(0.0, 2 * math.pi, segments + 1)
    points = np.empty((len(radii), segments + 1, 3))
    points[..., 0] = radii[:, None] * np.cos(angle)
    points[..., 1] = radii[:, None] * np.sin(angle)
    points[..., 2] = heights[:, None]
    part = sheet(points, material)
    part = weld([(part.vertices, part.faces, part.uv)], material, smooth)
    part.vertices = part.vertices + np.asarray(centre, dtype=float)
    return part


def cylinder(
    radius: float,
    height: float,
    centre: Sequence[float],
    material: str,
    segments: int = 14,
    top: float | None = None,
) -> Thing:
    """Return an upright cylinder, or a cone with the radius `top`, standing on `centre`."""
    end = radius if top is None else top
    side = lathe([(radius, 0.0), (end, height)], material, centre, segments)
    caps = (
        lathe([(0.0, 0.0), (radius, 0.0)], material, centre, segments, smooth=False),
        lathe([(end, height), (0.0, height)], material, centre, segments, smooth=False),
    )
    return Thing([side, *caps])


def ellipsoid(
    size: Sequence[float], centre: Sequence[float], material: str, square: float = 1.0
) -> Part:
    """Return an ellipsoid; `square` below 1 makes it boxy, like a cushion."""
    across = np.linspace(-math.pi / 2, math.pi / 2, 9)
    around = np.linspace(0.0, 2 * math.pi, 17)
    points = np.stack(
        [
            soft(np.cos(across), square)[:, None] * soft(np.cos(around), square),
            soft(np.cos(across), square)[:, None] * soft(np.sin(around), square),
            np.repeat(np.sin(across)[:, None], 17, axis=1),
        ],
        axis=2,
    )
    part = sheet(points * np.asarray(size) / 2, material)
    part = weld([(part.vertices, part.faces, part.uv)], material, smooth=True)
    part.vertices = part.vertices + np.asarray(centre, dtype=float)
    return part


def soft(value: np.ndarray, power: float) -> np.ndarray:
    """Return a signed power."""
    return np.sign(value) * np.abs(value) ** power


def tube(
    points: Sequence[Sequence[float]], radius: float, material: str, segments: int = 8
) -> Part:
    """Return a round bar along a line of points."""
    line = np.asarray(points, dtype=float)
    ahead = np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-12
    helper = np.where(np.abs(ahead[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(ahead, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, ahead)
    angle = np.linspace(0.0, 2 * math.pi, segments + 1)[None, :, None]
    ring = np.cos(angle) * side[:, None] - np.sin(angle) * up[:, None]
    return sheet(line[:, None] + radius * ring, material)
