# SPDX-License-Identifier: Apache-2.0
"""Batch augmentation keeps colour, depth and camera consistent."""

from __future__ import annotations

import pytest
import torch

from depth_training.augment import batch as augment_batch
from depth_training.augment.batch import Draw, Views

FOCAL = 60.0


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(batch: int = 6, height: int = 96, width: int = 128) -> Views:
    """Return views with depth encoded in the red channel, so that both must move together."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    depth = (1 + (x + 2 * y) / 100).expand(batch, 1, -1, -1)
    rgb = torch.cat([50 * depth, 0 * depth, 0 * depth + 90], 1)
    fx = torch.linspace(40, 120, batch)
    return Views(rgb, depth.float(), fx, torch.full((batch,), (width - 1) / 2))


@pytest.mark.parametrize('size', [(48, 64), (96, 128), (64, 112)])
def test_resampling_moves_colour_and_depth_together(size):
    before = views()
    after = augment_batch.resample(before, size, FOCAL, Draw(generator(), 6))
    assert after.rgb.shape == (6, 3, *size) and after.depth.shape == (6, 1, *size)
    assert (after.depth > 0).all(), 'the view fills the picture'
    # Depth is scaled by one factor per image, as the canonical camera sees it nearer.
    ratio = after.rgb[:, :1] / 50 / after.depth
    middle = ratio.flatten(1).median(1).values.view(-1, 1, 1, 1)
    assert ((ratio / middle - 1).abs() < 0.02).all()


def test_resampling_gives_every_camera_the_canonical_focal_length():
    """Stripes of known width on a wall keep their size in terms of the focal length."""
    before = views()
    before.depth = torch.full_like(before.depth, 2.0)
    # Stripes of 10 cm on a wall 2 m away.
    x = (torch.arange(128) - before.cx[0]).view(1, 1, 1, -1) * 2.0 / before.fx.view(-1, 1, 1, 1)
    before.rgb = (x / 0.1).expand(-1, 3, 96, -1).contiguous()
    after = augment_batch.resample(before, (48, 64), FOCAL, Draw(generator(1), 6))
    dx, dy = (
        after.rgb[:, 0].diff(dim=2).abs().mean((1, 2)),
        after.rgb[:, 0].diff(dim=1).abs().mean((1, 2)),
    )
    metres_a_pixel = torch.hypot(dx, dy) * 0.1
    depth = after.depth.flatten(1).median(1).values
    torch.testing.assert_close(metres_a_pixel * FOCAL, depth, rtol=0.01, atol=0)


def test_decals_change_colour_alone_and_keep_to_a_plane():
    before = views(32)
    before.depth = torch.where(torch.arange(128) < 64, 1.0, 3.0).expand(32, 1, 96, -1).contiguous()
    after = augment_batch.decals(before, Draw(generator(), 32), 1.0, most=1)
    changed = (after - before.rgb).abs().amax(1) > 2
    left, right = changed[..., :62].flatten(1).any(1), changed[..., 66:].flatten(1).any(1)
    assert changed.flatten(1).any(1).sum() > 20
    assert not (left & right).any(), 'a patch lies on a single wall'
    untouched = augment_batch.decals(before, Draw(generator(), 32), 0.0)
    assert torch.equal(untouched, before.rgb)


def test_decals_touch_only_some_images():
    before = views()
    after = augment_batch.decals(before, Draw(generator(1), len(before.rgb)), 0.5)
    touched = (after != before.rgb).flatten(1).any(1)
    assert 0 < touched.sum() < len(touched)
    untouched = augment_batch.decals(before, Draw(generator(1), len(before.rgb)), 0.0)
    assert torch.equal(untouched, before.rgb)


def test_smoothing_is_the_mean_of_a_square():
    image = torch.rand((2, 3, 40, 56), generator=generator())
    square = torch.nn.functional.avg_pool2d
    expected = square(square(image, 13, 1, 6), 13, 1, 6)
    torch.testing.assert_close(augment_batch._smooth(image), expected)


def test_a_frame_hides_the_depth_under_it():
    before = views(64)
    rgb, depth = augment_batch.frame(before.rgb, before.depth, Draw(generator(), 64), 0.5)
    hidden = depth[:, 0] == 0
    assert 10 < hidden.flatten(1).any(1).sum() < 54
    assert torch.equal(rgb.amax(1)[~hidden], before.rgb.amax(1)[~hidden])
    assert (rgb.amax(1)[hidden] == rgb.amin(1)[hidden]).all()


def test_jpeg_is_jpeg():
    """Compare with OpenCV for grey images, which have no subsampled chroma."""
    import cv2
    import numpy as np

    noise = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (64, 96), np.uint8), (0, 0), 2
    )
    grey = np.repeat(cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)[..., None], 3, 2)
    rgb = torch.from_numpy(grey).permute(2, 0, 1)[None].float()
    for quality in (30, 60, 90):
        ours = augment_batch.jpeg(rgb, Draw(generator(), 1), 1.0, quality, quality)[0, 0]
        coded = cv2.imencode('.jpg', grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        theirs = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., 0].astype(np.float32)
        assert (ours.clamp(0, 255) - torch.from_numpy(theirs)).abs().mean() < 1


def test_same_seed_same_pictures():
    first, second = (
        augment_batch.augment(views(), (48, 64), FOCAL, generator(3)) for _ in range(2)
    )
    other = augment_batch.augment(views(), (48, 64), FOCAL, generator(4))
    assert torch.equal(first.rgb, second.rgb) and torch.equal(first.depth, second.depth)
    assert not torch.equal(first.rgb, other.rgb)
    assert first.rgb.min() >= 0 and first.rgb.max() <= 255
    assert torch.equal(first.rgb, first.rgb.round())


def test_black_and_unknown_stay_finite():
    empty = Views(
        torch.zeros(4, 3, 96, 128),
        torch.zeros(4, 1, 96, 128),
        torch.full((4,), 90.0),
        torch.full((4,), 63.5),
    )
    after = augment_batch.augment(empty, (48, 64), FOCAL, generator(), 1.0)
    assert after.rgb.isfinite().all() and not after.depth.any()
