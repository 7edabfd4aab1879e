# SPDX-License-Identifier: Apache-2.0
"""Compiling for sizes of images beside the work on others."""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from depth_perception.errors import named

#: Sizes that wait; of a stream that changes its size each frame only the newest are of use.
_WAITING = 3

Size = tuple[int, int]


class CompileError(RuntimeError):
    """A size that cannot be compiled; the text says why."""


class _Want(NamedTuple):
    what: str
    instead: Size


class Beside:
    """A queue of sizes and one thread, while there are any.

    Args:
        make: compiles for one size and puts the result where it is used.
    """

    def __init__(self, make: Callable[[Size], None]) -> None:
        self._make = make
        self._changed = threading.Condition()
        self._wanted: dict[Size, _Want] = {}  # the first is being made
        self._failed: dict[Size, tuple[_Want, str]] = {}
        self._at_work = False

    @property
    def remark(self) -> str:
        """What is being compiled, or could not be, and how such images are fed; or ''."""
        with self._changed:
            texts = [f'compiling for {want.what}' + (
                f': until then fed at {_words(want.instead)}' if want.instead != size else '')
                for size, want in self._wanted.items()]
            texts += [f'cannot compile for {want.what}, fed at {_words(want.instead)}: {why}'
                      for want, why in self._failed.values()]
        return '; '.join(texts)

    def want(self, size: Size, what: str, instead: Size) -> None:
        """Have a size made, unless that is so or was in vain.

        Args:
            size: (height, width).
            what: the image in words.
            instead: at which size it is fed meanwhile.
        """
        with self._changed:
            if size in self._wanted or size in self._failed:
                return
            while len(self._wanted) > _WAITING:
                self._wanted.pop(list(self._wanted)[1])  # not the one that is being made
            self._wanted[size] = _Want(what, instead)
            if not self._at_work:
                self._at_work = True
                threading.Thread(target=self._work, name='compiling', daemon=True).start()

    def wait(self, size: Size) -> None:
        """Until a wanted size is made.

        Raises:
            CompileError: it cannot be.
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
            except Exception as error:  # of PyTorch, OpenVINO, the system; work goes on without
                why = named(error)
            with self._changed:
                want = self._wanted.pop(size)
                if why:
                    self._failed[size] = want, why
                self._changed.notify_all()


def _words(size: Size) -> str:
    return f'{size[1]}x{size[0]}'
