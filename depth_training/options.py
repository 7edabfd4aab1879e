# SPDX-License-Identifier: Apache-2.0
"""The options of the commands, one dataclass each; those of `train` are in `train/options.py`.

Nothing slow is imported here, so help is shown at once, without PyTorch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from depth_training.ranges import Count, Positive, WholeNumber

#: Title of a report.
TITLE = 'Depth networks: published and measured'
#: The recipe that provides network, loss and output for each network. Paper 001's loss network
#: needs ImageNet weights, so its model 4 replaces model 5.
OVERFIT_RECIPES = (
    'paper_000',
    'paper_001_m1',
    'paper_001_m4',
    'paper_002_cnn_fc',
    'paper_002_cnn',
    'paper_002_cnn_transpose',
    'paper_002_cnn_residual',
    'paper_002_unpool_average',
    'paper_003',
    'paper_003_laina',
    'paper_004',
    'rooms_efficientnet_sff',
)
_CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class PrepareOptions:
    """Convert data that cannot be used for training directly to pairs."""

    kind: Annotated[Literal['raw', 'kitti'], tyro.conf.Positional]
    """raw: raw NYU Depth v2, paired, undistorted and aligned; kitti: KITTI, with depth filled."""
    source: Annotated[Path, tyro.conf.Positional]
    """Folder with scene folders of d-*.pgm and r-*.ppm, or KITTI."""
    target: Annotated[Path, tyro.conf.Positional]
    """Folder for the pairs."""
    every: Count | None = None
    """Keep every n-th pair of a scene (default: 7 for raw, as in BTS; 1 for kitti)."""
    pairs: Count | None = None
    """Keep this many pairs, equally spaced over all scenes, instead of --every."""
    split: Literal['train', 'test', 'all'] = 'train'
    """Scenes of the official split, which keeps test scenes out of the training pairs; or all."""
    scenes: Path | None = None
    """File with one scene name per line, instead of --split, or a list of pairs such as BTS's."""
    claims: Literal['discard', 'nearest'] = 'discard'
    """If several depth frames share the same nearest colour frame: discard drops them all (Eigen
    et al., paper 002), nearest keeps the one nearest in time."""
    jobs: Count = _CORES
    """Number of parallel processes. An interrupted run continues when started again."""


