# SPDX-License-Identifier: Apache-2.0
"""Frames are processed in one direction: no module calls back into a module that called it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import depth_perception
from depth_perception.ros.conversions.topics import OUTPUTS
from depth_perception.ros.node import worker as worker_module
from test.support.estimators import StandIn
from test.support.ros import running_node, wait_until

PACKAGE = Path(depth_perception.__file__).parent
#: A decorator, which appears between a function and its caller even within one file.
DECORATOR = 'by_numpy.py'


def files_on_the_stack(frame: FrameType | None) -> list[str]:
    """Return the package's files on the stack from the callee up, without adjacent repeats."""
    found: list[str] = []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        name = str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else ''
        if name and path.name != DECORATOR and (not found or found[-1] != name):
            found.append(name)
        frame = frame.f_back
    return found


def test_no_file_is_called_back_by_one_that_it_has_called(namespace, robot, monkeypatch):
    back: set[tuple[str, ...]] = set()
    seen: set[str] = set()

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == 'call' and frame.f_code.co_filename.startswith(str(PACKAGE)):
            files = files_on_the_stack(frame)
            seen.update(files)
            if len(set(files)) < len(files):
                back.add(tuple(reversed(files)))

    run = worker_module.Worker._run

    def watched(self: worker_module.Worker) -> None:
        sys.setprofile(watch)
        try:
            run(self)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(worker_module.Worker, '_run', watched)
    with running_node(namespace, load_estimator=StandIn(), max_age=0.0, camera_pitch=10.0):
        robot.listen(*OUTPUTS)
        camera = robot.camera()
        wait_until(lambda: camera.send() and all(robot.received[topic] for topic in OUTPUTS))
    assert {Path(name).name for name in seen} >= {
        'worker.py',
        'pipeline.py',
        'products.py',
        'messages.py',
        'publishers.py',
    }
    assert not back, '\n'.join(' -> '.join(files) for files in sorted(back))
