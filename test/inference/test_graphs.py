# SPDX-License-Identifier: Apache-2.0
"""One graph for each image size: what is kept, freed and done where CUDA cannot record.

A stand-in for CUDA's graphs runs the recorded function on the CPU into memory of its own, as a
replay does; the tests of real graphs need a GPU.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from depth_perception.camera.model import CameraModel
from depth_perception.inference.backends.choice import frames_on
from depth_perception.inference.backends.graphs import KEPT, CaptureError, GraphedFrames
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.transfer import Upload
from test.inference.test_estimator import photograph, tiny_estimator
from test.support.cuda import cuda_only
from test.support.weights import tiny_info, tiny_network

CPU = torch.device('cpu')
SIZES = [(96, 128), (72, 128), (128, 96), (64, 64), (37, 53)]


class Recorder:
    """Makes stand-ins for graphs.

    Args:
        errors: raised by the captures, in turn; None is a capture that works.
    """

    def __init__(self, *errors):
        self.errors = list(errors)
        self.captured = []
        self.freed = []

    def __call__(self, depth, shape, device):
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.captured.append(shape[:2])
        return Recorded(self, depth, shape, device)


class Recorded:
    def __init__(self, recorder, depth, shape, device):
        self.image = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.factor = torch.ones((), device=device)
        self.depth = depth(self.image, self.factor)
        self._again, self._recorder = depth, recorder

    def replay(self):
        self.depth.copy_(self._again(self.image, self.factor))

    def free(self):
        self._recorder.freed.append(tuple(self.depth.shape))


def graphed(*errors):
    estimator, recorder = eager(), Recorder(*errors)
    estimator._frames = GraphedFrames(CPU, recorder)
    return estimator, recorder


def eager():
    """Return an estimator that computes with tensors, as on a GPU."""
    estimator = tiny_estimator()
    estimator._upload = Upload(CPU, staged=True)
    return estimator


def camera_of(image, focal):
    height, width = image.shape[:2]
    return CameraModel(width, height, focal, focal, width / 2, height / 2)


def test_a_graph_gives_the_same_result_as_the_operations():
    estimator, recorder = graphed()
    for size in (*SIZES[:3], SIZES[0]):
        image = photograph(*size)
        for focal in (80.0, 120.0):
            camera = camera_of(image, focal)
            np.testing.assert_array_equal(
                estimator.infer(image, camera), eager().infer(image, camera)
            )
    assert recorder.captured == SIZES[:3]  # another camera or the first size again: no capture
    assert not estimator.remarks


def test_a_depth_is_not_overwritten_by_the_next():
    estimator, _ = graphed()
    first = estimator.estimate(photograph(seed=0)).depth
    kept = first.clone()
    second = estimator.estimate(photograph(seed=1)).depth
    assert torch.equal(first, kept) and not torch.equal(first, second)


def test_the_least_recently_used_graph_is_freed():
    estimator, recorder = graphed()
    for size in (*SIZES[:KEPT], SIZES[0], SIZES[KEPT]):
        estimator.infer(photograph(*size))
    assert recorder.freed == [SIZES[1]] and recorder.captured == SIZES
    estimator.infer(photograph(*SIZES[0]))
    assert recorder.captured == SIZES


def test_if_cuda_cannot_record_the_network_still_runs_with_one_remark():
    estimator, recorder = graphed(None, CaptureError('operation not permitted'))
    for size in (*SIZES[:3], SIZES[0]):
        np.testing.assert_array_equal(
            estimator.infer(photograph(*size)), eager().infer(photograph(*size))
        )
    assert recorder.captured == recorder.freed == SIZES[:1]  # it was not tried again
    assert len(estimator.remarks) == 1 and 'operation not permitted' in estimator.remarks[0]


def test_other_graphs_are_freed_if_memory_is_short():
    estimator, recorder = graphed(None, torch.cuda.OutOfMemoryError('full'))
    for size in SIZES[:2]:
        estimator.infer(photograph(*size))
    assert recorder.captured == SIZES[:2] and recorder.freed == SIZES[:1]
    full = torch.cuda.OutOfMemoryError('full')
    estimator, _ = graphed(full, full)
    np.testing.assert_array_equal(estimator.infer(photograph()), eager().infer(photograph()))
    assert 'out of memory while recording' in estimator.remarks[0]


def test_a_cpu_has_no_graphs():
    assert not isinstance(frames_on(CPU), GraphedFrames)
    assert isinstance(frames_on(torch.device('cuda', 0)), GraphedFrames)


# On a GPU.


def on_gpu(precision='fp32'):
    return DepthEstimator(
        TorchEager(tiny_network(), torch.device('cuda', 0), precision), tiny_info()
    )


@cuda_only
@pytest.mark.parametrize(
    ('precision', 'tolerance'), [('fp32', 5e-3), ('fp16', 3e-2), ('bf16', 0.1)]
)
def test_cuda_graphs_give_the_depth_of_the_cpu(precision, tolerance):
    estimator = on_gpu(precision)
    for size in (*SIZES, SIZES[0]):
        image = photograph(*size)
        camera = camera_of(image, 90.0)
        for _ in range(2):
            np.testing.assert_allclose(
                estimator.infer(image, camera),
                eager().infer(image, camera),
                rtol=tolerance,
            )
    assert not estimator.remarks and len(estimator._frames._graphs) == KEPT


@cuda_only
def test_cuda_graphs_give_the_confidence_of_the_cpu():
    cpu, gpu = (DepthEstimator.load(None, name, 'fp32', 'torch') for name in ('cpu', 'cuda'))
    image = photograph(240, 320)
    for _ in range(2):
        depth, confidence = gpu.infer_with_confidence(image)
        expected, sure = cpu.infer_with_confidence(image)
        np.testing.assert_allclose(depth, expected, rtol=5e-2)
        np.testing.assert_allclose(confidence, sure, atol=2e-2)
    assert not gpu.remarks and len(gpu._frames._graphs) == 2


@cuda_only
def test_freed_graphs_release_their_memory():
    estimator = on_gpu()
    for size in SIZES[:KEPT]:
        estimator.infer(photograph(*size))
    full = torch.cuda.memory_reserved()
    estimator._frames._keep(0)
    assert torch.cuda.memory_reserved() < full


@cuda_only
def test_captures_in_one_thread_do_not_disturb_others():
    failures = []

    def capture_again_and_again():
        try:
            estimator = on_gpu()
            for number in range(12):
                estimator.infer(photograph(32 + 16 * number, 64))
            failures.extend(estimator.remarks)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=capture_again_and_again) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tensor = torch.rand(torch.randint(1, 2000, ()), 777).pin_memory().to('cuda')
        assert torch.isfinite(tensor).all()
    assert not failures


@cuda_only
def test_work_that_waits_for_the_gpu_runs_without_a_graph():
    frames = GraphedFrames(torch.device('cuda', 0))
    image = torch.full((8, 8, 3), 7, dtype=torch.uint8, device='cuda')
    for _ in range(2):
        depth = frames(lambda image, factor: image.float().mean(-1) * image.max().item(), image, 1)
        assert (depth == 49).all()
    assert 'no CUDA graphs' in frames.problem
    # The capture that failed must not keep others from random numbers.
    assert torch.rand(3, device='cuda').isfinite().all()
