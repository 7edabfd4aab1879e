# SPDX-License-Identifier: Apache-2.0
"""Data as a training loop takes it: bad pairs passed over, augmented, as tensors."""
from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from depth_training.augment.pipelines import sample_generator
from depth_training.data.dataset import DepthDataset
from depth_training.data.sample import DataError, Sample

_LOGGER = logging.getLogger(__name__)
#: How depth is brought to a network's output size.
Reduction = Literal['nearest', 'mean', 'reciprocal_mean']
#: Metres below which DenseDepth clips depth before it takes the reciprocal.
NEAREST = 0.1
#: So many bad pairs in a row are no accident.
_PATIENCE = 20


class Batch(NamedTuple):
    """What a network trains on.

    Attributes:
        image: normalised (3, H, W), float32; batched (B, 3, H, W).
        depth: metres (1, h, w), 0 = unknown; batched (B, 1, h, w).
    """

    image: Tensor
    depth: Tensor


class SkipBadPairs:
    """A data set in which the next good pair stands in for a bad one; counts the bad ones.

    The count lives in shared memory: it includes what worker processes met.
    """

    def __init__(self, dataset: DepthDataset) -> None:
        self.dataset = dataset
        self._bad = torch.zeros(len(dataset), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Pair `index`, or the first good one after it.

        Raises:
            DataError: twenty pairs in a row are bad; the text is that of the first.
        """
        first: DataError | None = None
        for step in range(min(_PATIENCE, len(self))):
            place = (index + step) % len(self)
            try:
                return self.dataset[place]
            except DataError as error:
                first = first or error
                self._note(place, error)
        raise first or IndexError(index)

    @property
    def bad_pairs(self) -> list[int]:
        """Indices of the pairs that were found bad so far."""
        return torch.nonzero(self._bad).flatten().tolist()

    def _note(self, index: int, error: DataError) -> None:
        if not self._bad[index]:
            self._bad[index] = 1
            _LOGGER.warning('pair passed over: %s', error)


class TrainingData(Dataset[Batch]):
    """Augmented tensors for a DataLoader; the same for any number of workers.

    Args:
        dataset: the pairs; bad ones are passed over and counted.
        augment: a pipeline of `depth_training.augment.pipelines`.
        to_tensors: turns the augmented sample into a batch's row.
        seed: of all randomness.
        views: an epoch has so many rows of each pair, augmented differently.
    """

    def __init__(self, dataset: DepthDataset,
                 augment: Callable[[Sample, np.random.Generator], Sample],
                 to_tensors: ToTensors, seed: int = 0, views: int = 1) -> None:
        self.views = views
        self.pairs = SkipBadPairs(dataset)
        self.augment, self.to_tensors, self.seed = augment, to_tensors, seed
        # Shared, so that workers which outlive an epoch learn of the next.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.pairs) * self.views

    def set_epoch(self, epoch: int) -> None:
        """Draw other augmentations, always the same ones for the same epoch."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Batch:
        """Row `index` of this epoch: a view of pair `index` modulo the number of pairs."""
        rng = sample_generator(self.seed, int(self._epoch), index)
        return self.to_tensors(self.augment(self.pairs[index % len(self.pairs)], rng))


class ToTensors:
    """Sample -> Batch.

    Args:
        mean, std: per-channel normalisation of RGB / 255.
        depth_size: height and width of the depth, the network's output; None = the image's.
        reduce: see `reduce_depth`.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float],
                 depth_size: tuple[int, int] | None = None,
                 reduce: Reduction = 'nearest') -> None:
        # For values 0..255: saves a pass over the image.
        self._mean = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) * 255
        self._std = torch.tensor(std, dtype=torch.float32).view(3, 1, 1) * 255
        self._depth_size, self._reduce = depth_size, reduce

    def bytes_of(self, height: int, width: int) -> int:
        """Of a row from an image of that size."""
        rows, columns = self._depth_size or (height, width)
        return 4 * (3 * height * width + rows * columns)

    def __call__(self, sample: Sample) -> Batch:
        """Normalise the image, bring depth to its size."""
        image = torch.from_numpy(sample.rgb).permute(2, 0, 1).float()
        depth = torch.from_numpy(sample.depth)[None]
        if self._depth_size is not None:
            depth = reduce_depth(depth[None], self._depth_size, self._reduce)[0]
        return Batch(image.sub_(self._mean).div_(self._std), depth)


def start_worker(worker: int) -> None:
    """`worker_init_fn` of a DataLoader: OpenCV without threads, as torch does for itself.

    Signals that end a run are often sent to all its processes, by Ctrl-C or a job manager. The
    trainer answers them with a checkpoint after the step that runs, however long that takes, and
    needs its workers until then: they end by SIGTERM of the trainer alone, or with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Python does not tell a handler who sent a signal; whoever waits for it is told.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(parent.pid,), daemon=True).start()
    # Not 1: that would join the parent's pool, whose threads a fork does not bring along.
    cv2.setNumThreads(0)


def _obey(process: int | None) -> None:
    """End when that process sends SIGTERM, as Python ends workers that were left over."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != process:
        pass
    os._exit(0)


def reduce_depth(depth: Tensor, size: tuple[int, int],
                 how: Reduction = 'nearest') -> Tensor:
    """Depth (B, 1, H, W) at another size; a mean is over the known pixels, 0 where few are.

    `reciprocal_mean` is the reciprocal of the mean reciprocal: for a network of reciprocal depth
    that is its target, resized after the reciprocal was taken (DenseDepth data.py). At the edge of
    a near thing before a far wall it is much nearer than the mean.
    """
    if how == 'nearest':
        return F.interpolate(depth, size, mode='nearest-exact')
    if how == 'reciprocal_mean':
        inverse = torch.where(depth > 0, 1 / depth.clamp_min(NEAREST), 0)
        inverse = reduce_depth(inverse, size, 'mean')
        return torch.where(inverse > 0, 1 / inverse.clamp_min(1e-6), 0)
    known = F.interpolate((depth > 0).float(), size, mode='bilinear', antialias=True)
    total = F.interpolate(depth, size, mode='bilinear', antialias=True)
    return torch.where(known > 0.5, total / known.clamp_min(1e-6), 0)
