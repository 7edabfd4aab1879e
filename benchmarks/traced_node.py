# SPDX-License-Identifier: Apache-2.0
"""Run `depth_node` with a mark at every place where a frame is handed over; see `trace`.

    python -m benchmarks.traced_node FILE [arguments of depth_node]

Writes the marks to FILE when it ends. The code of the node is not changed: functions are wrapped.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import marks
from benchmarks.marks import Mark


class Recorder:
    """The marks of all threads.

    A thread that knows which frame it works on calls `frame`; its later marks belong to that frame.
    Marks before the frame is known, such as the executor's, wait in the thread for `frame`.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[int, str, Mark]] = []
        self._thread = threading.local()

    def early(self, place: str) -> None:
        """Mark a frame that is not known yet."""
        waiting = self._thread.__dict__.setdefault('early', {})
        waiting[place] = marks.now(threading.get_native_id())

    def frame(self, stamp: int, place: str) -> None:
        """Mark a frame, and attribute the next marks of this thread to it."""
        mark = marks.now(threading.get_native_id())
        early = self._thread.__dict__.pop('early', {})
        self.marks += [(stamp, before, at) for before, at in early.items()]
        self.marks.append((stamp, place, mark))
        self._thread.stamp = stamp

    def here(self, place: str) -> None:
        """Mark the frame of this thread."""
        stamp = getattr(self._thread, 'stamp', None)
        if stamp is not None:
            self.marks.append((stamp, place, marks.now(threading.get_native_id())))

    def at(self, stamp: int, place: str, nanoseconds: int) -> None:
        """Mark a frame at a time that DDS tells."""
        self.marks.append((stamp, place, Mark(nanoseconds, 0, 0, 0, 0, 0)))


#: Sets an attribute, like `setattr`.
Replace = Callable[[Any, str, Any], None]


def wrap(
    replace: Replace,
    owner: Any,
    name: str,
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> None:
    """Call a function with the arguments before, and with result and arguments after another."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if before is not None:
            before(*arguments)
        result = function(*arguments, **named)
        if after is not None:
            after(result, *arguments)
        return result

    replace(owner, name, wrapped)


def install(recorder: Recorder, replace: Replace = setattr) -> None:
    """Wrap the functions between which a frame is handed over."""
    _wrap_executor(recorder, replace)
    _wrap_receiver(recorder, replace)
    _wrap_worker(recorder, replace)


def _wrap_executor(recorder: Recorder, replace: Replace) -> None:
    from rclpy import executors
    from rclpy.impl.implementation_singleton import rclpy_implementation

    wrap(
        replace,
        rclpy_implementation.WaitSet,
        'wait',
        after=lambda *_: recorder.early('executor wakes'),
    )
    wrap(
        replace,
        executors.Executor,
        '_take_subscription',
        before=lambda *_: recorder.early('executor takes it'),
    )


def _wrap_receiver(recorder: Recorder, replace: Replace) -> None:
    from depth_perception.ros.conversions.stamps import nanoseconds
    from depth_perception.ros.node.mailbox import Mailbox
    from depth_perception.ros.node.subscriptions import AdaptiveSubscription

    create = AdaptiveSubscription._created

    def created(self: AdaptiveSubscription, *arguments: Any) -> Any:
        inner = self._callback

        def callback(message: Any, info: dict[str, int]) -> None:
            stamp = nanoseconds(message.header.stamp)
            recorder.frame(stamp, 'callback')
            recorder.at(stamp, 'camera writes', info['source_timestamp'])
            recorder.at(stamp, 'node has it in DDS', info['received_timestamp'])
            inner(message)

        if self._message_type.__name__ != 'Image':
            return create(self, *arguments)
        self._callback = callback
        try:
            return create(self, *arguments)
        finally:
            self._callback = inner

    replace(AdaptiveSubscription, '_created', created)
    wrap(replace, Mailbox, 'put', before=lambda *_: recorder.here('handed over'))

    def taken(frame: Any, _mailbox: Any, *_: Any) -> None:
        if frame is not None:
            recorder.frame(nanoseconds(frame.message.header.stamp), 'worker has it')

    wrap(replace, Mailbox, 'take', after=taken)


def _wrap_worker(recorder: Recorder, replace: Replace) -> None:
    from depth_perception.depth.products import ProductMaker
    from depth_perception.inference.backends.openvino import OpenVino
    from depth_perception.inference.estimator import DepthEstimator
    from depth_perception.ros.node.anchor_inputs import AnchorInputs
    from depth_perception.ros.node.pipeline import Pipeline
    from depth_perception.ros.node.publishers import DepthPublishers

    here = recorder.here
    wrap(
        replace,
        DepthEstimator,
        'estimate',
        lambda *_: here('decoded'),
        lambda *_: here('resized back'),
    )
    wrap(replace, OpenVino, 'run', lambda *_: here('prepared'), lambda *_: here('network done'))
    wrap(replace, AnchorInputs, 'of', after=lambda *_: here('anchors found'))
    wrap(replace, ProductMaker, 'anchored', after=lambda *_: here('depth corrected'))
    wrap(
        replace,
        Pipeline,
        '_fill',
        lambda *_: here('products done'),
        lambda *_: here('messages made'),
    )
    wrap(
        replace,
        DepthPublishers,
        'publish',
        lambda _self, topic, _message: here(f'{topic}: publish'),
        lambda _none, _self, topic, _message: here(f'{topic}: published'),
    )


def main() -> int:
    """Run the node; return its exit code."""
    file = Path(sys.argv.pop(1))
    recorder = Recorder()
    from depth_perception.ros.node.main import main as run_node

    install(recorder)
    code = run_node()
    marks.write(file, recorder.marks)
    return code


if __name__ == '__main__':
    from depth_perception.ros.process import leave

    leave(main())
