# SPDX-License-Identifier: Apache-2.0
"""The order of the training pairs: a function of seed and epoch that can start at any batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class BatchOrder(Sampler[list[int]]):
    """One process's share of each batch; all shares together equal the batches of one process.

    Args:
        count: pairs per epoch.
        batch: pairs per batch, over all processes.
        seed: seed of the order.
        rank: index of this process.
        processes: number of processes.

    Raises:
        ValueError: there is less than one batch, or it cannot be shared equally.
    """

    def __init__(
        self, count: int, batch: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        if count < batch:
            raise ValueError(
                f'a batch of {batch} is more than the {count} training pairs: '
                f'give --batch {count} or less'
            )
        if batch % processes:
            raise ValueError(f'a batch of {batch} cannot be shared by {processes} processes')
        self.count, self.batch, self.seed = count, batch, seed
        self.share = batch // processes
        self.offset = rank * self.share
        self.start(0, 0)

    def start(self, epoch: int, position: int) -> None:
        """Continue with batch number `position` of `epoch`."""
        self.epoch, self.position = epoch, position

    @property
    def per_epoch(self) -> int:
        """Return the number of complete batches per epoch; the few remaining pairs are skipped."""
        return self.count // self.batch

    def __len__(self) -> int:
        return self.per_epoch - self.position

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count).tolist()
        for number in range(self.position, self.per_epoch):
            first = number * self.batch + self.offset
            yield order[first : first + self.share]
