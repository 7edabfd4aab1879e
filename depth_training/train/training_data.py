# SPDX-License-Identifier: Apache-2.0
"""Training data for a DataLoader: bad pairs skipped, augmented, converted to tensors."""

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
#: Ways to reduce depth to a network's output size.
Reduction = Literal['nearest', 'mean', 'reciprocal_mean']
#: DenseDepth clips depth below this before taking the reciprocal, metres.
NEAREST = 0.1
#: Number of consecutive bad pairs that indicates unusable data.
_PATIENCE = 20


class Batch(NamedTuple):
    """One training example, or a batch of them.

    Attributes:
        image: normalised (3, H, W), float32; batched (B, 3, H, W).
        depth: metres (1, h, w), 0 = unknown; batched (B, 1, h, w).
    """

    image: Tensor
    depth: Tensor


class SkipBadPairs:
    """A data set that replaces a bad pair by the next good one, and counts the bad ones.

    The counter is in shared memory, so it includes bad pairs found by worker processes.
    """

    def __init__(self, dataset: DepthDataset) -> None:
        self.dataset = dataset
        self._bad = torch.zeros(len(dataset), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Return pair `index`, or the first good one after it.

        Raises:
            DataError: twenty consecutive pairs are bad; the message is that of the first.
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
        """Return the indices of the bad pairs found so far."""
        return torch.nonzero(self._bad).flatten().tolist()

    def _note(self, index: int, error: DataError) -> None:
        if not self._bad[index]:
            self._bad[index] = 1
            _LOGGER.warning('skipped bad pair: %s', error)


class TrainingData(Dataset[Batch]):
    """Augmented tensors for a DataLoader, identical for any number of workers.

    Args:
        dataset: the pairs; bad ones are skipped and counted.
        augment: a pipeline of `depth_training.augment.pipelines`.
        to_tensors: converts the augmented sample to a row of a batch.
        seed: seed of all randomness.
        views: rows per pair and epoch, augmented differently.
    """

    def __init__(
        self,
        dataset: DepthDataset,
        augment: Callable[[Sample, np.random.Generator], Sample],
        to_tensors: ToTensors,
        seed: int = 0,
        views: int = 1,
    ) -> None:
        self.views = views
        self.pairs = SkipBadPairs(dataset)
        self.augment, self.to_tensors, self.seed = augment, to_tensors, seed
        # Shared, so that workers that live longer than an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.pairs) * self.views

    def set_epoch(self, epoch: int) -> None:
        """Choose the augmentations of an epoch; the same epoch always gives the same ones."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Batch:
        """Return row `index` of this epoch, a view of pair `index` modulo the number of pairs."""
        rng = sample_generator(self.seed, int(self._epoch), index)
        return self.to_tensors(self.augment(self.pairs[index % len(self.pairs)], rng))


class ToTensors:
    """Convert a Sample to a Batch row.

    Args:
        mean, std: per-channel normalisation of RGB / 255.
        depth_size: height and width of the depth, as the network's output; None = the image's.
        reduce: see `reduce_depth`.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        depth_size: tuple[int, int] | None = None,
        reduce: Reduction = 'nearest',
    ) -> None:
        # For values 0..255, which saves a pass over the image.
        self._mean = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1) * 255
        self._std = torch.tensor(std, dtype=torch.float32).view(3, 1, 1) * 255
        self._depth_size, self._reduce = depth_size, reduce

    def bytes_of(self, height: int, width: int) -> int:
        """Return the bytes of a row from an image of that size."""
        rows, columns = self._depth_size or (height, width)
        return 4 * (3 * height * width + rows * columns)

    def __call__(self, sample: Sample) -> Batch:
        """Normalise the image and reduce depth to its size."""
        image = torch.from_numpy(sample.rgb).permute(2, 0, 1).float()
        depth = torch.from_numpy(sample.depth)[None]
        if self._depth_size is not None:
            depth = reduce_depth(depth[None], self._depth_size, self._reduce)[0]
        return Batch(image.sub_(self._mean).div_(self._std), depth)


def start_worker(worker: int) -> None:
    """`worker_init_fn` of a DataLoader: disable OpenCV's threads, as torch does with its own.

    Ctrl-C and job managers often send signals that end a run to all its processes. The trainer
    reacts with a checkpoint after the current step, however long that takes, and needs its workers
    until then. So workers only obey SIGTERM from the trainer, or end with it.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # Python does not tell handlers the sender of a signal; sigwaitinfo does.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(parent.pid,), daemon=True).start()
        # Not 1: that would join the parent's thread pool, whose threads do not survive a fork.
    cv2.setNumThreads(0)


def _obey(process: int | None) -> None:
    """Exit on SIGTERM from that process, as Python ends remaining workers."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != process:
        pass
    os._exit(0)


def reduce_depth(depth: Tensor, size: tuple[int, int], how: Reduction = 'nearest') -> Tensor:
    """Reduce depth (B, 1, H, W) to another size; means use known pixels, 0 = too few are known.

    `reciprocal_mean` is the reciprocal of the mean reciprocal: the target of a network of
    reciprocal depth, resized after taking the reciprocal (DenseDepth data.py). At the edge of a
    near object before a far wall it is much nearer than the mean.
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
