# SPDX-License-Identifier: Apache-2.0
"""`report`: published tables compared with ours, learning curves of runs, and images."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from depth_perception.io.files import write_atomically
from depth_perception.progress import tracked
from depth_perception.reading import NotTextError, read_text
from depth_training.evaluate.protocols import get_protocol
from depth_training.options import TITLE, ReportOptions
from depth_training.recipes import RECIPES
from depth_training.recipes.targets import COLUMNS, TARGETS
from depth_training.report import page
from depth_training.report.page import Bullets, Element, Heading, Picture, Table, Text
from depth_training.report.published import HEAD, figure, paper_tables
from depth_training.train.run_folder import Run, differing, read_run

_FIELDS = {'protocol', 'description', 'averaging', 'scores', 'counts', 'weights', 'data'}
Row = list[str]


def report(options: ReportOptions) -> int:
    """Write the report.

    Raises:
        ValueError: a results file or run folder is invalid, or weights are given without data.
        OSError: a file cannot be read or written.
    """
    if options.weights and options.data is None:
        raise ValueError('pictures of --weights need --data too')
    if options.data is not None and not (options.weights or options.runs):
        raise ValueError('pictures of --data need --weights or --runs too')
    results = [result for file in options.results for result in read_results(file)]
    runs = [read_run(folder) for folder in options.runs]
    options.out.mkdir(parents=True, exist_ok=True)
    elements = contents(results, runs, options.title, options.note)
    elements += [*_curves(options, runs), *_pictures(options, runs)]
    write_atomically(options.out / 'report.md', [page.markdown(elements).encode()])
    write_atomically(options.out / 'report.html', [page.as_html(elements, options.title).encode()])
    names = [
        'report.md',
        'report.html',
        *(element.file for element in elements if isinstance(element, Picture)),
    ]
    sys.stderr.write(f'wrote {", ".join(str(options.out / name) for name in names)}\n')
    return 0


def read_results(file: Path) -> list[dict[str, Any]]:
    """Read the output of `evaluate --json`.

    Raises:
        ValueError: the file contains something else.
    """
    try:
        results = json.loads(read_text(file))
        complete = all(result.keys() >= _FIELDS for result in results)
    except NotTextError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{file} is not what evaluate --json prints') from error
    if not complete:
        raise ValueError(f'{file} is not what evaluate --json prints')
    return results


def contents(
    results: Sequence[dict[str, Any]], runs: Sequence[Run] = (), title: str = TITLE, note: str = ''
) -> list[Element]:
    """Return the page without images; the papers' tables only if a run is of a paper's recipe."""
    elements: list[Element] = [Heading(title, 1), *([Text(note)] if note else [])]
    of_papers = not runs or any(_is_of_paper(run) for run in runs)
    if of_papers:
        elements += [Text(_FOREWORD), Heading('The papers'), *paper_tables(results)]
    if results:
        elements += [Heading('All results'), Table(HEAD, list(all_rows(results)))]
    if runs:
        elements += [
            Heading('The runs'),
            Table(_RUN_HEAD, list(run_rows(runs))),
            *([Text(_equal(runs))] if len(runs) > 1 else []),
            Heading('Validation after the last epoch', 3),
            Table(['run', 'epoch', *COLUMNS, 'loss'], list(validation_rows(runs))),
            Bullets(_run_data(runs)),
        ]
    return [*elements, Heading('Protocols'), Bullets(_protocols(results, runs, of_papers))]


def all_rows(results: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Yield every result: protocol, scores and counts."""
    for result in results:
        counts = ', '.join(
            f'{value} {name.replace("_", " ")}' for name, value in result['counts'].items()
        )
        yield [
            result['weights'].get('name', ''),
            result['protocol'],
            result['averaging'],
            *(figure(result['scores'].get(name)) for name in COLUMNS),
            '; '.join(filter(None, (result['data'], counts, result.get('note')))),
        ]


def run_rows(runs: Sequence[Run]) -> Iterator[Row]:
    """Yield each run: what was trained, how long, on what machine."""
    for run, name in zip(runs, names_of(runs)):
        about = run.description
        yield [
            name,
            about.recipe['name'],
            about.recipe['network'],
            about.recipe['loss'],
            f'{about.parameters:,}',
            about.initial,
            f'{run.step:,} of {about.steps:,}',
            f'{run.images:,}',
            about.precision,
            '–' if run.seconds is None else _duration(run.seconds),
            about.machine,
        ]


