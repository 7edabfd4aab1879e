# SPDX-License-Identifier: Apache-2.0
"""Published scores, shown in reports for comparison; not results of this project."""
from __future__ import annotations

from typing import NamedTuple

from depth_training.evaluate.metrics import Averaging
from depth_training.recipes import RECIPES

#: In the papers' order: Rel, RMSE, log10 and the three thresholds.
COLUMNS = ('AbsRel', 'RMSE', 'log10', 'delta1', 'delta2', 'delta3')


class Target(NamedTuple):
    """One published row; None = not published. `recipe` is the recipe that aims at it."""

    recipe: str
    protocol: str
    published: tuple[float | None, ...]
    note: str = ''

    @property
    def averaging(self) -> Averaging:
        """The paper's averaging."""
        return RECIPES[self.recipe].own_protocol.averaging

    @property
    def title(self) -> str:
        """Paper and model of the row."""
        return f'{self.recipe}: {RECIPES[self.recipe].title}'


class Rival(NamedTuple):
    """A row of a paper's table about other work; None = not confirmed.

    `source` is where the figures are published, or what they were checked against; unverified
    figures are left out.
    """

    paper: str
    name: str
    published: tuple[float | None, ...]
    source: str
    note: str = ''


PAPERS = {
    'paper_000': 'Paper 000: ResNet-50 U-Net with fast up-projection',
    'paper_001': 'Paper 001: SU-Net with a loss network (Zhou et al. 2023)',
    'paper_002': 'Paper 002: four CNNs (Tang & Pham)',
    'paper_003': 'Paper 003: hybrid ResNet-UNet (Harsanyi et al. 2018)',
    'paper_004': 'Paper 004: DenseDepth (Alhashim & Wonka 2018)',
}
_SHIFTED = "the labels of the paper's Table 4 are one row off"
_LAINA = (.127, .573, .055, .811, .953, .988), 'README of dontLoveBugs/FCRN_pytorch'
_DORN = (.115, .509, .051, .828, .965, .992), 'README of DORN_depth_estimation_Pytorch'
RIVALS = (
    Rival('paper_001', 'Laina et al. 2016', *_LAINA, _SHIFTED),
    Rival('paper_001', 'DORN (Fu et al. 2018)', *_DORN, _SHIFTED),
    Rival('paper_001', '[14] of the paper', (.139, .474, .057, .823, .964, .994),
          'the paper, whose text has its own gain over this row in per cent', _SHIFTED),
    Rival('paper_004', 'Eigen & Fergus 2015', (.158, .641, None, None, None, None),
          'README of iro-cp/FCRN-DepthPrediction'),
    Rival('paper_004', 'Laina et al. 2016', *_LAINA),
    Rival('paper_004', 'DORN (Fu et al. 2018)', *_DORN),
    Rival('paper_004', 'DenseDepth, scaled to the median', (.103, .390, .043, .895, .980, .996),
          "READMEs of DenseDepth's port to Paddle; scaling: its issue 142",
          'evaluate --median-scaled'),
)

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
    Target('paper_003_laina', 'harsanyi', (.137, .597, .059, .818, .955, .988),
           "the paper's row is the output of Laina et al.'s released weights"),
    Target('paper_004', 'densedepth', (.123, .465, .053, .846, .974, .994),
           'its AbsRel divides by the prediction: evaluate --swapped'),
    Target('paper_004_kitti', 'kitti_densedepth', (.093, 4.170, None, .886, .965, .986),
           'on KITTI; the paper does not say which depth is the truth'),
)
