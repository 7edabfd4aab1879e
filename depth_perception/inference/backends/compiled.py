# SPDX-License-Identifier: Apache-2.0
"""The network as machine code, made beforehand by `depth-perception compile` (AOTInductor).

A package is of one network, precision, input size, device and PyTorch version; the name of its file
says so. Loading one runs the code in it, so only a package is taken that the user owns, that
nobody else may write to, and that is as it was written.
"""
from __future__ import annotations

import copy
import hashlib
import os
import platform
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_perception.errors import first_line
from depth_perception.inference.backends.torch_eager import TorchEager
from depth_perception.io.files import write_atomically

#: Characters of a weights file's checksum that stand in a package's name.
_DIGITS = 16


class PackageError(RuntimeError):
    """A package that is missing, cannot be made, or must not be loaded; the text says why."""


class Compiled:
    """Packages where they are there; PyTorch's way for other sizes of input.

    Args:
        network: on the CPU, as loaded.
        device, precision: as for PyTorch's way; on a CPU always float32.
        checksum: of the weights file.

    Raises:
        PackageError: there is no package at all of this network for this device.
    """

    name = 'compiled'

    def __init__(self, network: nn.Module, device: torch.device, precision: str,
                 checksum: str) -> None:
        self._eager = _eager(network, device, precision)
        self.device, self.precision = device, self._eager.precision
        self.problem = ''
        self._checksum = checksum
        self._runs: dict[tuple[int, int], Callable[[Tensor], Tensor]] = {}
        pattern = package_path(checksum, self.precision, device, None).name
        if not any(folder().glob(pattern)):
            raise PackageError(
                f'no compiled package of this network in {self.precision} on {device} in '
                f'{folder()}: run "depth-perception compile", with the same weights, device and '
                'precision, or set backend to auto')

    @torch.inference_mode()
    def run(self, image: Tensor) -> Tensor:
        """Normalised image (1, 3, H, W) float32 -> raw output (1, 1, h, w) float32."""
        size = tuple(image.shape[-2:])
        if size not in self._runs:
            self._runs[size] = self._way(size)
        # The code has the strides of its example built in, and checks none.
        return self._runs[size](image.contiguous())

    def size_for(self, size: tuple[int, int], what: str) -> tuple[int, int]:
        """Any size is ready."""
        return size

    def prepare(self, sizes: Iterable[tuple[tuple[int, int], str]]) -> None:
        """Nothing is to be done."""

    def _way(self, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
        path = package_path(self._checksum, self.precision, self.device, size)
        try:
            return load_package(path, self.device)
        except PackageError as error:
            self.problem = f'not compiled for this image size, PyTorch runs the network: {error}'
            return self._eager.run


class _Whole(nn.Module):
    """A backend as a module, for export."""

    def __init__(self, eager: TorchEager) -> None:
        super().__init__()
        self.network, self.dtype = eager.network, eager.dtype

    def forward(self, image: Tensor) -> Tensor:
        image = image.to(dtype=self.dtype, memory_format=torch.channels_last)
        return self.network(image).float()


def folder() -> Path:
    """Where packages are kept: the user's cache folder."""
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache) / 'depth_perception' / 'compiled'


def _eager(network: nn.Module, device: torch.device, precision: str) -> TorchEager:
    """What is compiled, and runs where no size was."""
    return TorchEager(network, device, precision if device.type == 'cuda' else 'fp32')


def package_path(checksum: str, precision: str, device: torch.device,
                 size: tuple[int, int] | None) -> Path:
    """The file of a package; with size None a pattern for all sizes."""
    chip = torch.cuda.get_device_name(device) if device.type == 'cuda' else _processor()
    parts = (checksum[:_DIGITS], precision, chip, f'torch{torch.__version__}')
    stem = '-'.join(re.sub(r'[^\w.]+', '_', part) for part in parts)
    return folder() / f'{stem}-{"*" if size is None else f"{size[0]}x{size[1]}"}.pt2'


def _processor() -> str:
    """Machine code is for the instructions of a processor, such as AVX-512."""
    return f'{platform.machine()}_{torch.backends.cpu.get_cpu_capability()}'


def compile_package(network: nn.Module, device: torch.device, precision: str, checksum: str,
                    size: tuple[int, int]) -> Path:
    """Compile a network for one input size (height, width); minutes of work.

    Returns:
        The package's file.

    Raises:
        PackageError: PyTorch or the compiler could not, or the file cannot be written.
    """
    import torch._inductor

    eager = _eager(copy.deepcopy(network), device, precision)
    path = package_path(checksum, eager.precision, device, size)
    unfinished = path.with_name(f'.{path.name}')
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with torch.no_grad(), _private_workshop(path.parent):
            program = torch.export.export(
                _Whole(eager), (torch.randn(1, 3, *size, device=device),))
            torch._inductor.aoti_compile_and_package(program, package_path=str(unfinished))
        unfinished.chmod(0o600)
        write_atomically(_checksum_file(path), [_digest(unfinished).encode()])
        unfinished.replace(path)
    except Exception as error:  # of a compiler, of export, of the disk
        unfinished.unlink(missing_ok=True)
        raise PackageError(f'the network cannot be compiled here: {first_line(error)}') from error
    return path


@contextmanager
def _private_workshop(parent: Path) -> Iterator[None]:
    """PyTorch builds in a folder of our own: its usual one in /tmp anybody could have made."""
    name = 'TORCHINDUCTOR_CACHE_DIR'
    before = os.environ.get(name)
    with tempfile.TemporaryDirectory(dir=parent, prefix='.build-') as workshop:
        os.environ[name] = workshop
        try:
            yield
        finally:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before


def load_package(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A package's function, after the checks.

    Raises:
        PackageError: it is missing, others could have written it, or it was altered.
    """
    import torch._inductor

    if not path.exists():
        raise PackageError(f'there is no {path}')
    for place in (path.parent, path):
        status = place.lstat()
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) \
                or stat.S_ISLNK(status.st_mode):
            raise PackageError(f'{place} holds code that somebody else may have written: delete it '
                               'and compile again')
    known = _checksum_file(path)
    if not known.exists() or known.read_text() != _digest(path):
        raise PackageError(f'{path} is damaged: delete it and compile again')
    # One runner, and no waiting of its own: that would end the recording of a CUDA graph.
    index = -1 if device.index is None else device.index
    try:
        return torch._inductor.aoti_load_package(
            str(path), run_single_threaded=True, device_index=index)
    except Exception as error:  # of PyTorch, whose versions differ here
        raise PackageError(f'{path} cannot be loaded: {first_line(error)}') from error


def _checksum_file(path: Path) -> Path:
    return path.with_suffix('.sha256')


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
