# SPDX-License-Identifier: Apache-2.0
"""Run `depth-perception` as `python -m depth_perception.cli`."""

from __future__ import annotations

import sys

from depth_perception.cli.main import main

sys.exit(main())
