# SPDX-License-Identifier: Apache-2.0
"""The options of the commands, each a dataclass; those of `train` are in `train/options.py`.

Nothing that takes time is imported here: help is shown at once, without PyTorch.
"""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from depth_training.ranges import Count, Positive, WholeNumber

#: Functions of `depth_training.losses.losses`.
LossName = Literal['mse', 'l1', 'berhu', 'silog', 'silog_gradient', 'log_l1_gradient',
                   'abs_rel_gradient', 'densedepth']
#: Title of a report.
TITLE = 'Depth networks: published and measured'
#: The recipe whose network, loss and output are tried, for each network. Paper 001's loss network
#: needs ImageNet weights, so its model 4 stands in for model 5.
OVERFIT_RECIPES = (
    'paper_000', 'paper_001_m1', 'paper_001_m4', 'paper_002_cnn_fc', 'paper_002_cnn',
    'paper_002_cnn_transpose', 'paper_002_cnn_residual', 'paper_002_unpool_average',
    'paper_003', 'paper_003_laina', 'paper_004', 'rooms_efficientnet_sff')
_CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class PrepareOptions:
    """Turn data that cannot be trained on as it is into pairs."""

    kind: Annotated[Literal['raw', 'kitti'], tyro.conf.Positional]
    """raw: NYU's raw dump, paired, undistorted and aligned; kitti: KITTI with its depth filled."""
    source: Annotated[Path, tyro.conf.Positional]
    """Folder with scene folders of d-*.pgm and r-*.ppm, or KITTI."""
    target: Annotated[Path, tyro.conf.Positional]
    """Folder for the pairs."""
    every: Count | None = None
    """Keep every so many pairs of a scene (default: 7 of raw, as BTS; all of kitti)."""
    pairs: Count | None = None
    """Keep so many, equally spaced over all scenes, instead of --every."""
    split: Literal['train', 'test', 'all'] = 'train'
    """Scenes of the official split: no test scene gets among the training pairs. all: every one."""
    scenes: Path | None = None
    """File that names the scenes instead, one a line, or a list of pairs such as BTS's."""
    claims: Literal['discard', 'nearest'] = 'discard'
    """Where several depth frames have the same colour frame nearest: discard drops them all (Eigen
    et al., paper 002), nearest keeps the one nearest in time."""
    jobs: Count = _CORES
    """Processes that work side by side. A run that was stopped goes on when it is started again."""


