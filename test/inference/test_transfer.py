# SPDX-License-Identifier: Apache-2.0
"""Buffers between host and device: used again, and never while somebody still reads them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from depth_perception.depth.arrays import on_host
from depth_perception.inference.transfer import Download, Upload
from test.support.cuda import cuda_only

CPU = torch.device('cpu')


def picture(seed=0, size=(6, 8)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_on_a_cpu_nothing_is_copied():
    image = picture()
    assert Upload(CPU)(image) is image
    tensor = torch.rand(4, 5)
    assert Download(CPU)({'a': tensor})['a'].ctypes.data == tensor.data_ptr()
    assert Download(CPU)({'a': image})['a'] is image


def test_a_tensor_is_not_copied():
    tensor = torch.from_numpy(picture())
    assert Upload(CPU)(tensor) is tensor and Upload(CPU, staged=True)(tensor) is tensor


@pytest.mark.parametrize('staged', [False, True])
def test_read_only_and_strided_images_arrive_whole_and_without_a_warning(staged):
    upload, image = Upload(CPU, staged), picture()
    frozen = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for view in (frozen, image[:, ::-1], image[..., ::-1]):
            assert np.array_equal(on_host(upload(view)), view)


def test_an_image_is_not_overwritten_by_the_next_one():
    upload = Upload(CPU, staged=True)
    first = upload(picture(0))
    buffer = upload._buffer
    second = upload(picture(1))
    assert upload._buffer is buffer
    assert np.array_equal(first.numpy(), picture(0))
    assert np.array_equal(second.numpy(), picture(1))
    assert np.array_equal(upload(picture(2, (3, 4))).numpy(), picture(2, (3, 4)))


def test_results_use_one_reused_buffer_per_name():
    download = Download(CPU, staged=True)
    depth, flag = torch.rand(6, 8), torch.tensor(True)
    first = download({'depth': depth, 'thin': depth[::2, ::3], 'flag': flag})
    assert np.array_equal(first['depth'], depth) and np.array_equal(first['thin'], depth[::2, ::3])
    assert first['flag'] and first['depth'].ctypes.data != depth.data_ptr()
    place = first['depth'].ctypes.data
    again = download({'depth': depth + 1, 'flag': ~flag})
    assert again['depth'].ctypes.data == place and np.array_equal(again['depth'], depth + 1)
    assert not again['flag']
    with torch.inference_mode():
        inferred = torch.rand(3, 4, 4)
    assert np.array_equal(download({'depth': inferred})['depth'], inferred)


@cuda_only
def test_pictures_go_to_a_gpu_and_back():
    device = torch.device('cuda', 0)
    upload, download = Upload(device), Download(device)
    for seed, size in enumerate([(480, 640), (480, 640), (720, 1280)]):
        image = upload(picture(seed, size))
        assert image.device == device and upload._buffer.is_pinned()
        back = download({'image': image, 'row': image[5, ::2]})
        assert np.array_equal(back['image'], picture(seed, size))
        assert np.array_equal(back['row'], picture(seed, size)[5, ::2])
