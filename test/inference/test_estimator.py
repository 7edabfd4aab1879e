# SPDX-License-Identifier: Apache-2.0
"""The estimator: from bytes to metres, at the size and in the camera of the image."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.inference.backends import torch_eager
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.inference.device import DeviceError, resolve_device
from depth_perception.inference.estimator import FAR_LIMIT, DepthEstimator
from depth_perception.io.bag import Bag
from depth_perception.io.weights import BUNDLED_DEFAULT, WeightsError, save_weights
from test.support.cuda import cuda_only
from test.support.weights import tiny_info, tiny_network

CLIP = Path(__file__).parents[2] / 'data' / 'clip_bag'
CPU = torch.device('cpu')


def tiny_estimator(device=CPU, precision='fp32', **changes):
    return DepthEstimator(TorchEager(tiny_network(), device, precision), tiny_info(**changes))


def photograph(height=96, width=128, seed=0):
    """A smooth colour picture with edges: uint8 (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class FixedOutput:
    """A backend whose raw output is known, whatever the image."""

    name, device, precision, problem = 'fixed', CPU, 'fp32', ''

    def __init__(self, output):
        self.output = torch.as_tensor(output, dtype=torch.float32)[None, None]
        self.images = []

    def run(self, image):
        self.images.append(image)
        return self.output


def with_output(raw, **changes):
    return DepthEstimator(FixedOutput(raw), tiny_info(**changes))


# Sizes.


@pytest.mark.parametrize('size', [(96, 128), (72, 128), (128, 96), (128, 72), (37, 53), (1, 1)])
def test_depth_has_the_size_of_the_image(size):
    depth = tiny_estimator().infer(photograph(*size))
    assert depth.shape == size and depth.dtype == np.float32 and np.isfinite(depth).all()


@pytest.mark.parametrize('size', [(48, 64), (480, 640), (240, 320), (479, 640)])
def test_images_with_the_training_aspect_get_the_training_size(size):
    assert tiny_estimator().network_size(*size) == (48, 64)


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((720, 1280), (208, 368)),
        ((1280, 720), (368, 208)),
        ((640, 480), (320, 240)),
        ((480, 640), (240, 320)),
        ((1000, 1000), (272, 272)),
        ((376, 1241), (160, 528)),
    ],
)
def test_other_aspects_keep_the_area_and_the_aspect(size, expected):
    height, width = tiny_estimator(input_height=240, input_width=320).network_size(*size)
    assert (height, width) == expected
    assert width / height == pytest.approx(size[1] / size[0], rel=0.03)
    assert height * width == pytest.approx(240 * 320, rel=0.15)


@pytest.mark.parametrize('size', [(1, 5000), (5000, 1), (1, 1), (1, 10**6), (2**31, 3)])
def test_extreme_images_get_a_size_that_a_network_can_take(size):
    height, width = tiny_estimator().network_size(*size)
    assert min(height, width) >= 16 and height * width < 4 * 48 * 64


def test_the_whole_frame_is_used():
    estimator = with_output(np.ones((2, 2)))
    image = np.zeros((720, 1280, 3), np.uint8)
    image[:, :40] = image[:, -40:] = 255
    estimator.infer(image)
    fed = estimator._backend.images[0][0, 0]
    assert fed[:, 0].min() > 0.5 and fed[:, -1].min() > 0.5 and fed[:, 20].max() < -0.5


@pytest.mark.parametrize('size', [(96, 128), (37, 53), (24, 32), (72, 129), (1, 5000)])
def test_depth_is_resized_as_on_a_gpu(size):
    """There F.interpolate does it; coordinates are rounded differently."""
    raw = cv2.resize(np.random.default_rng(0).uniform(1, 9, (5, 7)).astype(np.float32), (64, 48))
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(raw)[None, None], size, mode='bilinear', align_corners=False
    )[0, 0]
    depth = with_output(raw).infer(np.zeros((*size, 3), np.uint8))
    np.testing.assert_allclose(depth, exact.numpy(), rtol=2e-5)


def test_pixels_are_normalised_by_the_files_mean_and_deviation():
    estimator = with_output(np.ones((2, 2)), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 0.1))
    estimator.infer(np.full((48, 64, 3), (255, 0, 51), np.uint8))
    fed = estimator._backend.images[0]
    np.testing.assert_allclose(fed[0, :, 0, 0], [1.0, -1.0, 2.0], rtol=1e-6)


