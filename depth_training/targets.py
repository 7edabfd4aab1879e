# SPDX-License-Identifier: Apache-2.0
"""The published scores that a report stands beside: targets, not results of this project."""
from __future__ import annotations

from typing import NamedTuple

from depth_training.metrics import Averaging
from depth_training.recipes import RECIPES

#: In the papers' order: Rel, RMSE, log10 and the three thresholds.
COLUMNS = ('AbsRel', 'RMSE', 'log10', 'delta1', 'delta2', 'delta3')


class Target(NamedTuple):
    """One published row; None = not published. `recipe` is the one that aims at it."""

    recipe: str
    protocol: str
    published: tuple[float | None, ...]
    note: str = ''

    @property
    def averaging(self) -> Averaging:
        """The paper's."""
        return RECIPES[self.recipe].own_protocol.averaging

    @property
    def title(self) -> str:
        """Paper and model."""
        return f'{self.recipe}: {RECIPES[self.recipe].title}'


_HOLES = 'AbsRel not comparable: the paper counts holes'
TARGETS = (
    Target('paper_000', 'plain', (.225, .720, .100, .625, .898, .980)),
    Target('paper_001_m1', 'eigen_bts', (.128, .436, .054, .845, .975, .995)),
    Target('paper_001_m2', 'eigen_bts', (.125, .420, .052, .853, .977, .995)),
    Target('paper_001_m3', 'eigen_bts', (.125, .430, .053, .851, .975, .995)),
    Target('paper_001_m4', 'eigen_bts', (.124, .424, .053, .853, .976, .995)),
    Target('paper_001_m5', 'eigen_bts', (.120, .419, .051, .860, .978, .996)),
    Target('paper_002_cnn_fc', 'plain', (3.4e5, 1.12, None, .307, None, None), _HOLES),
    Target('paper_002_cnn', 'plain', (1.2e6, 1.22, None, .195, None, None), _HOLES),
    Target('paper_002_cnn_transpose', 'plain', (3.2e5, 1.23, None, .143, None, None), _HOLES),
    Target('paper_002_cnn_residual', 'plain', (2.35e4, 1.74, None, .634, None, None), _HOLES),
    Target('paper_002_unpool_zero', 'plain', (1.28e6, 6.18, None, .0537, None, None), _HOLES),
    Target('paper_002_unpool_average', 'plain', (1.27e6, 6.37, None, .0557, None, None), _HOLES),
    Target('paper_002_random', 'plain', (2.35e4, 1.74, None, .634, None, None), _HOLES),
    Target('paper_002_transfer', 'plain', (1.43e6, .734, None, .729, None, None), _HOLES),
    Target('paper_003', 'harsanyi', (.130, .593, .057, .833, .960, .989)),
    Target('paper_003_laina', 'harsanyi', (.137, .597, .059, .818, .955, .988)),
    Target('paper_004', 'densedepth', (.123, .465, .053, .846, .974, .994)),
)
