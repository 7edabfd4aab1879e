# SPDX-License-Identifier: Apache-2.0
"""Compile for new image sizes in the background."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Collection
from typing import NamedTuple

from depth_perception.errors import listed, named

#: Largest number of waiting sizes; if a stream changes its size each frame, only the newest matter.
_WAITING = 3

Size = tuple[int, int]


class CompileError(RuntimeError):
    """The network cannot be compiled for a size; the message says why."""


class _Want(NamedTuple):
    what: str
    instead: Size


class BackgroundCompiler:
    """A queue of sizes, and a thread that runs while there are any.

    Args:
        make: compiles for one size and stores the result.
    """

    def __init__(self, make: Callable[[Size], None]) -> None:
        self._make = make
        self._changed = threading.Condition()
        self._wanted: dict[Size, _Want] = {}  # the first is being compiled
        self._failed: dict[Size, tuple[_Want, str]] = {}
        self._at_work = False

    @property
    def remark(self) -> str:
        """What is being compiled or failed to compile, and how such images are fed; or ''.

        Sizes that are fed alike, or fail alike, share one clause.
        """
        at_work: dict[str, list[str]] = {}
        failed: dict[str, list[str]] = {}
        with self._changed:
            for size, want in self._wanted.items():
                fed = f': until then fed at {_words(want.instead)}' if want.instead != size else ''
                at_work.setdefault(fed, []).append(f'{want.what} (network input {_words(size)})')
            for size, (want, why) in self._failed.items():
                fed = f', fed at {_words(want.instead)}: {why}'
                failed.setdefault(fed, []).append(f'{want.what} (network input {_words(size)})')
        return '; '.join(
            [f'compiling for {listed(sizes)}{fed}' for fed, sizes in at_work.items()]
            + [f'cannot compile for {listed(sizes)}{fed}' for fed, sizes in failed.items()]
        )

    def size_for(self, ready: Collection[Size], size: Size, what: str) -> Size:
        """Return `size` if it is ready, or nothing is; else request it, return the nearest ready.

        Args:
            ready: (height, width) of what is compiled.
            size: desired (height, width).
            what: description of the image.
        """
        if size in ready or not ready:
            return size
        nearest = min(ready, key=lambda one: abs(math.log(one[1] / one[0] / (size[1] / size[0]))))
        self.want(size, what, nearest)
        return nearest

    def want(self, size: Size, what: str, instead: Size) -> None:
        """Request compilation for a size, unless it is queued or has failed before.

        Args:
            size: (height, width).
            what: description of the image.
            instead: size at which the image is fed meanwhile.
        """
        with self._changed:
            if size in self._wanted or size in self._failed:
                return
            while len(self._wanted) > _WAITING:
                self._wanted.pop(list(self._wanted)[1])  # the first is being compiled
            self._wanted[size] = _Want(what, instead)
            if not self._at_work:
                self._at_work = True
                threading.Thread(target=self._work, name='compiling', daemon=True).start()

    def wait(self, size: Size) -> None:
        """Wait until a requested size is compiled.

        Raises:
            CompileError: it cannot be compiled.
        """
        with self._changed:
            self._changed.wait_for(lambda: size not in self._wanted)
            if size in self._failed:
                want, why = self._failed[size]
                raise CompileError(f'cannot compile for {want.what}: {why}')

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._wanted:
                    self._at_work = False
                    return
                size = next(iter(self._wanted))
            why = ''
            try:
                self._make(size)
            except Exception as error:  # from PyTorch, OpenVINO or the system
                why = named(error)
            with self._changed:
                want = self._wanted.pop(size)
                if why:
                    self._failed[size] = want, why
                self._changed.notify_all()


def weakly(method: Callable[[Size], None]) -> Callable[[Size], None]:
    """Return a function that calls a bound method while its object is in use.

    Otherwise the compiler would keep the network of a backend that nobody uses any more.
    """
    reference = weakref.WeakMethod(method)

    def call(size: Size) -> None:
        found = reference()
        if found is not None:
            found(size)

    return call


def _words(size: Size) -> str:
    return f'{size[1]}x{size[0]}'