# Cameras.


def test_focal_factor_is_the_ratio_at_the_networks_size():
    estimator = tiny_estimator()  # trained: 100 px at 128 wide, so 50 px at the network's 64
    assert estimator.focal_factor(CameraModel(640, 480, 500, 500, 320, 240)) == pytest.approx(1)
    assert estimator.focal_factor(CameraModel(640, 480, 1000, 1000, 320, 240)) == pytest.approx(2)
    assert estimator.focal_factor(None) == 1


def test_an_image_resized_with_its_camera_gives_the_same_metres():
    estimator = with_output(np.full((48, 64), 2.0))
    camera = CameraModel(128, 96, 90.0, 90.0, 64.0, 48.0)
    small = estimator.infer(photograph(96, 128), camera)
    large = estimator.infer(photograph(192, 256), camera.scaled_to(256, 192))
    np.testing.assert_allclose(small, 2.0 * 0.9, rtol=1e-6)
    np.testing.assert_allclose(large, 2.0 * 0.9, rtol=1e-6)


def test_a_real_network_agrees_on_an_image_and_its_enlargement():
    estimator, camera = tiny_estimator(), CameraModel(128, 96, 90.0, 90.0, 64.0, 48.0)
    image = photograph(96, 128)
    small = estimator.infer(image, camera)
    large = estimator.infer(np.repeat(np.repeat(image, 2, 0), 2, 1), camera.scaled_to(256, 192))
    np.testing.assert_allclose(cv2.resize(large, (128, 96)), small, rtol=0.02)


@pytest.mark.parametrize('size', [(72, 128), (128, 72), (128, 96)])
def test_other_aspects_keep_the_focal_rule(size):
    height, width = size
    estimator = tiny_estimator()
    camera = CameraModel(width, height, 80.0, 80.0, width / 2, height / 2)
    _, network_width = estimator.network_size(height, width)
    assert estimator.focal_factor(camera) == pytest.approx(80.0 * network_width / width / 50)


# Outputs.


def test_reciprocal_output_becomes_metres():
    estimator = with_output(
        [[10.0, 5.0], [2.0, 1.0]],
        output='reciprocal',
        input_height=2,
        input_width=2,
        max_depth=20.0,
    )
    np.testing.assert_allclose(
        estimator.infer(np.zeros((2, 2, 3), np.uint8)), [[1, 2], [5, 10]], rtol=1e-6
    )


def test_reciprocal_output_of_zero_or_less_is_far_and_finite():
    estimator = with_output([[0.0, -1.0], [5.0, 5.0]], output='reciprocal')
    depth = estimator.infer(np.zeros((48, 64, 3), np.uint8))
    assert np.isfinite(depth).all()
    assert depth.max() == pytest.approx(FAR_LIMIT * estimator.info.max_depth)
    assert depth[-1].min() == pytest.approx(2.0)


def test_half_size_output_is_resized_to_the_image():
    depth = with_output(np.full((24, 32), 3.0)).infer(photograph(96, 128))
    assert depth.shape == (96, 128) and (depth == 3).all()


def test_inference_repeats_bit_for_bit_and_does_not_write_to_its_input():
    estimator, image = tiny_estimator(), photograph()
    before = image.copy()
    np.testing.assert_array_equal(estimator.infer(image), estimator.infer(image))
    np.testing.assert_array_equal(image, before)


def test_on_a_cpu_the_result_is_an_array():
    depth = tiny_estimator().estimate(photograph()).depth
    assert isinstance(depth, np.ndarray) and depth.dtype == np.float32 and depth.ndim == 2


def test_an_image_may_be_a_tensor_which_is_computed_as_on_a_gpu():
    estimator, image = tiny_estimator(), photograph()
    depth = estimator.estimate(torch.from_numpy(image)).depth
    assert isinstance(depth, torch.Tensor)
    np.testing.assert_allclose(depth.numpy(), estimator.infer(image), rtol=0.02)


# Inputs.


def test_read_only_and_strided_arrays_give_the_same_without_a_warning():
    estimator, image = tiny_estimator(), photograph()
    expected = estimator.infer(image)
    frozen = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    padded = np.zeros((96, 140, 3), np.uint8)
    padded[:, :128] = image
    swapped = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for view in (frozen, padded[:, :128], swapped):
            np.testing.assert_array_equal(estimator.infer(view), expected)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=['float', '16 bit', 'grey', 'alpha', 'batch', 'empty'],
)
def test_other_types_and_shapes_are_refused_by_name(image):
    got = re.escape(f'got {image.dtype} {image.shape}')
    with pytest.raises(ValueError, match=got):
        tiny_estimator().infer(image)


