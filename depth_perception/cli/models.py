# SPDX-License-Identifier: Apache-2.0
"""`depth-perception models`: depth networks of others, and the commands that import them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from depth_perception.errors import UsageError

#: The one list of these networks; the documentation has the same table.
NETWORKS = Path(__file__).parents[1] / 'models' / 'networks.json'
#: What was tried of all of them.
TRIED = (
    'The published weights could not be run here. Tested with random weights: one small '
    'configuration of each family gives the depth of transformers, and most of the published '
    'configurations are read. Figures are those of the sources.'
)
_HEADS = ('Network', 'Output', 'Parameters', 'Download', 'Licence', 'Input')
_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which networks, and the format."""
    parser.add_argument(
        'names', metavar='NAME', nargs='*', help='show only networks whose name contains this'
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--json', action='store_true', help='print everything as JSON')
    form.add_argument('--markdown', action='store_true', help='print the table of docs/networks.md')


def run(options: argparse.Namespace) -> int:
    """Print the networks and return the exit code.

    Raises:
        UsageError: no network has such a name.
    """
    networks = known_networks()
    for name in options.names:
        if not any(name.lower() in one['name'].lower() for one in networks):
            raise UsageError(
                f'no known network is named {name}; another one may work too: '
                'depth-perception import-model says whether it does'
            )
    if options.names:
        wanted = [name.lower() for name in options.names]
        networks = [one for one in networks if any(name in one['name'].lower() for name in wanted)]
    if options.json:
        text = json.dumps(networks, indent=2, ensure_ascii=False)
    else:
        text = markdown(networks) if options.markdown else _text(networks)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def known_networks() -> list[dict[str, Any]]:
    """Return the networks of the list, in its order."""
    networks: list[dict[str, Any]] = json.loads(NETWORKS.read_text(encoding='utf-8'))
    return networks


def markdown(networks: Sequence[dict[str, Any]]) -> str:
    """Return the networks as a table, with a list of their scores, licences and commands."""
    rows = [
        [f'[{one["name"]}](https://huggingface.co/{one["name"]})', *_facts(one)] for one in networks
    ]
    lines = ['| ' + ' | '.join(row) + ' |' for row in (_HEADS, ['---'] * len(_HEADS), *rows)]
    lines += ['', TRIED, '']
    for one in networks:
        lines.append('* ' + ' '.join([f'**{one["name"]}**: {one["what"]}.', *_remarks(one)]))
    commands = '\n'.join(one['import'] for one in networks)
    return '\n'.join([*lines, '', '```bash', commands, '```'])


def _facts(one: dict[str, Any]) -> list[str]:
    mark = ' (see below)' if 'licence_note' in one else ''
    return [
        one['output'],
        one['parameters'],
        one['download'],
        one['licence'] + mark,
        one['input'],
    ]


def _remarks(one: dict[str, Any]) -> Iterable[str]:
    """Return a sentence for each score, and for what else one should know."""
    if one['output'].startswith('relative'):
        yield 'Metres only with anchors (docs/anchors.md).'
    for score in one['scores']:
        yield f'{score["data"]}: {score["figures"]} ({score["protocol"]}; {score["source"]}).'
    if not one['scores']:
        yield f'Scores: {one["scores_note"]}.'
    if 'licence_note' in one:
        yield f'Licence {one["licence"]}: {one["licence_note"]}.'


def _text(networks: Sequence[dict[str, Any]]) -> str:
    """Return the networks for a terminal."""
    rows = [_HEADS, *([one['name'].partition('/')[2], *_facts(one)] for one in networks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = ['  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for one in networks:
        lines += ['', one['name']]
        for sentence in (f'{one["what"]}.', *_remarks(one)):
            lines += textwrap.wrap(sentence, _WIDTH, initial_indent='  ', subsequent_indent='    ')
        lines.append('  ' + one['import'])
    return '\n'.join([*lines, '', *textwrap.wrap(TRIED, _WIDTH)])
