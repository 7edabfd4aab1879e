# SPDX-License-Identifier: Apache-2.0
"""Run the work of a frame on its device: on CUDA as one graph per image size.

A network consists of some hundred kernels of a few microseconds each; launching them one by one
takes longer than running them. A CUDA graph is recorded once and then launched as a whole. It
always reads and writes the same memory, so a frame is copied in and its depth copied out, both on
the device.

Capture runs in the thread that infers, on its own stream, and in mode `thread_local`: other threads
may allocate and launch meanwhile. Only two operations are forbidden, a second capture and releasing
memory, and `device.capture_lock` excludes both. Replays run on the stream of the caller, like
everything else here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from depth_perception.errors import first_line
from depth_perception.inference.backends.frames import Depth
from depth_perception.inference.device import capture_lock, free_cached_memory

#: Largest number of graphs, one per image size; the least recently used one is freed first.
KEPT = 4
#: Number of runs before a capture, in which libraries choose algorithms and allocate memory
#: (recommended by PyTorch's CUDA graph notes).
WARM_UP = 3


class CaptureError(RuntimeError):
    """CUDA could not record the work."""


class Graph(Protocol):
    """Recorded work: fill `image` and `factor`, replay, and read the result from `depth`."""

    image: Tensor
    factor: Tensor
    depth: Tensor

    def replay(self) -> None:
        """Run the graph on the current stream."""

    def free(self) -> None:
        """Release the memory of the graph, which cannot be replayed any more."""


class CudaGraph:
    """The recorded work of one image size.

    Args:
        depth: the work to record; must not wait for the device.
        shape: shape of the image.
        device: a CUDA device.

    Raises:
        CaptureError: the work cannot be recorded.
        torch.cuda.OutOfMemoryError: there is not enough memory.
    """

    def __init__(self, depth: Depth, shape: tuple[int, ...], device: torch.device) -> None:
        self._device = device
        self.image = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.factor = torch.ones((), device=device)
        with capture_lock, torch.cuda.device(device):
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.current_stream())
            # On the stream of the capture: libraries have handles and workspaces per stream.
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    depth(self.image, self.factor)
            torch.cuda.current_stream().wait_stream(stream)
            self._capture(depth, stream)

    def _capture(self, depth: Depth, stream: torch.cuda.Stream) -> None:
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode='thread_local'):
                self.depth = depth(self.image, self.factor)
        except torch.cuda.OutOfMemoryError:
            release_generator(self._device)
            raise
        except RuntimeError as error:
            release_generator(self._device)
            raise CaptureError(first_line(error)) from error

    def replay(self) -> None:
        """Run the graph on the current stream."""
        with torch.cuda.device(self._device):
            self._graph.replay()

    def free(self) -> None:
        """Release the memory of the graph, which cannot be replayed any more."""
        torch.cuda.current_stream(self._device).synchronize()
        self._graph.reset()
        del self.image, self.factor, self.depth
        free_cached_memory()


def release_generator(device: torch.device) -> None:
    """Make the device's random generator usable again after a failed capture.

    PyTorch leaves it in the state of a capture, so that every later random number in this process
    raises "Offset increment outside graph capture" (seen with 2.11).
    """
    generator = torch.cuda.default_generators[device.index or 0]
    if hasattr(generator, 'graphsafe_set_state'):  # PyTorch 2.3 and newer
        fresh = torch.Generator(device).manual_seed(generator.initial_seed())
        generator.graphsafe_set_state(fresh.graphsafe_get_state())


class GraphedFrames:
    """Run one graph per image size and variant; operation by operation if CUDA cannot record.

    Args:
        device: a CUDA device.
        capture: records a graph for depth, shape and device.
    """

    def __init__(
        self,
        device: torch.device,
        capture: Callable[[Depth, tuple[int, ...], torch.device], Graph] = CudaGraph,
    ) -> None:
        self.problem = ''
        self._device = device
        self._capture = capture
        self._graphs: OrderedDict[tuple[tuple[int, ...], tuple[int, ...]], Graph] = OrderedDict()

    def __call__(
        self, depth: Depth, image: Tensor, factor: float, variant: tuple[int, ...] = ()
    ) -> Tensor:
        """Return the depth (H, W) of an image in memory that no later frame overwrites."""
        graph = None if self.problem else self._graph(depth, tuple(image.shape), variant)
        if graph is None:
            result: Tensor = depth(image, factor)
            return result
        graph.image.copy_(image, non_blocking=True)
        graph.factor.fill_(factor)
        graph.replay()
        return graph.depth.clone()

    def _graph(
        self, depth: Depth, shape: tuple[int, ...], variant: tuple[int, ...]
    ) -> Graph | None:
        graph = self._graphs.pop((shape, variant), None)
        if graph is None:
            try:
                graph = self._new(depth, shape)
            except CaptureError as error:
                self.problem = (
                    f'no CUDA graphs, the network runs more slowly than it could: {error}'
                )
                self._keep(0)
                return None
        self._graphs[shape, variant] = graph
        return graph

    def _new(self, depth: Depth, shape: tuple[int, ...]) -> Graph:
        self._keep(KEPT - 1)
        with suppress(torch.cuda.OutOfMemoryError):
            return self._capture(depth, shape, self._device)
        self._keep(0)  # free the graphs of other sizes and try again
        try:
            return self._capture(depth, shape, self._device)
        except torch.cuda.OutOfMemoryError as error:  # running without a graph takes less
            raise CaptureError('out of memory while recording') from error

    def _keep(self, count: int) -> None:
        """Free the least recently used graphs until at most `count` remain."""
        while len(self._graphs) > count:
            self._graphs.popitem(last=False)[1].free()