def validation_rows(runs: Sequence[Run]) -> Iterator[Row]:
    """Yield each run's validation scores after the last and the best epoch."""
    for run, name in zip(runs, names_of(runs)):
        last = run.validation[-1] if run.validation else {}
        yield [name, str(last['epoch'] + 1) if last else 'none', *_row(last)]
        best = min(run.validation, key=lambda row: row.get('RMSE') or math.inf, default=last)
        if best is not last:
            yield ['', f'{best["epoch"] + 1} (least RMSE)', *_row(best)]


def _row(scores: dict[str, Any]) -> list[str]:
    return [figure(scores.get(score)) for score in (*COLUMNS, 'loss')]


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run: its folder's, numbered if two are the same."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else f'{name} ({index})'
        for index, name in enumerate(names, 1)
    ]


_RUN_HEAD = [
    'run',
    'recipe',
    'network',
    'loss',
    'parameters',
    'starts from',
    'steps',
    'images seen',
    'precision',
    'time',
    'machine',
]
_FOREWORD = (
    'Rows named "published" were measured by others: targets on NYU Depth v2, and other '
    'methods as quoted by a paper, each by its own protocol. "Ours" was measured on the '
    'data named in the row; on other data it is not a reproduction. "Imported" networks of others '
    'and "predictions" from files stand below the rows of the papers by the same protocol.'
)
_CAPTION = 'input, truth, prediction, and relative error; relative depth is fitted to the truth'


def _is_of_paper(run: Run) -> bool:
    return any(target.recipe == run.description.recipe['name'] for target in TARGETS)


def _equal(runs: Sequence[Run]) -> str:
    """Return a sentence on whether this is a fair comparison."""
    different = differing(runs)
    if different:
        return f'Not an equal comparison: the runs differ in {", ".join(different)}.'
    return 'Equal data, steps, images and protocol in all runs.'


def _run_data(runs: Sequence[Run]) -> list[str]:
    """Return the data of the runs, each once."""
    texts = [
        text
        for run in runs
        for text in (
            f'training: {run.description.training}',
            f'validation: {run.description.validation}',
        )
    ]
    return list(dict.fromkeys(texts))


def _protocols(
    results: Sequence[dict[str, Any]], runs: Sequence[Run], of_papers: bool
) -> list[str]:
    """Describe the protocols of the tables, each once."""
    names = [target.recipe for target in TARGETS if of_papers]
    texts = [RECIPES[name].own_protocol.describe() for name in names]
    texts += [get_protocol(run.description.recipe['protocol']).describe() for run in runs]
    return list(dict.fromkeys(texts + [result['description'] for result in results]))


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 2:
        return f'{hours:.1f} h'
    return f'{minutes:.1f} min' if minutes >= 2 else f'{seconds:.0f} s'


def _curves(options: ReportOptions, runs: Sequence[Run]) -> list[Element]:
    if not runs:
        return []
    from depth_training.report import curves

    write_atomically(options.out / 'curves.png', [curves.draw(runs, names_of(runs))])
    return [
        Heading('Learning curves'),
        Picture(
            'curves.png',
            'Loss in training and (dashed) on the validation images and learning rate by '
            'step, validation scores by epoch. Different losses, named in the legend, cannot be '
            'compared: compare the scores.',
        ),
    ]


def _pictures(options: ReportOptions, runs: Sequence[Run]) -> list[Element]:
    """Draw each weights file's predictions for the same pairs."""
    if options.data is None:
        return []
    from depth_training.data import evenly, open_dataset
    from depth_training.evaluate.pictures import of_weights, side_by_side

    dataset = evenly(
        open_dataset(
            options.data, 'test', hold_out=options.hold_out, depth_scale=options.depth_scale
        ),
        options.pictures,
    )
    files = {name: run.weights for name, run in zip(names_of(runs), runs)}
    files |= {file.stem: file for file in options.weights}
    elements: list[Element] = [Heading('Pictures'), Text(f'Pairs of: {dataset.describe()}.')]
    if len(files) > 1:
        write_atomically(options.out / 'methods.jpg', [side_by_side(files, dataset)])
        elements.append(Picture('methods.jpg', f'input, truth, {", ".join(files)}'))
    for name, weights in tracked(files.items(), 'pictures', ' networks'):
        file = f'pictures_{"".join(c if c.isalnum() else "_" for c in name)}.jpg'
        write_atomically(options.out / file, [of_weights(weights, dataset)])
        elements.append(Picture(file, f'{name}: {_CAPTION}'))
    return elements
