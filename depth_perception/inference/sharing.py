# SPDX-License-Identifier: Apache-2.0
"""One network for several users, such as the cameras of a robot: loaded once, used in turn.

A shared network runs in a thread of its own that serves requests in the order in which they come.
A user asks again only when it has its result, so of n busy users each gets every n-th turn, and
one that asks for nothing costs the others nothing; a `threading.Lock` promises no such order. One
thread also keeps one pool of OpenMP threads and one set of PyTorch's per-thread buffers.
"""
from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depth_perception.camera.model import CameraModel
from depth_perception.inference.device import resolve_device
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimate, Estimator, Sharing
from depth_perception.io.weights import weights_path

Load = Callable[[str, str, str, str], Estimator]
#: Seconds on one request after which a network is shared with no further user: it may never end.
HUNG = 10.0


class Turns:
    """Runs functions one at a time in a thread of its own, first come, first served."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._now: tuple[str, float] | None = None
        threading.Thread(target=self._serve, name='shared_network', daemon=True).start()

    @property
    def now(self) -> tuple[str, float]:
        """Whose turn it is, and for how many seconds already; ('', 0) while there is no request."""
        now = self._now
        return ('', 0.0) if now is None else (now[0], time.monotonic() - now[1])

    def call(self, user: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Wait for a turn; what the function returns or raises."""
        future: Future[Any] = Future()
        self._requests.put((user, future, function, arguments))
        try:
            return future.result()
        finally:
            del future  # an exception would refer to itself, and keep all that it saw

    def close(self) -> None:
        """End the thread after the requests before this one."""
        self._requests.put(None)

    def _serve(self) -> None:
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """False at the end. A function of its own, so that waiting keeps nothing alive."""
        request = self._requests.get()
        if request is None:
            return False
        user, future, function, arguments = request
        self._now = (user, time.monotonic())
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # it belongs to the user, who is waiting
            future.set_exception(error)
        finally:
            self._now = None
            del request, future, function, arguments
        return True


class _Network:
    """An estimator, its users and their turns; gone with the last user."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.turns = Turns()
        self.users: dict[int, str] = {}
        weakref.finalize(self, self.turns.close)


class NetworkShare:
    """What one user has of a shared network: an `Estimator` that waits for its turn.

    Attributes:
        user: its name.
        info, checksum, device, precision, backend: as of the shared network.
    """

    def __init__(self, network: _Network, user: str) -> None:
        self.user = user
        self._network = network
        estimator = network.estimator
        self.info, self.checksum = estimator.info, estimator.checksum
        self.device, self.precision = estimator.device, estimator.precision
        self.backend = estimator.backend
        network.users[id(self)] = user
        weakref.finalize(self, network.users.pop, id(self))

    @property
    def sharing(self) -> Sharing:
        """Everybody who shares the network, and whose turn it is."""
        return Sharing(tuple(sorted(self._network.users.values())), self._network.turns.now[0])

    @property
    def remarks(self) -> tuple[str, ...]:
        """As of the shared network."""
        return self._network.estimator.remarks

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        """As `Estimator.prepare`; the others' turns go on."""
        self._network.estimator.prepare(sizes)

    def estimate(self, rgb: NDArray[np.uint8] | Tensor,
                 camera: CameraModel | None = None) -> Estimate:
        """As `Estimator.estimate`, when its turn comes."""
        estimate: Estimate = self._network.turns.call(
            self.user, self._network.estimator.estimate, rgb, camera)
        return estimate


class SharedNetworks:
    """Loads each network once for all who ask for the same file, device, precision and
    backend.

    A network is freed when the last of its users lets go of it. A weights file that was replaced is
    another network.

    Args:
        load: called with model file, device, precision and backend for a network that nobody
            has.
    """

    def __init__(self, load: Load = DepthEstimator.load) -> None:
        self._load = load
        self._loading = threading.Lock()
        self._networks: weakref.WeakValueDictionary[tuple[Any, ...], _Network] = \
            weakref.WeakValueDictionary()

    def loader(self, user: str) -> Callable[..., NetworkShare]:
        """A function for that user that takes the place of `DepthEstimator.load`.

        It raises what that raises.
        """
        def load(model_file: str, device: str, precision: str,
                 backend: str = 'auto') -> NetworkShare:
            return NetworkShare(self._network(model_file, device, precision, backend), user)
        return load

    def _network(self, model_file: str, device: str, precision: str, backend: str) -> _Network:
        key = (*_identity(weights_path(model_file)), str(resolve_device(device)), precision,
               backend)
        with self._loading:
            network = self._networks.get(key)
            if network is None or network.turns.now[1] > HUNG:
                network = _Network(self._load(model_file, device, precision, backend))
                self._networks[key] = network
        return network


def _identity(path: Path) -> tuple[Any, ...]:
    """What tells a file and its content from others, without reading it."""
    try:
        status = path.expanduser().stat()
    except OSError:
        return (path,)  # loading says what is wrong
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
