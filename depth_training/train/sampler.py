# SPDX-License-Identifier: Apache-2.0
"""The order in which pairs are seen: a function of seed and epoch, entered at any batch."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class BatchOrder(Sampler[list[int]]):
    """One process's share of each batch; all shares together are one process's batches.

    Args:
        count: pairs of an epoch.
        batch: pairs of a batch, of all processes together.
        seed: of the order.
        rank: number of this process.
        processes: how many there are.

    Raises:
        ValueError: there is less than one batch, or it cannot be shared equally.
    """

    def __init__(self, count: int, batch: int, seed: int, rank: int = 0,
                 processes: int = 1) -> None:
        if count < batch:
            raise ValueError(f'a batch of {batch} is more than the {count} training pairs: '
                             f'give --batch {count} or less')
        if batch % processes:
            raise ValueError(f'a batch of {batch} cannot be shared by {processes} processes')
        self.count, self.batch, self.seed = count, batch, seed
        self.share = batch // processes
        self.offset = rank * self.share
        self.start(0, 0)

    def start(self, epoch: int, position: int) -> None:
        """Next, give the batches of `epoch` from number `position` on."""
        self.epoch, self.position = epoch, position

    @property
    def per_epoch(self) -> int:
        """Whole batches of an epoch; the few pairs left over wait for another shuffle."""
        return self.count // self.batch

    def __len__(self) -> int:
        return self.per_epoch - self.position

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count).tolist()
        for number in range(self.position, self.per_epoch):
            first = number * self.batch + self.offset
            yield order[first:first + self.share]
