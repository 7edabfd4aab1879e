# SPDX-License-Identifier: Apache-2.0
"""The commands that need only a few lines: prepare, evaluate, predict."""
from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from depth_training.ranges import Count, Positive

if TYPE_CHECKING:
    from depth_training.evaluate.protocols import Protocol

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


def prepare(options: PrepareOptions) -> int:
    """Write the pairs; names the frames that could not be used."""
    if options.kind == 'kitti':
        from depth_training.data.prepare_kitti import prepare_kitti

        done = prepare_kitti(options.source, options.target, options.every or 1, _say,
                             split=options.split, pairs=options.pairs, processes=options.jobs)
    else:
        from depth_training.data.nyu_raw.prepare import prepare_raw

        done = prepare_raw(
            options.source, options.target, options.every or 7, report=_say, split=options.split,
            scenes=options.scenes, pairs=options.pairs, claims=options.claims,
            processes=options.jobs)
    for text in done.skipped:
        _say(f'skipped: {text}')
    _say(f'{options.target}: {done.pairs} pairs of {done.scenes} scenes, '
         f'{len(done.skipped)} frames skipped')
    return 0


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
    limit: Count | None = None
    """Judge so many equally spaced images."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """auto: a GPU where there is one."""


def evaluate(options: EvaluateOptions) -> int:
    """Print the scores, with protocol, ground truth and counts."""
    from depth_perception.io.weights import load_weights
    from depth_training.data import evenly, open_dataset
    from depth_training.evaluate import evaluation, protocols
    from depth_training.train.distributed import local_device

    device = local_device(options.device)
    names = (options.protocol,)
    if options.protocol == 'all':
        layout = open_dataset(options.data, 'all', depth_scale=options.depth_scale).layout
        names = protocols.KITTI if layout == 'kitti' else protocols.PROTOCOLS
    results = []
    for file in options.weights:
        loaded = load_weights(file)
        predictor = evaluation.Predictor(loaded.network.to(device), loaded.info, device)
        for name in names:
            protocol = _protocol(name, options, loaded.info.recipe_name)
            dataset = open_dataset(options.data, options.split, ground_truth=protocol.ground_truth,
                                   hold_out=options.hold_out, depth_scale=options.depth_scale)
            dataset = evenly(dataset, options.limit or len(dataset))
            result = evaluation.evaluate(predictor, dataset, protocol, shown=True)
            result.weights['file'] = str(file)
            results.append(result)
    text = json.dumps([result.as_json() for result in results], indent=1) if options.json \
        else evaluation.table(results)
    sys.stdout.write(text + '\n')
    return 0


def _protocol(name: str, options: EvaluateOptions, recipe_name: str) -> Protocol:
    """The protocol of that name as the options change it."""
    from depth_training.evaluate import protocols
    from depth_training.recipes import RECIPES

    protocol, recipe = protocols.get_protocol(name), RECIPES.get(recipe_name)
    if options.averaging in ('pixels', 'images'):
        protocol = dataclasses.replace(protocol, averaging=options.averaging)
    elif options.averaging == 'paper' and recipe is not None and recipe.protocol == name:
        protocol = recipe.own_protocol
    protocol = protocols.counting_holes(protocol) if options.count_holes else protocol
    return dataclasses.replace(protocol, median_scaled=options.median_scaled,
                               swapped=options.swapped)


def predict(words: list[str]) -> int:
    """`depth-perception predict` with the same options."""
    from depth_perception.cli.main import main

    return main(['predict', *words])


def _say(text: str) -> None:
    sys.stderr.write(text + '\n')
    sys.stderr.flush()
