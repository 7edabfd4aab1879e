# SPDX-License-Identifier: Apache-2.0
"""The processes of a training run: one, or several started by torchrun."""

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
    """One process and the number of all processes of a run."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Tell if this process writes files and logs."""
        return self.rank == 0

    def global_sums(self) -> AbstractContextManager[None]:
        """Return a context in which losses and batch norms see the batch of all processes."""
        return across_processes() if self.count > 1 else nullcontext()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Tell if the flag is set in any process; all processes must call this."""
        if self.count == 1:
            return flag
        value = torch.tensor(float(flag), device=device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return bool(value)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the run that torchrun started (see its environment variables), or run alone."""
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
    """Return this process's device for `auto`, `cpu` or `cuda`; one GPU each with torchrun.

    Raises:
        ValueError: CUDA is requested but missing.
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
