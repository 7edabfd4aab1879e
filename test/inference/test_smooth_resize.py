# SPDX-License-Identifier: Apache-2.0
"""The resize of images on a CPU against PyTorch's, which resizes them on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from depth_perception.inference.smooth_resize import smoothly_resized


def by_torch(image, size):
    batch = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return torch.nn.functional.interpolate(batch, size, mode='bilinear', antialias=True)[0].numpy()


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ('size', 'wanted'),
    [
        ((90, 160), (52, 92)),
        ((90, 160), (90, 160)),
        ((96, 128), (32, 32)),
        ((37, 53), (64, 48)),
        ((1, 500), (16, 160)),
        ((16, 16), (48, 48)),
    ],
)
def test_pixels_are_weighted_as_by_torch(size, wanted):
    image = noise(*size)
    resized = smoothly_resized(image, wanted)
    assert resized.shape == (3, *wanted) and resized.dtype == np.float32
    np.testing.assert_allclose(resized, by_torch(image, wanted), atol=1e-3)


def test_half_the_size_is_the_same_but_for_the_border():
    image = noise(96, 128)
    resized, exact = smoothly_resized(image, (48, 64)), by_torch(image, (48, 64))
    np.testing.assert_allclose(resized[:, 1:-1, 1:-1], exact[:, 1:-1, 1:-1], atol=0.04)
    even = np.full((96, 128, 3), (7, 130, 255), np.uint8)
    np.testing.assert_allclose(
        smoothly_resized(even, (48, 64)), by_torch(even, (48, 64)), rtol=1e-5
    )


def test_a_view_of_an_image_is_taken_as_it_is():
    image = noise(60, 80)[::-1, :, ::-1]
    np.testing.assert_allclose(
        smoothly_resized(image, (33, 44)), by_torch(image, (33, 44)), atol=1e-3
    )
    assert np.array_equal(
        smoothly_resized(image, (30, 40)), smoothly_resized(image.copy(), (30, 40))
    )
