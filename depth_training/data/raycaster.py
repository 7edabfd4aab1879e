# SPDX-License-Identifier: Apache-2.0
"""A cheap, unlimited second source of training views: textured boxes, exact depth.

Rooms are boxes seen from inside; furniture (beds, cupboards, tables on legs, loose boxes) consists
of boxes rotated about the vertical. There is one light with shadows; textures are cut from given
pictures or made of noise, checks and stripes. Nothing looks real, but perspective, the receding
floor and the objects standing on it are correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_training.data.sample import Sample

Floats = NDArray[np.float32]
#: Edge of a texture, pixels.
TEXTURE = 128


@dataclass
class Boxes:
    """K boxes rotated about z: `centre` (K, 3), `half` (K, 3) metres, `yaw` (K,) radians.

    Box 0 is the room, seen from inside. z is up, the floor is z = 0.
    """

    centre: Floats
    half: Floats
    yaw: Floats

    def __len__(self) -> int:
        return len(self.yaw)


@dataclass
class Hits:
    """First hits of N rays: `distance` (N,), `box` (N,), face `axis` (N,), `point` in box frame."""

    distance: Floats
    box: NDArray[np.int64]
    axis: NDArray[np.int64]
    point: Floats


def render_view(
    rng: np.random.Generator, textures: list[Floats], height: int = 240, width: int = 320
) -> Sample:
    """Render a view of a new random room; retry until nothing is too close to the camera."""
    while True:
        boxes = random_room(rng)
        eye, rotation, fx = random_camera(rng, boxes, width)
        rays = camera_rays(height, width, fx) @ rotation.T
        hits = cast(boxes, eye, rays)
        z = hits.distance.reshape(height, width)
        if np.percentile(z, 2) > 0.25 and 0.8 < np.median(z) < 8 and z.std() > 0.2 * z.mean():
            break
    colour = shade(rng, boxes, hits, eye, rays, textures)
    colour *= np.exp(rng.normal(np.log(0.4), 0.3)) / colour.mean()  # random exposure
    rgb = (255 * colour.reshape(height, width, 3).clip(0, 1)).astype(np.uint8)
    # Rays have unit z in the camera frame, so the distance along them is the depth z.
    return Sample(cv2.GaussianBlur(rgb, (3, 3), 0.6), z.astype(np.float32), 'boxes', fx)


def random_room(rng: np.random.Generator) -> Boxes:
    """Return a room of 2 to 9 metres with furniture."""
    size = np.array([*np.exp(rng.uniform(np.log(2.2), np.log(9), 2)), rng.uniform(2.2, 3.2)])
    rows = [(*(size / 2 * [0, 0, 1]), *(size / 2), 0.0)]
    for _ in range(rng.integers(3, 14)):
        rows += _furniture(rng, size)
    values = np.array(rows, np.float32)
    return Boxes(values[:, :3], values[:, 3:6], values[:, 6])


def _furniture(rng: np.random.Generator, room: NDArray) -> list[tuple[float, ...]]:
    kind = rng.choice(['block', 'bed', 'cupboard', 'table', 'clutter', 'shelf'])
    yaw = rng.choice([0, np.pi / 2]) if rng.random() < 0.6 else rng.uniform(0, np.pi)
    spread = rng.uniform(-0.48, 0.48, 2)
    if rng.random() < 0.6:  # most furniture stands against a wall
        spread[rng.integers(2)] = rng.choice([-0.44, 0.44])
    x, y = spread * room[:2]
    low, high = {
        'block': ([0.3, 0.3, 0.3], [1.2, 1.0, 1.0]),
        'bed': ([1.8, 0.9, 0.35], [2.1, 2.0, 0.7]),
        'cupboard': ([0.5, 0.4, 1.0], [2.0, 0.7, 2.2]),
        'table': ([0.6, 0.5, 0.4], [2.0, 1.1, 0.8]),
        'clutter': ([0.08, 0.08, 0.05], [0.4, 0.4, 0.4]),
        'shelf': ([0.6, 0.25, 0.02], [1.5, 0.4, 0.3]),
    }[kind]
    length, depth, height = rng.uniform(low, high)
    base = rng.uniform(0.3, 1.8) if kind == 'shelf' else 0.0
    if kind != 'table':
        return [(x, y, base + height / 2, length / 2, depth / 2, height / 2, yaw)]
    return _table(x, y, length, depth, height, yaw)


def _table(
    x: float, y: float, length: float, depth: float, height: float, yaw: float
) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = [(x, y, height - 0.02, length / 2, depth / 2, 0.02, yaw)]
    cosine, sine = np.cos(yaw), np.sin(yaw)
    for u in (-1, 1):
        for v in (-1, 1):
            a, b = u * (length / 2 - 0.05), v * (depth / 2 - 0.05)
            rows.append(
                (
                    x + cosine * a - sine * b,
                    y + sine * a + cosine * b,
                    height / 2 - 0.02,
                    0.03,
                    0.03,
                    height / 2 - 0.02,
                    yaw,
                )
            )
    return rows


def random_camera(
    rng: np.random.Generator, boxes: Boxes, width: int
) -> tuple[Floats, Floats, float]:
    """Return eye (3,), rotation camera-to-world (3, 3) and fx; heights of robots and people."""
    half = boxes.half[0]
    eye = np.array(
        [
            *(rng.uniform(-0.9, 0.9, 2) * half[:2]),
            rng.choice([rng.uniform(0.15, 0.6), rng.uniform(0.6, 1.2), rng.uniform(1.2, 1.75)]),
        ],
        np.float32,
    )
    yaw, pitch, roll = rng.uniform(0, 2 * np.pi), rng.normal(-0.12, 0.18), rng.normal(0, 0.03)
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll), np.sin(roll)
    rotation = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], 1)
    return eye, rotation.astype(np.float32), float(rng.uniform(0.5, 0.97) * width)


def camera_rays(height: int, width: int, fx: float) -> Floats:
    """Return directions (H * W, 3) with z = 1 in the optical frame."""
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / fx
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / fx
    return np.stack([*np.meshgrid(x, y), np.ones((height, width), np.float32)], -1).reshape(-1, 3)


def cast(boxes: Boxes, eye: Floats, rays: Floats) -> Hits:
    """Intersect rays (N, 3) from one point, or from N points, with the boxes."""
    count = len(rays)
    best = Hits(
        np.full(count, np.inf, np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros((count, 3), np.float32),
    )
    for index in range(len(boxes)):
        origin = _turn(eye - boxes.centre[index], -boxes.yaw[index])
        direction = _turn(rays, -boxes.yaw[index])
        direction[direction == 0] = 1e-9  # parallel to a face: avoids division by zero
        with np.errstate(divide='ignore', invalid='ignore'):
            planes = (-np.sign(direction) * boxes.half[index] - origin) / direction
            exits = (np.sign(direction) * boxes.half[index] - origin) / direction
        if index == 0:
            axis = exits.argmin(1)
            distance = exits.min(1)
            better = distance < best.distance
        else:
            axis = planes.argmax(1)
            distance = planes.max(1)
            better = (distance < exits.min(1)) & (distance > 1e-3) & (distance < best.distance)
        best.distance[better], best.box[better], best.axis[better] = (
            distance[better],
            index,
            axis[better],
        )
        start = origin if origin.ndim == 1 else origin[better]
        best.point[better] = start + direction[better] * distance[better, None]
    return best


def _turn(vectors: Floats, angle: float) -> Floats:
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, z], -1)


def shade(
    rng: np.random.Generator,
    boxes: Boxes,
    hits: Hits,
    eye: Floats,
    rays: Floats,
    textures: list[Floats],
) -> Floats:
    """Return colours (N, 3) in 0..1: texture x (ambient + one light with shadow)."""
    world = eye + rays * hits.distance[:, None]
    room = boxes.half[0]
    light = np.array([*(rng.uniform(-0.7, 0.7, 2) * room[:2]), room[2] * 1.9], np.float32)
    towards = light - world
    reach = np.linalg.norm(towards, axis=1)
    normal = _normals(boxes, hits, rays)
    slope = np.maximum((normal * towards).sum(1) / reach, 0)
    blocked = cast(boxes, world + normal * 0.01, towards).distance < 0.98
    power = rng.uniform(1.5, 6) * slope / (1 + reach**2) * ~blocked
    ambient = rng.uniform(0.15, 0.6)
    return _albedo(rng, boxes, hits, textures) * (ambient + power)[:, None]


def _normals(boxes: Boxes, hits: Hits, rays: Floats) -> Floats:
    """Return unit normals (N, 3) that face the ray."""
    local = np.zeros((len(hits.box), 3), np.float32)
    local[np.arange(len(local)), hits.axis] = 1
    yaw = boxes.yaw[hits.box]
    cosine, sine = np.cos(yaw), np.sin(yaw)
    world = np.stack(
        [
            cosine * local[:, 0] - sine * local[:, 1],
            sine * local[:, 0] + cosine * local[:, 1],
            local[:, 2],
        ],
        -1,
    )
    return world * -np.sign((world * rays).sum(1, keepdims=True))


def _albedo(rng: np.random.Generator, boxes: Boxes, hits: Hits, textures: list[Floats]) -> Floats:
    """Return texture colours; each face of the room and each other box has its own texture."""
    colour = np.empty((len(hits.box), 3), np.float32)
    faces = hits.box * 6 + np.where(
        hits.box == 0, hits.axis * 2 + (hits.point[np.arange(len(hits.box)), hits.axis] > 0), 0
    )
    for face in np.unique(faces):
        here = faces == face
        texture = textures[rng.integers(len(textures))]
        metres = np.exp(rng.uniform(np.log(0.3), np.log(3)))
        others = np.array([[1, 2], [0, 2], [0, 1]])[hits.axis[here]]
        points = np.take_along_axis(hits.point[here], others, 1)
        u, v = (
            np.floor((points / metres + rng.uniform(0, 1, 2)) * TEXTURE).T.astype(np.int64)
            % TEXTURE
        )
        colour[here] = texture[v, u]
    return colour


def make_textures(
    rng: np.random.Generator, count: int, pictures: Sequence[NDArray[np.uint8]] = ()
) -> list[Floats]:
    """Return square colour textures in 0..1, half of them cut from pictures (H, W, 3) if given."""
    makers = [_noise, _checks, _stripes, _plain] + ([_cutting] * 4 if pictures else [])
    return [makers[rng.integers(len(makers))](rng, pictures) for _ in range(count)]


def _colours(rng: np.random.Generator, count: int) -> Floats:
    """Return mostly muted colours, as in real rooms."""
    grey = rng.uniform(0.15, 0.95, (count, 1))
    return (grey + rng.normal(0, 0.12, (count, 3))).clip(0.02, 1).astype(np.float32)


def _noise(rng: np.random.Generator, _pictures: object) -> Floats:
    total = np.zeros((TEXTURE, TEXTURE, 1), np.float32)
    for size in (4, 8, 16, 32, 64):
        coarse = rng.random((size, size), np.float32)
        total[..., 0] += cv2.resize(coarse, (TEXTURE, TEXTURE)) * rng.random() * 2
    first, second = _colours(rng, 2)
    share = (total - total.min()) / (np.ptp(total) + 1e-6)
    return (first * share + second * (1 - share)).astype(np.float32)


def _checks(rng: np.random.Generator, _pictures: object) -> Floats:
    count = rng.integers(2, 9)
    row, column = np.mgrid[0:TEXTURE, 0:TEXTURE] * count // TEXTURE
    base = _colours(rng, 2)[(row + column) % 2]
    return (base * (1 + rng.normal(0, 0.04, base.shape))).clip(0, 1).astype(np.float32)


def _stripes(rng: np.random.Generator, _pictures: object) -> Floats:
    colours = _colours(rng, 12)
    stripe = np.arange(TEXTURE) * rng.integers(3, 13) // TEXTURE
    base = np.broadcast_to(colours[stripe % 12], (TEXTURE, TEXTURE, 3))
    base = base.transpose(1, 0, 2) if rng.random() < 0.5 else base
    return (base * (1 + rng.normal(0, 0.05, (TEXTURE, TEXTURE, 1)))).clip(0, 1).astype(np.float32)


def _plain(rng: np.random.Generator, _pictures: object) -> Floats:
    base = np.broadcast_to(_colours(rng, 1), (TEXTURE, TEXTURE, 3))
    return (base * (1 + rng.normal(0, 0.03, base.shape))).clip(0, 1).astype(np.float32)


def _cutting(rng: np.random.Generator, pictures: Sequence[NDArray[np.uint8]]) -> Floats:
    picture = pictures[int(rng.integers(len(pictures)))]
    size = int(rng.integers(24, max(min(picture.shape[:2]), 25)))
    top, left = (int(rng.integers(0, side - size + 1)) for side in picture.shape[:2])
    cut = cv2.resize(
        picture[top : top + size, left : left + size],
        (TEXTURE, TEXTURE),
        interpolation=cv2.INTER_AREA,
    )
    return cut.astype(np.float32) / 255
