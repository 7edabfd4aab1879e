# SPDX-License-Identifier: Apache-2.0
"""Run `depth_node` and note when it reaches each stage of its start; see `start`.

    python -m benchmarks.started_node FILE [arguments of depth_node]

Writes FILE with the first depth image: by stage, the time of the system's monotonic clock. The code
of the node is not changed: functions are wrapped.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.results import write_json
from benchmarks.traced_node import Replace, wrap

#: Stages in order, and what takes the time until each.
STAGES = {
    'python': 'interpreter',
    'imported': 'imports, `rclpy.init`',
    'created': 'node: DDS participant, parameters',
    'loaded': 'network: OpenVINO, compiled file, first run; outputs',
    'active': 'subscriptions',
    'image': 'until the first image arrives',
    'published': 'its depth',
}


class Stages:
    """The time of each stage, seconds; written to a file when the last one is reached."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.times: dict[str, float] = {}

    def reach(self, stage: str) -> None:
        """Note that a stage is reached, the first time only."""
        if stage in self.times:
            return
        self.times[stage] = time.monotonic()
        if stage == list(STAGES)[-1]:
            write_json(self._file, self.times)


def install(stages: Stages, replace: Replace = setattr) -> None:
    """Wrap the functions that a starting node passes."""
    from depth_perception.ros.conversions.topics import DEPTH
    from depth_perception.ros.node.depth_node import DepthNode
    from depth_perception.ros.node.publishers import DepthPublishers
    from depth_perception.ros.node.receiver import Receiver

    def reached(stage: str) -> Any:
        return lambda *_: stages.reach(stage)

    def published(_result: Any, _self: Any, topic: str, _message: Any) -> None:
        if topic == DEPTH:
            stages.reach('published')

    wrap(replace, DepthNode, '__init__', reached('imported'), reached('created'))
    wrap(replace, DepthNode, '_load', after=reached('loaded'))
    wrap(replace, DepthNode, '_start_work', after=reached('active'))
    wrap(replace, Receiver, 'on_image', before=reached('image'))
    wrap(replace, DepthPublishers, 'publish', after=published)


def main() -> int:
    """Run the node; return its exit code."""
    stages = Stages(Path(sys.argv.pop(1)))
    stages.reach('python')
    from depth_perception.ros.node import main as program

    serve = program._serve

    def serving(*arguments: Any) -> int:  # the node's modules are imported after `rclpy.init`
        install(stages)
        return serve(*arguments)

    program._serve = serving
    return program.main()


if __name__ == '__main__':
    from depth_perception.ros.process import leave

    leave(main())
