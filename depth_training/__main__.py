# SPDX-License-Identifier: Apache-2.0
"""`python -m depth_training`."""

from __future__ import annotations

import sys

from depth_training.cli import main

if __name__ == '__main__':
    sys.exit(main())