def test_a_camera_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(ValueError, match='640x480, the image 128x96'):
        tiny_estimator().infer(photograph(), CameraModel(640, 480, 500, 500, 320, 240))


# Loading.


def test_loading_a_file_gives_its_network(tmp_path):
    save_weights(tmp_path / 'w', tiny_network(), tiny_info())
    estimator = DepthEstimator.load(tmp_path / 'w', 'cpu', 'fp32', 'torch')
    assert estimator.info == tiny_info() and len(estimator.checksum) == 64
    np.testing.assert_array_equal(
        estimator.infer(photograph()), tiny_estimator().infer(photograph())
    )


@pytest.mark.parametrize(
    ('flags', 'precision'),
    [('avx2 fma avx512_bf16', 'bf16'), ('amx_bf16', 'bf16'), ('avx2 avx512f', 'fp32')],
)
def test_torch_on_a_cpu_computes_in_half_precision_where_it_has_bfloat16(
    tmp_path, monkeypatch, flags, precision
):
    (tmp_path / 'cpuinfo').write_text(f'flags : {flags}\n')
    monkeypatch.setattr(torch_eager, '_CPU_INFO', tmp_path / 'cpuinfo')
    save_weights(tmp_path / 'w', tiny_network(), tiny_info())
    estimator = DepthEstimator.load(tmp_path / 'w', 'cpu', 'fp16', 'torch')
    assert (estimator.device.type, estimator.precision) == ('cpu', precision)
    assert DepthEstimator.load(tmp_path / 'w', 'cpu', 'fp32', 'torch').precision == 'fp32'


def test_a_system_that_does_not_list_its_cpu_computes_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_eager, '_CPU_INFO', tmp_path / 'none')
    assert TorchEager(tiny_network(), CPU, 'bf16').precision == 'fp32'


def test_error_for_an_unknown_precision_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'int8'.*fp16.*fp32"):
        DepthEstimator.load(None, 'cpu', 'int8')


def test_a_missing_file_is_a_weights_error(tmp_path):
    with pytest.raises(WeightsError, match='no such file'):
        DepthEstimator.load(tmp_path / 'none', 'cpu')


@pytest.mark.parametrize('name', ['gpu', 'CUDA', 'cuda:', 'cuda:-1', 'cpu:0', '', 'auto '])
def test_error_for_an_unknown_device_lists_the_known_ones(name):
    with pytest.raises(DeviceError, match='choose auto, cpu, cuda or cuda:N'):
        resolve_device(name)


def test_a_missing_cuda_device_is_never_silently_replaced():
    with pytest.raises(DeviceError, match=r"'cuda:99'.*set device to cpu"):
        resolve_device('cuda:99')


def test_auto_uses_cuda_if_available():
    expected = 'cuda' if torch.cuda.is_available() else 'cpu'
    assert resolve_device('auto').type == expected


def test_the_bundled_network_loads_and_tells_near_from_far():
    assert BUNDLED_DEFAULT.exists(), f'the bundled network is missing: {BUNDLED_DEFAULT}'
    assert BUNDLED_DEFAULT.stat().st_size < 15e6
    estimator = DepthEstimator.load(None, 'cpu')
    info = estimator.info
    assert info.scores and all({'data', 'protocol'} <= set(score) for score in info.scores)
    near_floor = photograph(240, 320, 1)
    near_floor[120:] //= 4
    depth = estimator.infer(near_floor)
    assert info.min_depth < depth.min() and depth.max() <= info.max_depth
    assert depth.std() > 0.05, 'the bundled network gives a constant'
    other = estimator.infer(photograph(240, 320, 2))
    assert np.abs(depth - other).mean() > 0.02, 'the bundled network ignores its image'


