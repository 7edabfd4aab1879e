# SPDX-License-Identifier: Apache-2.0
"""Record the node's inputs and outputs into one bag, for `replay_check --record`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType

from depth_perception.io.bag import Bag
from depth_perception.io.bag_writer import BagWriter

TF, TF_STATIC, TF_TYPE = '/tf', '/tf_static', 'tf2_msgs/msg/TFMessage'


class ReplayRecord:
    """A new bag with the node's outputs and the inputs from the played bag; a context manager.

    Inputs keep their recording times. An output gets the recording time of its image, so that both
    are played together.

    Args:
        path: folder to create.
        played: the bag that is played.
        inputs: topics to copy from it.
        times: recording times of the images by stamp, nanoseconds.

    Raises:
        BagError: a bag cannot be read, or the folder exists or cannot be created.
    """

    def __init__(
        self, path: Path, played: Path, inputs: Collection[str], times: Mapping[int, int]
    ) -> None:
        self._times = times
        self._latest = min(times.values(), default=0)
        self._bag = Bag(played)
        self._inputs = self._bag.messages([name for name in inputs if name in self._bag.topics])
        self._ahead = next(self._inputs, None)
        self._static = {message.data for message in self._bag.messages([TF_STATIC])}
        try:
            self._writer = BagWriter(path)
        except BaseException:
            self._bag.close()
            raise

    def __enter__(self) -> ReplayRecord:
        self._writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._copy_inputs(None)
        finally:
            self._bag.close()
            self._writer.__exit__(kind, error, trace)

    def output(self, topic: str, kind: str, stamp: int, data: bytes) -> None:
        """Record an output of the node."""
        self._latest = self._times.get(stamp, self._latest)
        self._copy_inputs(self._latest)
        self._writer.write(topic, kind, self._latest, data)

    def static_transforms(self, data: bytes) -> None:
        """Record a message on /tf_static, unless it comes from the played bag."""
        if data not in self._static:
            self._static.add(data)
            self._writer.write(TF_STATIC, TF_TYPE, self._latest, data)

    def _copy_inputs(self, until: int | None) -> None:
        while self._ahead is not None and (until is None or self._ahead.time <= until):
            kind = self._bag.topics[self._ahead.topic].type
            self._writer.write(self._ahead.topic, kind, self._ahead.time, self._ahead.data)
            self._ahead = next(self._inputs, None)
