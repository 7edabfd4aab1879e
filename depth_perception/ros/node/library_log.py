# SPDX-License-Identifier: Apache-2.0
"""Write the log of the library, such as what it compiles, to the log of the node."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LIBRARY = logging.getLogger('depth_perception')


class _ToRos(logging.Handler):
    """Pass messages to a logger of rclpy."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log a message; rclpy allows one severity per line of code."""
        if record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


@contextmanager
def library_messages(logger: Any) -> Iterator[None]:
    """Write what the library logs to a logger of rclpy, inside the `with` block."""
    handler = _ToRos(logger)
    _LIBRARY.setLevel(min(_LIBRARY.level or logging.INFO, logging.INFO))
    _LIBRARY.addHandler(handler)
    try:
        yield
    finally:
        _LIBRARY.removeHandler(handler)
