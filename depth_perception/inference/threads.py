# SPDX-License-Identifier: Apache-2.0
"""How the threads of one operation wait for each other."""
from __future__ import annotations

import os
from collections.abc import MutableMapping


def share_the_cores(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads that wait for each other sleep; before torch is imported.

    OpenMP's way is to spin, which may be a little faster on an idle machine. Where others need the
    cores too, threads spin while the one that they wait for cannot run: on two cores with a load
    of 14 a 640x480 frame of the bundled network took 19 s instead of 0.3 to 0.7 s, with a load of 5
    it took 9.6 s instead of 0.16 s.
    """
    environment.setdefault('OMP_WAIT_POLICY', 'passive')
