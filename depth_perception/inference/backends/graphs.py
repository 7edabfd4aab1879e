# SPDX-License-Identifier: Apache-2.0
"""The way of a frame on its device: on CUDA as one graph for each image size, launched at once.

A network is some hundred kernels of a few microseconds; to launch them one by one takes longer than
to run them. A CUDA graph is recorded once and then launched as a whole. It reads and writes
always the same memory, so a frame is copied in and its depth copied out, both on the device.

Capture needs care with threads. It happens in the thread that infers, on a stream of its own, and
in mode `thread_local`: other threads may go on allocating and launching. Only two things are
forbidden to them meanwhile, a second capture and giving memory back, and `device.capture_lock`
keeps these apart. Replays run on the stream of the caller, as everything else here does.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from depth_perception.errors import first_line
from depth_perception.inference.device import capture_lock, free_cached_memory

#: An image uint8 (H, W, 3) on the device and the factor on its depth -> metres float32 (H, W).
Depth = Callable[[Tensor, 'Tensor | float'], Tensor]

#: Graphs that are kept, one for each size of image; the one not used for longest goes first.
KEPT = 4
#: Runs before a capture, in which libraries choose algorithms and allocate (PyTorch's CUDA graph
#: notes advise a few).
WARM_UP = 3


class Frames(Protocol):
    """Takes frames from image to depth.

    Attributes:
        problem: what keeps it from working as it should, or ''.
    """

    problem: str

    def __call__(self, depth: Depth, image: Tensor, factor: float,
                 variant: tuple[int, ...] = ()) -> Tensor:
        """Depth (H, W) in memory of its own; `variant` tells apart ways of work on one size."""


class EagerFrames:
    """Operation by operation: a CPU has nothing to launch."""

    problem = ''

    def __call__(self, depth: Depth, image: Tensor, factor: float,
                 variant: tuple[int, ...] = ()) -> Tensor:
        """Depth (H, W) of an image."""
        return depth(image, factor)


class CaptureError(RuntimeError):
    """CUDA could not record the work."""


class Graph(Protocol):
    """Recorded work: fill `image` and `factor`, replay, and find the result in `depth`."""

    image: Tensor
    factor: Tensor
    depth: Tensor

    def replay(self) -> None:
        """Run it again, on the current stream."""

    def free(self) -> None:
        """Give its memory back; it cannot be replayed any more."""


class CudaGraph:
    """The work of one image size.

    Args:
        depth: what to record; it must not wait for the device.
        shape: of the image.
        device: a CUDA device.

    Raises:
        CaptureError: it cannot be recorded.
        torch.cuda.OutOfMemoryError: there is no memory for it, recorded or not.
    """

    def __init__(self, depth: Depth, shape: tuple[int, ...], device: torch.device) -> None:
        self._device = device
        self.image = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.factor = torch.ones((), device=device)
        with capture_lock, torch.cuda.device(device):
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream())
            # On the stream of the capture: libraries have handles and workspaces for each stream.
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    depth(self.image, self.factor)
            torch.cuda.current_stream().wait_stream(stream)
            self._capture(depth, stream)

    def _capture(self, depth: Depth, stream: torch.cuda.Stream) -> None:
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(
                    self._graph, stream=stream, capture_error_mode='thread_local'):
                self.depth = depth(self.image, self.factor)
        except torch.cuda.OutOfMemoryError:
            release_generator(self._device)
            raise
        except RuntimeError as error:
            release_generator(self._device)
            raise CaptureError(first_line(error)) from error

    def replay(self) -> None:
        """Run it again, on the current stream."""
        with torch.cuda.device(self._device):
            self._graph.replay()

    def free(self) -> None:
        """Give its memory back; it cannot be replayed any more."""
        torch.cuda.current_stream(self._device).synchronize()
        self._graph.reset()
        del self.image, self.factor, self.depth
        free_cached_memory()


def release_generator(device: torch.device) -> None:
    """Make the device's random generator usable again after a capture that failed.

    PyTorch leaves it as if the capture went on, and every later random number in this process
    raises "Offset increment outside graph capture" (seen with 2.11).
    """
    generator = torch.cuda.default_generators[device.index or 0]
    if hasattr(generator, 'graphsafe_set_state'):  # PyTorch 2.3 and newer
        fresh = torch.Generator(device).manual_seed(generator.initial_seed())
        generator.graphsafe_set_state(fresh.graphsafe_get_state())


class GraphedFrames:
    """One graph for each image size and variant; operation by operation where CUDA cannot record.

    Args:
        device: a CUDA device.
        capture: called with depth, shape and device for a size that is new.
    """

    def __init__(self, device: torch.device,
                 capture: Callable[[Depth, tuple[int, ...], torch.device], Graph] = CudaGraph,
                 ) -> None:
        self.problem = ''
        self._device = device
        self._capture = capture
        self._graphs: OrderedDict[tuple[tuple[int, ...], tuple[int, ...]], Graph] = OrderedDict()

    def __call__(self, depth: Depth, image: Tensor, factor: float,
                 variant: tuple[int, ...] = ()) -> Tensor:
        """Depth (H, W) of an image, in memory that no later frame writes to."""
        graph = None if self.problem else self._graph(depth, tuple(image.shape), variant)
        if graph is None:
            return depth(image, factor)
        graph.image.copy_(image, non_blocking=True)
        graph.factor.fill_(factor)
        graph.replay()
        return graph.depth.clone()

    def _graph(self, depth: Depth, shape: tuple[int, ...],
               variant: tuple[int, ...]) -> Graph | None:
        graph = self._graphs.pop((shape, variant), None)
        if graph is None:
            try:
                graph = self._new(depth, shape)
            except CaptureError as error:
                self.problem = ('no CUDA graphs, the network runs more slowly than it could: '
                                f'{error}')
                self._keep(0)
                return None
        self._graphs[shape, variant] = graph
        return graph

    def _new(self, depth: Depth, shape: tuple[int, ...]) -> Graph:
        self._keep(KEPT - 1)
        with suppress(torch.cuda.OutOfMemoryError):
            return self._capture(depth, shape, self._device)
        self._keep(0)  # what the graphs of other sizes hold may do
        try:
            return self._capture(depth, shape, self._device)
        except torch.cuda.OutOfMemoryError as error:  # operation by operation takes less
            raise CaptureError('out of memory while recording') from error

    def _keep(self, count: int) -> None:
        """Free the graphs that were not used for longest."""
        while len(self._graphs) > count:
            self._graphs.popitem(last=False)[1].free()


def frames_on(device: torch.device) -> Frames:
    """The fastest way that the device has."""
    return GraphedFrames(device) if device.type == 'cuda' else EagerFrames()