@dataclass(frozen=True)
class CheckDataOptions:
    """Inspect RGB-D pairs: layout, units, sizes, depth range, holes, camera; draw a sheet."""

    data: Annotated[Path, tyro.conf.Positional]
    """File or folder; its layout is recognised."""
    depth_scale: Positive | None = None
    """Units per metre of the stored depth, if the layout does not define them."""
    hold_out: tuple[str, ...] = ()
    """Test scenes, for data without an official split."""
    list_file: Path | None = None
    """Rows that choose the pairs."""
    out: Path | None = None
    """File for the sheet, a JPEG (default: NAME_pairs.jpg in the current folder)."""
    shown: Count = 12
    """Equally spaced pairs on the sheet."""
    read: Count = 500
    """Equally spaced pairs to read for the statistics."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate networks, or predictions in files, on RGB-D pairs."""

    data: tuple[Path, ...]
    """File or folder, or several, evaluated one by one; the layout is recognised."""
    weights: tuple[Path, ...] = ()
    """A .safetensors file, or several, such as those of three seeds, for which mean and deviation
    are shown too; files of `depth-perception import-model`, or "default", as well."""
    predictions: tuple[Path, ...] = ()
    """Folder, or several, with a prediction for each picture under the picture's name, at its size:
    16-bit .png in millimetres, .npy or .exr in metres."""
    prediction_kind: Literal['metres', 'relative_depth', 'relative_disparity'] = 'metres'
    """What --predictions hold: the relative kinds have an unknown scale, disparity also an unknown
    shift, and need --align."""
    prediction_scale: Positive | None = None
    """Units per metre of --predictions (default: 1000 for 16-bit files, 1 for floating point)."""
    protocol: Literal[
        'all',
        'harsanyi',
        'laina',
        'eigen_bts',
        'densedepth',
        'plain',
        'whole_frame',
        'kitti_garg',
        'kitti_eigen',
        'kitti_densedepth',
    ] = 'all'
    """Evaluation protocol: harsanyi paper 003, laina its parent, eigen_bts paper 001 and most later
    papers, densedepth paper 004, plain papers 000 and 002; whole_frame: no crop, for other data;
    kitti_* for KITTI. Their scores are not comparable. all: the papers' for this data."""
    json: bool = False
    """Print JSON, which `report` reads, instead of a table."""
    markdown: bool = False
    """Print a Markdown table with a column for each data set instead."""
    split: Literal['train', 'test', 'all'] = 'test'
    """Part of the data to evaluate on."""
    hold_out: tuple[str, ...] = ()
    """Test scenes, for data without an official split."""
    depth_scale: Positive | None = None
    """Units per metre of the stored depth, if the layout does not define them."""
    averaging: Literal['paper', 'protocol', 'pixels', 'images'] = 'paper'
    """Averaging that the table marks and `report` uses: paper = the paper's for its own recipe and
    protocol, otherwise the protocol's; pixels = over all pixels, images = per image first."""
    swapped: bool = False
    """Divide by the prediction instead of the truth, as DenseDepth's published AbsRel does."""
    count_holes: bool = False
    """Count unknown pixels as depth 0: shows where paper 002's AbsRel of 1e6 comes from."""
    align: tuple[Literal['none', 'median', 'scale-shift'], ...] = ('none',)
    """Align each prediction to its truth, as networks of relative depth need it: median = multiply
    by a factor, scale-shift = factor and shift with the least squared error, of disparities in
    disparity, otherwise in depth. Several are evaluated one after the other."""
    as_node: bool = False
    """Show every network the whole frame, as the node does, not as in its paper's test: the scores
    are then those of the published depth."""
    limit: Count | None = None
    """Evaluate this many equally spaced images."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """auto: a GPU if there is one."""


@dataclass(frozen=True)
class ModelCardOptions:
    """Compare weights with two baselines and write the measured part of their model card.

    It is written to --out, as a new page or between the two marks of an existing one.
    """

    data: tuple[Path, ...]
    """Training data of the network: its training part gives a baseline; its test part is evaluated
    and shown on the page."""
    hold_out: tuple[str, ...] = ()
    """Test scenes, for data without an official split."""
    unseen: tuple[Path, ...] = ()
    """Other data, not used in training; all of it is evaluated, under its folder's name."""
    clip: Path | None = None
    """Consecutive frames with truth, to measure flicker as well."""
    depth_scale: Positive | None = None
    """Units per metre of the stored depth in --unseen and --clip, if their layouts do not define
    them; 1000 confirms millimetres if depth is nearer than usual in rooms."""
    weights: str = 'default'
    """A weights file; default: the network that comes with the package."""
    beside: str | None = None
    """NAME=FILE: another weights file, such as the one shipped before, evaluated on the same
    images and shown beside the network under this name."""
    out: Path | None = None
    """The card, FILE.md; in an existing one, only the part between the two marks is replaced. Its
    image is written to the folder images next to it."""
    update_shipped: bool = False
    """Update docs/model_card.md of this repository, the page of the bundled network, instead."""
    sheets: Path | None = None
    """Folder for sheets of the best and worst images of --unseen, which the page does not show,
    since you may not be allowed to publish them."""
    every: Count = 1
    """Evaluate only every n-th pair."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """auto: a GPU if there is one."""


@dataclass(frozen=True)
class ReportOptions:
    """Write report.md and report.html with image files."""

    out: Path
    """Folder for the report."""
    results: tuple[Path, ...] = ()
    """Files printed by `evaluate --json`."""
    runs: tuple[Path, ...] = ()
    """Folders of training runs whose learning curves are compared."""
    weights: tuple[Path, ...] = ()
    """Weights files to compare in images of --data, such as the authors'; those of --runs are
    always included."""
    data: Path | None = None
    """RGB-D pairs for the images, taken from the test part."""
    hold_out: tuple[str, ...] = ()
    """Test scenes, for data without an official split."""
    depth_scale: Positive | None = None
    """Units per metre of the stored depth, if the layout does not define them."""
    pictures: Count = 6
    """Equally spaced pairs to show."""
    title: str = TITLE
    """Heading of the page."""
    note: str = ''
    """A sentence below the heading, such as what was compared and why."""


@dataclass(frozen=True)
class OverfitOptions:
    """Overfit a few pairs and report the result."""

    data: Path
    """File or folder of RGB-D pairs; its layout is recognised."""
    recipes: tuple[str, ...] = OVERFIT_RECIPES
    """Recipes whose networks and losses are tested; default: all."""
    pairs: Count = 8
    """Number of equally spaced pairs, learnt in one batch."""
    target: Positive = 0.05
    """AbsRel that counts as learnt."""
    steps: Count = 600
    """Largest number of steps."""
    learning_rate: Positive | None = None
    """Initial learning rate of Adam; default: 1e-3, or 3e-4 for DenseDepth and CNN + FC."""
    shrink: Count = 2
    """Train at the recipe's size divided by this."""
    depth_scale: Positive | None = None
    """Units per metre of the stored depth, if the layout does not define them."""
    precision: Literal['fp32', 'bf16'] = 'fp32'
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    seed: WholeNumber = 0
    every: Count = 20
    """Steps between checks of the error."""
    out: Path | None = None
    """Folder for results.json and an image of each network's pairs."""
