# SPDX-License-Identifier: Apache-2.0
"""`evaluate`: networks and stored predictions, on one or several data sets, by any protocol."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from depth_perception.errors import UsageError
from depth_training.data import DepthDataset, evenly, open_dataset
from depth_training.evaluate import evaluation, protocols
from depth_training.evaluate.alignment import WORDS, Alignment
from depth_training.evaluate.evaluation import DepthSource, Evaluation, Predictor
from depth_training.evaluate.protocols import Protocol
from depth_training.evaluate.stored import StoredPredictions
from depth_training.options import EvaluateOptions
from depth_training.recipes import RECIPES
from depth_training.report.page import Bullets, Element, Table, markdown
from depth_training.report.published import figure
from depth_training.train.distributed import local_device

#: Scores of the table with a column for each data set.
_SHOWN = ('AbsRel', 'delta1')


def evaluate(options: EvaluateOptions) -> int:
    """Print the scores with protocol, ground truth and counts.

    Raises:
        ValueError: the options contradict each other, or a file or data cannot be used.
    """
    _check(options)
    results = [
        result
        for file, source in _sources(options)
        for data in options.data
        for result in _results(source, file, data, options)
    ]
    text = (
        json.dumps([result.as_json() for result in results], indent=1)
        if options.json
        else markdown(by_data(results)).rstrip()
        if options.markdown
        else evaluation.table(results)
    )
    sys.stdout.write(text + '\n')
    return 0


def _check(options: EvaluateOptions) -> None:
    if not options.weights and not options.predictions:
        raise UsageError('nothing to evaluate: give --weights FILE or --predictions FOLDER')
    if options.predictions and len(options.data) > 1:
        raise UsageError(
            f'--predictions belong to one data set, and --data names {len(options.data)}: run the '
            'command for each'
        )
    if options.json and options.markdown:
        raise UsageError('--json and --markdown are two forms of one output: give one of them')


def _sources(options: EvaluateOptions) -> Iterator[tuple[Path, DepthSource]]:
    """Yield each network and each folder of predictions."""
    device = local_device(options.device)
    for file in options.weights:
        yield file, Predictor.load(file, device, options.as_node)
    for folder in options.predictions:
        yield (
            folder,
            StoredPredictions(folder, options.prediction_kind, options.prediction_scale),
        )


def _results(
    source: DepthSource, file: Path, data: Path, options: EvaluateOptions
) -> Iterator[Evaluation]:
    for name in _names(data, options):
        for align in _alignments(source, file, options):
            protocol = _protocol(name, align, options, source)
            evaluation.check_alignment(source, file, protocol)
            dataset = _dataset(data, protocol, options)
            result = evaluation.evaluate(source, dataset, protocol, shown=True)
            result.weights['file'] = str(file)
            result.folder = data.resolve().name
            yield result


def _names(data: Path, options: EvaluateOptions) -> Iterable[str]:
    if options.protocol != 'all':
        return (options.protocol,)
    layout = open_dataset(data, 'all', depth_scale=options.depth_scale).layout
    return protocols.KITTI if layout == 'kitti' else protocols.PROTOCOLS


def _alignments(source: DepthSource, file: Path, options: EvaluateOptions) -> Iterable[Alignment]:
    """Return the alignments that apply: of several, those of relative depth omit `none`."""
    several = tuple(dict.fromkeys(options.align))
    if source.kind == 'metres' or len(several) == 1:
        return several
    return tuple(align for align in several if align != 'none')


def _dataset(data: Path, protocol: Protocol, options: EvaluateOptions) -> DepthDataset:
    dataset = open_dataset(
        data,
        options.split,
        ground_truth=protocol.ground_truth,
        hold_out=options.hold_out,
        depth_scale=options.depth_scale,
    )
    return evenly(dataset, options.limit or len(dataset))


def _protocol(
    name: str, align: Alignment, options: EvaluateOptions, source: DepthSource
) -> Protocol:
    """Return the protocol of that name with the changes of the options."""
    recipe_name = source.about()['recipe_name']
    protocol, recipe = protocols.get_protocol(name), RECIPES.get(recipe_name)
    if options.averaging in ('pixels', 'images'):
        protocol = dataclasses.replace(protocol, averaging=options.averaging)
    elif options.averaging == 'paper' and recipe is not None and recipe.protocol == name:
        protocol = recipe.own_protocol
    protocol = protocols.counting_holes(protocol) if options.count_holes else protocol
    if isinstance(source, StoredPredictions):  # the description must not promise a mirror image
        protocol = dataclasses.replace(protocol, flip=False)
    return dataclasses.replace(protocol, align=align, swapped=options.swapped)


def by_data(results: list[Evaluation]) -> list[Element]:
    """Return a table with a row for each network and alignment, and columns for each data set."""
    places = list(dict.fromkeys(result.folder for result in results))
    rows: dict[tuple[str, str, str, str], dict[str, Evaluation]] = {}
    for result in results:
        key = result.weights['file'], result.weights['name'], result.protocol, result.aligned
        rows.setdefault(key, {})[result.folder] = result
    several = len({protocol for _, _, protocol, _ in rows}) > 1
    head = ['network', 'aligned', *(f'{place}: {name}' for place in places for name in _SHOWN)]
    body = [
        [
            f'{name}, {protocol}' if several else name,
            WORDS.get(align, 'no'),  # type: ignore[call-overload]
            *(
                figure(found[place].scores[score]) if place in found else '–'
                for place in places
                for score in _SHOWN
            ),
        ]
        for (_, name, protocol, align), found in rows.items()
    ]
    captions = dict.fromkeys(
        [
            *(result.description for result in results),
            *(f'{result.folder}: {result.data}' for result in results),
            *(f'{result.weights["name"]}: {result.geometry}' for result in results),
        ]
    )
    return [Table(head, body), Bullets(list(captions))]