@dataclass(frozen=True)
class CheckDataOptions:
    """Look at RGB-D pairs: layout, units, sizes, ranges, holes, camera, and how they look."""

    data: Annotated[Path, tyro.conf.Positional]
    """File or folder; its layout is recognised."""
    depth_scale: Positive | None = None
    """Units a metre in which the data stores depth, where its layout does not say so."""
    hold_out: tuple[str, ...] = ()
    """Scenes that are the test part, of data without an official split."""
    list_file: Path | None = None
    """Rows that choose the pairs."""
    out: Path | None = None
    """The sheet, a JPEG (default: NAME_pairs.jpg in the current folder)."""
    shown: Count = 12
    """Equally spaced pairs on the sheet."""
    read: Count = 500
    """Equally spaced pairs that are read for the figures."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Judge weights on RGB-D pairs."""

    weights: tuple[Path, ...]
    """The .safetensors file, or several, such as those of three seeds, of which mean and deviation
    are shown too."""
    data: Path
    """File or folder; its layout is recognised."""
    protocol: Literal['all', 'harsanyi', 'laina', 'eigen_bts', 'densedepth', 'plain',
                      'kitti_garg', 'kitti_eigen', 'kitti_densedepth'] = 'all'
    """By whose rules: harsanyi paper 003, laina its parent, eigen_bts paper 001 and most papers
    since, densedepth paper 004, plain papers 000 and 002; kitti_* for KITTI. Their scores are not
    comparable. all: those of the data."""
    json: bool = False
    """Print JSON, which `report` reads, instead of a table."""
    split: Literal['train', 'test', 'all'] = 'test'
    """Part of the data to judge on."""
    hold_out: tuple[str, ...] = ()
    """Scenes that are the test part, of data without an official split."""
    depth_scale: Positive | None = None
    """Units a metre in which the data stores depth, where its layout does not say so."""
    averaging: Literal['paper', 'protocol', 'pixels', 'images'] = 'paper'
    """Which averaging the table marks and `report` takes: paper, of the weights' own recipe under
    its own protocol, elsewhere the protocol's; pixels over all, or for each image by itself."""
    swapped: bool = False
    """Divide by the prediction instead of the truth, as DenseDepth's published AbsRel does."""
    count_holes: bool = False
    """Count unknown pixels as depth 0: shows where paper 002's AbsRel of 1e6 comes from."""
    median_scaled: bool = False
    """Scale each prediction to the truth's median; for networks of relative depth alone."""
    as_node: bool = False
    """Show every network the whole frame, as the node does, instead of as its paper tests it: the
    scores are then those of what the node publishes."""
    limit: Count | None = None
    """Judge so many equally spaced images."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """auto: a GPU where there is one."""


@dataclass(frozen=True)
class ModelCardOptions:
    """Judge weights beside two baselines and write the measured part of their model card.

    It goes to --out, a new page or between the two marks of one that is there.
    """

    data: tuple[Path, ...]
    """What the network was trained on: the training part gives a baseline, the test part is
    judged, and shown on the page."""
    hold_out: tuple[str, ...] = ()
    """Scenes that are the test part, of data without an official split."""
    unseen: tuple[Path, ...] = ()
    """Other data of which nothing was trained on; each is judged whole, under its folder's name."""
    clip: Path | None = None
    """Consecutive frames with truth, of which flicker is measured too."""
    depth_scale: Positive | None = None
    """Units a metre in which --unseen and --clip store depth, where their layouts do not say so;
    1000 confirms millimetres of what lies nearer than rooms do."""
    weights: str = 'default'
    """A weights file; default: the network that comes with the package."""
    out: Path | None = None
    """The card, FILE.md; of one that exists, only what stands between its two marks is replaced.
    Its picture goes to the folder images beside it."""
    update_shipped: bool = False
    """Write into docs/model_card.md of this repository instead, the page of the bundled network."""
    sheets: Path | None = None
    """Folder for sheets of the best and worst pictures of --unseen, which the page does not show:
    such pictures may not be yours to publish."""
    every: Count = 1
    """Judge every so many-th pair only."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """auto: a GPU where there is one."""


@dataclass(frozen=True)
class ReportOptions:
    """Write report.md and report.html, with pictures as files beside them."""

    out: Path
    """Folder for the report."""
    results: tuple[Path, ...] = ()
    """Files that `evaluate --json` printed."""
    runs: tuple[Path, ...] = ()
    """Folders of training runs, to show their learning curves side by side."""
    weights: tuple[Path, ...] = ()
    """Weights files to show pictures of, on --data, such as the authors'; those of --runs are
    shown too."""
    data: Path | None = None
    """RGB-D pairs for the pictures; the test part is shown."""
    hold_out: tuple[str, ...] = ()
    """Scenes that are the test part, of data without an official split."""
    depth_scale: Positive | None = None
    """Units a metre in which the data stores depth, where its layout does not say so."""
    pictures: Count = 6
    """Equally spaced pairs to show."""
    title: str = TITLE
    """Heading of the page."""
    note: str = ''
    """A sentence below it, such as what was compared and why."""


@dataclass(frozen=True)
class OverfitOptions:
    """Learn a few pairs by heart and say how well that went."""

    data: Path
    """File or folder of RGB-D pairs; its layout is recognised."""
    recipes: tuple[str, ...] = OVERFIT_RECIPES
    """Whose networks and losses; all by default."""
    pairs: Count = 8
    """Equally spaced pairs of the data, learnt in one batch."""
    target: Positive = 0.05
    """AbsRel that counts as learnt."""
    steps: Count = 600
    """At most."""
    learning_rate: Positive | None = None
    """Of Adam, at the start; by default 1e-3, for DenseDepth and CNN + FC 3e-4."""
    shrink: Count = 2
    """Train at the recipe's size divided by this."""
    depth_scale: Positive | None = None
    """Units a metre in which the data stores depth, where its layout does not say so."""
    precision: Literal['fp32', 'bf16'] = 'fp32'
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    seed: WholeNumber = 0
    every: Count = 20
    """Steps between looks at the error."""
    out: Path | None = None
    """Folder for a picture of each network's pairs and results.json."""
