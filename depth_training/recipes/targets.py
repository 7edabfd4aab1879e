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
_LAINA = (0.127, 0.573, 0.055, 0.811, 0.953, 0.988), 'README of dontLoveBugs/FCRN_pytorch'
_DORN = (0.115, 0.509, 0.051, 0.828, 0.965, 0.992), 'README of DORN_depth_estimation_Pytorch'
RIVALS = (
    Rival('paper_001', 'Laina et al. 2016', *_LAINA, _SHIFTED),
    Rival('paper_001', 'DORN (Fu et al. 2018)', *_DORN, _SHIFTED),
    Rival(
        'paper_001',
        '[14] of the paper',
        (0.139, 0.474, 0.057, 0.823, 0.964, 0.994),
        'the paper, whose text has its own gain over this row in per cent',
        _SHIFTED,
    ),
    Rival(
        'paper_004',
        'Eigen & Fergus 2015',
        (0.158, 0.641, None, None, None, None),
        'README of iro-cp/FCRN-DepthPrediction',
    ),
    Rival('paper_004', 'Laina et al. 2016', *_LAINA),
    Rival('paper_004', 'DORN (Fu et al. 2018)', *_DORN),
    Rival(
        'paper_004',
        'DenseDepth, scaled to the median',
        (0.103, 0.390, 0.043, 0.895, 0.980, 0.996),
        "READMEs of DenseDepth's port to Paddle; scaling: its issue 142",
        'evaluate --align median',
    ),
)

_HOLES = 'AbsRel not comparable: the paper counts holes'
TARGETS = (
    Target('paper_000', 'plain', (0.225, 0.720, 0.100, 0.625, 0.898, 0.980)),
    Target('paper_001_m1', 'eigen_bts', (0.128, 0.436, 0.054, 0.845, 0.975, 0.995)),
    Target('paper_001_m2', 'eigen_bts', (0.125, 0.420, 0.052, 0.853, 0.977, 0.995)),
    Target('paper_001_m3', 'eigen_bts', (0.125, 0.430, 0.053, 0.851, 0.975, 0.995)),
    Target('paper_001_m4', 'eigen_bts', (0.124, 0.424, 0.053, 0.853, 0.976, 0.995)),
    Target('paper_001_m5', 'eigen_bts', (0.120, 0.419, 0.051, 0.860, 0.978, 0.996)),
    Target('paper_002_cnn_fc', 'plain', (3.4e5, 1.12, None, 0.307, None, None), _HOLES),
    Target('paper_002_cnn', 'plain', (1.2e6, 1.22, None, 0.195, None, None), _HOLES),
    Target('paper_002_cnn_transpose', 'plain', (3.2e5, 1.23, None, 0.143, None, None), _HOLES),
    Target('paper_002_cnn_residual', 'plain', (2.35e4, 1.74, None, 0.634, None, None), _HOLES),
    Target('paper_002_unpool_zero', 'plain', (1.28e6, 6.18, None, 0.0537, None, None), _HOLES),
    Target('paper_002_unpool_average', 'plain', (1.27e6, 6.37, None, 0.0557, None, None), _HOLES),
    Target('paper_002_random', 'plain', (2.35e4, 1.74, None, 0.634, None, None), _HOLES),
    Target('paper_002_transfer', 'plain', (1.43e6, 0.734, None, 0.729, None, None), _HOLES),
    Target('paper_003', 'harsanyi', (0.130, 0.593, 0.057, 0.833, 0.960, 0.989)),
    Target(
        'paper_003_laina',
        'harsanyi',
        (0.137, 0.597, 0.059, 0.818, 0.955, 0.988),
        "the paper's row is the output of Laina et al.'s released weights",
    ),
    Target(
        'paper_004',
        'densedepth',
        (0.123, 0.465, 0.053, 0.846, 0.974, 0.994),
        'its AbsRel divides by the prediction: evaluate --swapped',
    ),
    Target(
        'paper_004_kitti',
        'kitti_densedepth',
        (0.093, 4.170, None, 0.886, 0.965, 0.986),
        'on KITTI; the paper does not say which depth is the truth',
    ),
)
