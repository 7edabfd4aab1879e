# SPDX-License-Identifier: Apache-2.0
"""The processes of one training run: started by torchrun, or a single one."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed

from depth_training.losses.masked import across_processes


@dataclass(frozen=True)
class Processes:
    """One process among all of a run."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def global_sums(self) -> AbstractContextManager[None]:
        """Inside, losses and batch norms see the batch of all processes."""
        return across_processes() if self.count > 1 else nullcontext()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in at least one process; all must ask."""
        if self.count == 1:
            return flag
        value = torch.tensor(float(flag), device=device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return bool(value)

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the run that torchrun started (its environment variables say so), or be alone."""
    count = int(os.environ.get('WORLD_SIZE', '1'))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group('nccl' if device == 'cuda' else 'gloo')
    try:
        yield Processes(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()


def local_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as the device of this process; with torchrun, one GPU each.

    Raises:
        ValueError: CUDA is asked for and absent.
    """
    if name not in ('auto', 'cpu', 'cuda'):
        raise ValueError(f'unknown device {name!r}: choose auto, cpu or cuda')
    if name == 'cpu' or (name == 'auto' and not torch.cuda.is_available()):
        return torch.device('cpu')
    if not torch.cuda.is_available():
        raise ValueError('there is no CUDA device: choose --device cpu')
    device = torch.device('cuda', int(os.environ.get('LOCAL_RANK', '0')))
    torch.cuda.set_device(device)
    return device
