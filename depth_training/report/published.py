# SPDX-License-Identifier: Apache-2.0
"""A table per paper: rivals and the paper's own rows as published, compared with measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from depth_training.evaluate.metrics import Averaging
from depth_training.evaluate.protocols import OPTIONS, get_protocol
from depth_training.recipes.targets import COLUMNS, PAPERS, RIVALS, TARGETS, Target
from depth_training.report.page import Element, Heading, Table

NOT_RUN = 'not run'
AVERAGED = {'pixels': 'over all pixels', 'images': 'per image, then averaged'}
HEAD = ['model', 'protocol', 'row', *COLUMNS, 'note']
Row = list[str]
Result = dict[str, Any]


def paper_tables(results: Sequence[Result]) -> list[Element]:
    """Return a heading and a table for each paper."""
    return [
        element
        for paper, title in PAPERS.items()
        for element in (
            Heading(title, 3),
            Table(
                HEAD,
                [
                    *_rival_rows(paper),
                    *published_rows(results, paper),
                    *_other_rows(results, paper),
                ],
            ),
        )
    ]


def published_rows(results: Sequence[Result], paper: str = 'paper') -> Iterator[Row]:
    """Yield each published row of a paper, then our rows with the difference."""
    for target in TARGETS:
        if not target.recipe.startswith(paper):
            continue
        yield [
            target.title,
            f'{target.protocol}, {AVERAGED[target.averaging]}',
            'published',
            *map(figure, target.published),
            target.note,
        ]
        found = [result for result in results if _aims_at(result, target)]
        if not found:
            yield ['', '', NOT_RUN, *([''] * len(COLUMNS)), '']
        for origin in ('trained', 'imported'):
            of_origin = [result for result in found if _origin(result) == origin]
            for result in of_origin:
                yield from _beside(target, result)
            if len(of_origin) > 1:
                yield from _together(target, of_origin)


def figure(value: float | None, sign: str = '') -> str:
    """Format a score."""
    if value is None:
        return '–'
    return f'{value:{sign}.3f}' if abs(value) < 1000 else f'{value:{sign}.2e}'


def _rival_rows(paper: str) -> Iterator[Row]:
    for rival in RIVALS:
        if rival.paper == paper:
            yield [
                rival.name,
                "the rival's own",
                'published',
                *map(figure, rival.published),
                '; '.join(filter(None, (f'from {rival.source}', rival.note))),
            ]


def _other_rows(results: Sequence[Result], paper: str) -> Iterator[Row]:
    """Yield each network of others, and each folder of predictions, by a protocol of the paper."""
    protocols = {
        target.protocol: target.averaging
        for target in reversed(TARGETS)
        if target.recipe.startswith(paper)
    }
    for result in results:
        if _is_of_others(result) and result['protocol'] in protocols:
            averaging = protocols[result['protocol']]
            yield [
                result['weights']['name'],
                _protocol(result, averaging),
                result['weights']['origin'],
                *map(figure, _scores(result, averaging)),
                _about(result),
            ]


def _is_of_others(result: Result) -> bool:
    """Tell if a result belongs to no recipe: an imported network, or predictions from files."""
    weights = result['weights']
    return not weights.get('recipe_name') and weights.get('origin') in ('imported', 'predictions')


def _aims_at(result: Result, target: Target) -> bool:
    """Tell if a result has the target's recipe and protocol."""
    weights = result['weights']
    # Older results store the recipe in the network's name.
    recipe = weights.get('recipe_name') or weights.get('name')
    return recipe == target.recipe and result['protocol'] == target.protocol


def _origin(result: Result) -> str:
    return 'imported' if result['weights'].get('origin') == 'imported' else 'trained'


def _whose(result: Result) -> str:
    return "authors' weights" if _origin(result) == 'imported' else 'ours'


def _beside(target: Target, result: Result) -> Iterator[Row]:
    """Yield our row with the difference, and one with the usual averaging if it differs."""
    scores = _scores(result, target.averaging)
    yield [
        '',
        _protocol(result, target.averaging),
        _whose(result),
        *map(figure, scores),
        _about(result),
    ]
    yield ['', '', 'difference', *(figure(value, '+') for value in _less(scores, target)), '']
    usual = get_protocol(target.protocol).averaging
    if usual != target.averaging and f'by_{usual}' in result:
        yield [
            '',
            _protocol(result, usual),
            _whose(result),
            *map(figure, _scores(result, usual)),
            'as others average by this protocol; not comparable with this paper',
        ]


def _together(target: Target, results: Sequence[Result]) -> Iterator[Row]:
    """Yield mean and standard deviation (n - 1) of several seeds, and the mean's difference."""
    columns = list(zip(*(_scores(result, target.averaging) for result in results)))
    known = [None if None in column else np.array(column) for column in columns]
    means = [None if column is None else float(column.mean()) for column in known]
    yield ['', AVERAGED[target.averaging], f'mean of {len(results)}', *map(figure, means), '']
    yield [
        '',
        '',
        'deviation',
        *(figure(None if column is None else float(column.std(ddof=1))) for column in known),
        '',
    ]
    yield [
        '',
        '',
        'difference',
        *(figure(value, '+') for value in _less(means, target)),
        'of the mean',
    ]


def _less(scores: Sequence[float | None], target: Target) -> list[float | None]:
    return [
        None if score is None or published is None else score - published
        for score, published in zip(scores, target.published)
    ]


def _scores(result: Result, averaging: Averaging) -> list[float | None]:
    scores: dict[str, float] = result.get(f'by_{averaging}') or result['scores']
    return [scores.get(name) for name in COLUMNS]


def _protocol(result: Result, averaging: Averaging) -> str:
    """Describe the protocol of a result, with options that differ from its definition."""
    options = [
        word
        for word in OPTIONS
        if result['description'].endswith(word) or f', {word},' in result['description']
    ]
    return ', '.join([result['protocol'], AVERAGED[averaging], *options])


def _about(result: Result) -> str:
    """Describe data, deviations from the protocol, depth factors, and changes of the recipe."""
    recipe = result['weights'].get('recipe', '')
    changed = f'changed recipe: {recipe}' if ' --set ' in recipe else ''
    low, high = result.get('depth_factor', (1.0, 1.0))
    factor = (
        ''
        if max(abs(low - 1), abs(high - 1)) < 5e-4
        else f'depth multiplied by {low:.3f} to {high:.3f} for the camera'
    )
    return '; '.join(filter(None, (result['data'], result.get('note'), factor, changed)))
