# SPDX-License-Identifier: Apache-2.0
"""Run `depth_node` as `python -m depth_perception.ros.node`."""

from __future__ import annotations

from depth_perception.ros.node.main import command

command()
