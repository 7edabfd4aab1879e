# SPDX-License-Identifier: Apache-2.0
"""`python -m depth_perception.demo`."""

import sys

from depth_perception.demo.arguments import main

sys.exit(main())