def test_the_bundled_network_orders_the_bundled_clip_as_the_truth_does():
    pytest.importorskip('rosbags', reason='rosbags is not installed')
    with Bag(CLIP) as bag:
        topic = bag.image_topic().name
        frames = list(itertools.islice(bag.messages([topic]), 0, 12, 5))
        pictures = [bag.deserialize(frame) for frame in frames]
    estimator = DepthEstimator.load(None, 'cpu')
    for message in pictures:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        truth = cv2.imread(str(CLIP / 'truth' / f'{stamp}.png'), cv2.IMREAD_UNCHANGED) / 1000
        bgr = cv2.imdecode(np.asarray(message.data, np.uint8), cv2.IMREAD_COLOR)
        depth = estimator.infer(bgr[..., ::-1], CameraModel(480, 360, 388.8, 388.8, 240, 180))
        known = truth > 0
        assert np.corrcoef(depth[known], truth[known])[0, 1] > 0.6
        assert np.mean(np.abs(depth - truth)[known] / truth[known]) < 0.5


# GPUs.

CANONICAL = {
    'test_geometry': 'canonical',
    'input_height': 240,
    'input_width': 320,
    'training_focal_length': 260.0,
    'training_image_width': 320,
}


@pytest.mark.parametrize(
    ('width', 'height', 'fx'),
    [
        (640, 480, 617.0),
        (640, 480, 400.0),
        (1280, 720, 900.0),
        (1920, 1080, 2000.0),
        (480, 640, 500.0),
        (1280, 400, 900.0),
    ],
)
def test_a_canonical_network_sees_every_camera_at_the_training_focal_length(width, height, fx):
    estimator = tiny_estimator(**CANONICAL)
    camera = CameraModel(width, height, fx, fx, width / 2, height / 2)
    rows, columns = estimator.network_size(height, width, camera)
    assert rows % 16 == columns % 16 == 0
    assert columns / rows == pytest.approx(width / height, rel=0.08)
    wanted = (260 / fx) ** 2 * width * height / (320 * 240)
    area = rows * columns / (320 * 240)
    assert area == pytest.approx(min(max(wanted, 0.25), 1.25), rel=0.15)
    if 0.3 < wanted < 1.2:
        assert estimator.focal_factor(camera) == pytest.approx(1, rel=0.1)


def test_a_canonical_network_keeps_its_size_for_cameras_like_its_own():
    estimator = tiny_estimator(**CANONICAL)
    for fx in (480.0, 520.0, 560.0):
        camera = CameraModel(640, 480, fx, fx, 320, 240)
        assert estimator.network_size(480, 640, camera) == (240, 320)
        assert estimator.focal_factor(camera) == pytest.approx(fx / 520)
    assert estimator.network_size(480, 640) == (240, 320)
    # Another network is fed as before, whatever the camera.
    plain = tiny_estimator(**{**CANONICAL, 'test_geometry': 'squeeze'})
    camera = CameraModel(640, 480, 900.0, 900.0, 320, 240)
    assert plain.network_size(480, 640, camera) == (240, 320)


def test_a_canonical_network_gives_metres_at_every_input_size():
    """An oracle that knows the depth of what it sees from the size at which it sees it."""
    estimator = tiny_estimator(**CANONICAL)
    truth, seen = 3.0, []

    class Oracle(FixedOutput):
        def run(self, image):
            seen.append(tuple(image.shape[-2:]))
            # A wall 3 m away, in the terms of the training's camera.
            scale = seen[-1][1] / 640 * self.fx / 260
            return torch.full((1, 1, *seen[-1]), truth / scale)

    for fx in (300.0, 520.0, 900.0):
        estimator._backend = oracle = Oracle(torch.zeros(1, 1, 4, 4))
        oracle.fx = fx
        camera = CameraModel(640, 480, fx, fx, 320, 240)
        depth = estimator.infer(photograph(480, 640), camera)
        np.testing.assert_allclose(depth, truth, rtol=1e-5)
    assert len(set(seen)) == 3


@cuda_only
@pytest.mark.parametrize(('precision', 'tolerance'), [('fp32', 5e-3), ('fp16', 3e-2)])
def test_cpu_and_cuda_agree(precision, tolerance):
    image, camera = photograph(), CameraModel(128, 96, 90.0, 90.0, 64.0, 48.0)
    cpu = tiny_estimator().infer(image, camera)
    cuda = tiny_estimator(torch.device('cuda', 0), precision).infer(image, camera)
    np.testing.assert_allclose(cuda, cpu, rtol=tolerance)


@cuda_only
def test_cuda_keeps_the_result_on_the_gpu():
    estimator = tiny_estimator(torch.device('cuda', 0), 'fp16')
    assert estimator.estimate(photograph()).depth.device.type == 'cuda'
    assert estimator.precision == 'fp16'
