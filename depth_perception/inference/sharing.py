# SPDX-License-Identifier: Apache-2.0
"""Share one network among several users, such as the cameras of a robot.

A shared network runs in its own thread, which serves requests in the order of arrival. A user
sends the next request only after its last result, so each of n busy users gets every n-th turn,
and an idle user costs the others nothing; a `threading.Lock` does not guarantee such an order. One
thread also needs only one pool of OpenMP threads and one set of PyTorch's per-thread buffers.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.inference.device import resolve_device
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimate, Estimator, Sharing
from depth_perception.io.weights import weights_path

if TYPE_CHECKING:
    from torch import Tensor

Load = Callable[[str, str, str, str], Estimator]
#: If a request takes longer (seconds), new users do not share the network: it may hang forever.
HUNG = 10.0


class Turns:
    """Run functions one at a time in one thread, first come, first served."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._now: tuple[str, float] | None = None
        threading.Thread(target=self._serve, name='shared_network', daemon=True).start()

    @property
    def now(self) -> tuple[str, float]:
        """The current user and for how many seconds it has been served; ('', 0) while idle."""
        now = self._now
        return ('', 0.0) if now is None else (now[0], time.monotonic() - now[1])

    def call(self, user: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Wait for a turn, call the function, and return or raise its result."""
        future: Future[Any] = Future()
        self._requests.put((user, future, function, arguments))
        try:
            return future.result()
        finally:
            del future  # breaks a reference cycle of an exception, which would keep its frames

    def close(self) -> None:
        """End the thread after all earlier requests."""
        self._requests.put(None)

    def _serve(self) -> None:
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Serve one request; return False at the end.

        A separate function, so that waiting does not keep the objects of the last request alive.
        """
        request = self._requests.get()
        if request is None:
            return False
        user, future, function, arguments = request
        self._now = (user, time.monotonic())
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # raised again in the user's thread
            future.set_exception(error)
        finally:
            self._now = None
            del request, future, function, arguments
        return True


class _Network:
    """An estimator, its users and their turns; freed with the last user."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.turns = Turns()
        self.users: dict[int, str] = {}
        weakref.finalize(self, self.turns.close)


class NetworkShare:
    """One user's share of a network: an `Estimator` that waits for its turn.

    Attributes:
        user: name of the user.
        info: see `Estimator`.
        checksum: see `Estimator`.
        device: see `Estimator`.
        precision: see `Estimator`.
        backend: see `Estimator`.
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
        """All users of the network, and the current one."""
        return Sharing(tuple(sorted(self._network.users.values())), self._network.turns.now[0])

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks of the shared network."""
        return self._network.estimator.remarks

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Prepare for sizes like `Estimator.prepare`; other users are served meanwhile."""
        self._network.estimator.prepare(sizes)

    def prepare_confidence(self) -> None:
        """Prepare like `Estimator.prepare_confidence`; other users are served meanwhile."""
        self._network.estimator.prepare_confidence()

    def estimate(
        self,
        rgb: NDArray[np.uint8] | Tensor,
        camera: CameraModel | None = None,
        confidence: bool = False,
        wait: bool = True,
    ) -> Estimate:
        """Estimate the depth like `Estimator.estimate`, after waiting for a turn."""
        more = (confidence, wait) if confidence else ()
        estimate: Estimate = self._network.turns.call(
            self.user, self._network.estimator.estimate, rgb, camera, *more
        )
        return estimate


class SharedNetworks:
    """Load each network once for all users with the same file, device, precision and backend.

    A network is freed when its last user releases it. A replaced weights file counts as another
    network.

    Args:
        load: loads a network by model file, device, precision and backend.
    """

    def __init__(self, load: Load = DepthEstimator.load) -> None:
        self._load = load
        self._loading = threading.Lock()
        self._networks: weakref.WeakValueDictionary[tuple[Any, ...], _Network] = (
            weakref.WeakValueDictionary()
        )

    def loader(self, user: str) -> Callable[..., NetworkShare]:
        """Return a function that replaces `DepthEstimator.load` for a user, with its errors."""

        def load(
            model_file: str, device: str, precision: str, backend: str = 'auto'
        ) -> NetworkShare:
            return NetworkShare(self._network(model_file, device, precision, backend), user)

        return load

    def _network(self, model_file: str, device: str, precision: str, backend: str) -> _Network:
        key = (
            *_identity(weights_path(model_file)),
            str(resolve_device(device)),
            precision,
            backend,
        )
        with self._loading:
            network = self._networks.get(key)
            if network is None or network.turns.now[1] > HUNG:
                network = _Network(self._load(model_file, device, precision, backend))
                self._networks[key] = network
        return network


def _identity(path: Path) -> tuple[Any, ...]:
    """Return values that identify a file and its contents, without reading it."""
    try:
        status = path.expanduser().stat()
    except OSError:
        return (path,)  # loading reports the error
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
