# SPDX-License-Identifier: Apache-2.0
"""A report in Markdown and HTML: the published tables, our numbers beside them, and pictures."""
from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_perception.files import write_atomically
from depth_training.protocols import get_protocol
from depth_training.targets import COLUMNS, TARGETS, Target

NOT_RUN = 'not run'
_FIELDS = {'protocol', 'description', 'averaging', 'scores', 'counts', 'weights', 'data'}
Row = list[str]


@dataclass(frozen=True)
class ReportOptions:
    """Write report.md and report.html."""

    out: Path
    """Folder for the report."""
    results: tuple[Path, ...] = ()
    """Files that `evaluate --json` printed."""
    weights: Path | None = None
    """Weights file to show pictures of, on `--data`."""
    data: Path | None = None
    """RGB-D pairs for the pictures."""
    hold_out: tuple[str, ...] = ()
    """Scenes that are the test part, of data without an official split."""
    pictures: int = 6


def report(options: ReportOptions) -> int:
    """Write the report.

    Raises:
        ValueError: a file of results is none, or weights come without data.
        OSError: a file cannot be read or written.
    """
    if (options.weights is None) != (options.data is None):
        raise ValueError('pictures need both --weights and --data')
    results = [result for file in options.results for result in read_results(file)]
    options.out.mkdir(parents=True, exist_ok=True)
    picture = _pictures(options) if options.weights else None
    if picture:
        write_atomically(options.out / 'pictures.png', [picture])
    write_atomically(options.out / 'report.md',
                     [markdown(results, bool(picture)).encode()])
    write_atomically(options.out / 'report.html', [as_html(results, picture).encode()])
    return 0


def read_results(file: Path) -> list[dict[str, Any]]:
    """What `evaluate --json` printed.

    Raises:
        ValueError: it is something else.
    """
    try:
        results = json.loads(file.read_text('utf-8'))
        complete = all(result.keys() >= _FIELDS for result in results)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{file} is not what evaluate --json prints') from error
    if not complete:
        raise ValueError(f'{file} is not what evaluate --json prints')
    return results


def published_rows(results: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """The table of the papers: each published row, ours below it, and the difference."""
    for target in TARGETS:
        yield [target.title, target.protocol, 'published',
               *(_figure(value) for value in target.published), target.note]
        ours = [result for result in results if _aims_at(result, target)]
        if not ours:
            yield ['', '', NOT_RUN, *([''] * len(COLUMNS)), '']
        for result in ours:
            yield from _beside(target, result)


def all_rows(results: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """Every result: protocol, scores and counts."""
    for result in results:
        counts = ', '.join(f'{value} {name.replace("_", " ")}'
                           for name, value in result['counts'].items())
        yield [result['weights'].get('name', ''), result['protocol'], result['averaging'],
               *(_figure(result['scores'].get(name)) for name in COLUMNS),
               '; '.join(filter(None, (result['data'], counts, result.get('note'))))]


def markdown(results: Sequence[dict[str, Any]], with_pictures: bool = False) -> str:
    """The report in Markdown."""
    parts = ['# Depth networks: published and measured', _FOREWORD,
             '## The papers', _markdown_table(_HEAD, published_rows(results))]
    if results:
        parts += ['## All results', _markdown_table(_HEAD, all_rows(results))]
    parts += ['## Protocols', '\n'.join(f'* {text}' for text in _protocols(results))]
    if with_pictures:
        parts += ['## Pictures', f'{_CAPTION}\n\n![pictures](pictures.png)']
    return '\n\n'.join(parts) + '\n'


def as_html(results: Sequence[dict[str, Any]], picture: bytes | None = None) -> str:
    """The report as one HTML file, pictures inside it."""
    parts = ['<h1>Depth networks: published and measured</h1>', f'<p>{_FOREWORD}</p>',
             '<h2>The papers</h2>', _html_table(_HEAD, published_rows(results))]
    if results:
        parts += ['<h2>All results</h2>', _html_table(_HEAD, all_rows(results))]
    items = ''.join(f'<li>{html.escape(text)}</li>' for text in _protocols(results))
    parts += ['<h2>Protocols</h2>', f'<ul>{items}</ul>']
    if picture:
        encoded = base64.b64encode(picture).decode()
        parts += ['<h2>Pictures</h2>', f'<p>{_CAPTION}</p>',
                  f'<img alt="pictures" src="data:image/png;base64,{encoded}">']
    return f'<!doctype html><meta charset="utf-8"><title>Depth report</title>{_STYLE}' \
        + '\n'.join(parts) + '\n'


_HEAD = ['model', 'protocol', 'row', *COLUMNS, 'note']
_FOREWORD = ('The published numbers are targets on NYU Depth v2. "Ours" was measured on the data '
             'that is named with it; on other data it is no reproduction.')
_CAPTION = 'Input, truth, prediction, and relative error (black 0, yellow 50 % and more).'
_STYLE = ('<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}'
          'td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left}img{max-width:100%}'
          '</style>')


def _aims_at(result: dict[str, Any], target: Target) -> bool:
    """Whether a result is of the target's recipe and protocol."""
    words = result['weights'].get('recipe', '').split()
    return target.recipe in words and result['protocol'] == target.protocol


def _beside(target: Target, result: dict[str, Any]) -> Iterator[Row]:
    scores = [result['scores'].get(name) for name in COLUMNS]
    differences = [None if None in pair else pair[0] - pair[1]
                   for pair in zip(scores, target.published)]
    yield ['', '', 'ours', *map(_figure, scores), result['data']]
    yield ['', '', 'difference', *(_figure(value, '+') for value in differences), '']


def _protocols(results: Sequence[dict[str, Any]]) -> list[str]:
    """In words, each once: those of the targets, and any other that was used."""
    texts = [get_protocol(target.protocol).describe() for target in TARGETS]
    return list(dict.fromkeys(texts + [result['description'] for result in results]))


def _figure(value: float | None, sign: str = '') -> str:
    if value is None:
        return '–'
    return f'{value:{sign}.3f}' if abs(value) < 1000 else f'{value:{sign}.2e}'


def _markdown_table(head: Row, rows: Iterator[Row]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(cell.replace('|', '/') for cell in line) + ' |'
                     for line in lines)


def _html_table(head: Row, rows: Iterator[Row]) -> str:
    def line(cells: Row, tag: str) -> str:
        return '<tr>' + ''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in cells) + '</tr>'

    return f'<table>{line(head, "th")}' + ''.join(line(row, 'td') for row in rows) + '</table>'


def _pictures(options: ReportOptions) -> bytes:
    """Evenly chosen test pairs, as the `plain` protocol shows them."""
    import torch

    from depth_perception.weights import load_weights
    from depth_training import pictures, protocols
    from depth_training.data import evenly, open_dataset
    from depth_training.evaluation import Predictor, predicted

    loaded, protocol = load_weights(options.weights), get_protocol('plain')
    predictor = Predictor(loaded.network, loaded.info, torch.device('cpu'))
    dataset = evenly(open_dataset(options.data, 'test', hold_out=options.hold_out),
                     options.pictures)
    rows = []
    for sample in (dataset[index] for index in range(len(dataset))):
        depth = protocols.to_frame(
            protocol, predicted(predictor, sample, protocol), sample.depth.shape)
        rows.append(pictures.comparison(sample.rgb, sample.depth, depth, loaded.info.max_depth))
    return pictures.png(pictures.stacked(rows))
