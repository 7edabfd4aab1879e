# SPDX-License-Identifier: Apache-2.0
"""What the last frames showed of the floor: rugs, and objects that hide the floor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.depth.floor import floor_layout, level_floor
from depth_perception.depth.floor_memory import LONGEST_GAP, FloorMemory
from depth_perception.depth.products import ProductMaker
from depth_perception.depth.scan import CameraPose
from depth_perception.depth.settings import DepthSettings
from test.support.cuda import DEVICES
from test.support.scenes import floor, level_rays, with_box

CAMERA = CameraModel(320, 240, 250.0, 250.0, 159.5, 119.5)
POSE = CameraPose(math.radians(7), 0.0, 0.5)
LAYOUT = floor_layout(CAMERA, POSE)
SETTINGS = DepthSettings(camera_pitch=7.0, camera_height=0.5)


def room(*boxes):
    """Return the depth of a floor, boxes on it and a wall at 3 m."""
    depth = floor(CAMERA, POSE)
    for low, high in (*boxes, ((3.0, -9, -0.5), (3.1, 9, 9))):
        depth = with_box(depth, CAMERA, POSE, low, high)
    return depth.astype(np.float32)


def with_rug(share):
    """Return what a network sees of a rug at the lower edge, as a share of the image's width."""
    depth = room()
    is_floor = np.isclose(depth, floor(CAMERA, POSE), rtol=1e-3)
    column, row = np.arange(CAMERA.width), np.arange(CAMERA.height)[:, None]
    rug = (abs(column - 160) < 160 * share) & (row > 175) & is_floor
    # The floor is bent by 8 %, as that of a network.
    bent = depth * np.exp(0.08 * np.sin(column / 25) * np.cos(row / 15))
    return np.where(rug, 0.75 * bent, bent).astype(np.float32), rug


def before_a_thing(distance):
    """Return two boxes beside each other, a low one and a high one, at a distance."""
    return room(((distance, -0.1, -0.5), (9, 9, -0.34)), ((distance + 0.1, -9, -0.5), (9, -0.1, 9)))


def nearest_right(depth):
    """Return the least distance on the ground in the right half of a depth image."""
    forward = level_rays(CAMERA, POSE)[..., 0]
    return float((depth * forward)[:, 180:300].min())


def test_a_rug_stays_floor_while_its_share_of_the_image_changes():
    """The spread of the floor's level in one frame depends on how much of it the rug covers."""
    memory = FloorMemory()
    true = room()
    for number, share in enumerate([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]):
        seen, rug = with_rug(share)
        found = level_floor(seen, LAYOUT, True, memory, 0.1 * number)
        inner = rug & (np.arange(CAMERA.height)[:, None] > 200)
        assert np.median(found[inner] / true[inner]) == pytest.approx(1.0, abs=0.05)
    alone = level_floor(seen, LAYOUT, True)
    assert np.median(alone[inner] / true[inner]) < 0.8


def test_an_object_that_hides_the_floor_is_not_moved_away():
    """The top of a low thing at the lower edge is no floor for the high thing beside it."""
    memory = FloorMemory()
    for number, distance in enumerate([1.1, 1.0, 0.9, 0.8, 0.7, 0.6]):
        true = before_a_thing(distance)
        found = level_floor(true, LAYOUT, False, memory, 0.1 * number)
        assert nearest_right(found) < 1.1 * nearest_right(true)
    assert nearest_right(level_floor(true, LAYOUT)) > 1.15 * nearest_right(true)


def test_frames_are_forgotten_after_a_gap_or_a_jump_back_and_without_a_time():
    drive = [before_a_thing(distance) for distance in (1.1, 1.0, 0.6)]
    alone = level_floor(drive[2], LAYOUT)
    for last, time, is_known in (
        (0.1, 0.2, True),
        (0.1, 0.1 + LONGEST_GAP, True),
        (0.1, 0.3 + LONGEST_GAP, False),
        (0.1, 0.05, False),
        (0.1, None, False),
    ):
        memory = FloorMemory()
        for number in (0, 1):
            level_floor(drive[number], LAYOUT, False, memory, last * number)
        found = level_floor(drive[2], LAYOUT, False, memory, time)
        assert (nearest_right(found) < 0.95 * nearest_right(alone)) == is_known


def test_a_frame_may_be_given_twice():
    memory = FloorMemory()
    for number, distance in enumerate((1.1, 1.0, 0.6)):
        first, second = (
            level_floor(before_a_thing(distance), LAYOUT, False, memory, 0.1 * number)
            for _ in range(2)
        )
        np.testing.assert_array_equal(first, second)


def test_levels_of_anchored_and_of_plain_depth_do_not_mix():
    memory = FloorMemory()
    level_floor(before_a_thing(1.0), LAYOUT, True, memory, 0.0)
    found = level_floor(before_a_thing(0.6), LAYOUT, False, memory, 0.1)
    np.testing.assert_array_equal(found, level_floor(before_a_thing(0.6), LAYOUT))


def test_frames_of_a_camera_continue_from_the_last_one_and_from_a_saved_one():
    def ranges(maker, number):
        depth = before_a_thing((1.1, 1.0, 0.6)[number])
        return maker(None, CAMERA, depth, SETTINGS, time=0.1 * number).scan().ranges

    maker, fresh = ProductMaker(10.0), ProductMaker(10.0)
    for number in (0, 1):
        ranges(maker, number)
    fresh.remember(maker.memory())
    continued = ranges(maker, 2)
    np.testing.assert_array_equal(ranges(fresh, 2), continued)
    maker.reset()
    assert np.nanmin(continued) < 0.95 * np.nanmin(ranges(maker, 2))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('anchored', [False, True])
def test_tensors_are_remembered_like_arrays(anchored, device):
    layout = floor_layout(CAMERA, POSE, device=device)
    arrays, tensors = FloorMemory(), FloorMemory()
    for number, distance in enumerate((1.1, 1.0, 0.9, 0.6)):
        seen = before_a_thing(distance)
        by_numpy = level_floor(seen, LAYOUT, anchored, arrays, 0.1 * number)
        on_device = level_floor.__wrapped__(  # the code that runs on a GPU
            torch.from_numpy(seen).to(device), layout, anchored, tensors, 0.1 * number
        )
        np.testing.assert_allclose(on_device.cpu().numpy(), by_numpy, rtol=1e-3)
