# SPDX-License-Identifier: Apache-2.0
"""The report shows the published table whole, and ours only where it was run."""
from __future__ import annotations

import json

import pytest

from depth_perception.weights import save_weights
from depth_training import cli
from depth_training.recipes import RECIPES
from depth_training.report import markdown, published_rows
from depth_training.targets import COLUMNS, TARGETS
from test.support import layouts
from test.support.weights import tiny_info, tiny_network


def result(recipe: str, protocol: str) -> dict:
    return {'protocol': protocol, 'description': f'{protocol}: in words', 'averaging': 'pixels',
            'scores': dict.fromkeys(COLUMNS, 0.5), 'counts': {'images': 3}, 'data': 'made data',
            'weights': {'name': recipe, 'recipe': f'python -m depth_training train {recipe}'}}


def test_every_recipe_of_a_paper_has_its_target_under_its_protocol():
    papers = [name for name in RECIPES if name.startswith('paper_')]
    assert [target.recipe for target in TARGETS] == papers
    assert all(target.protocol == RECIPES[target.recipe].protocol for target in TARGETS)


def test_nothing_run_says_so_in_every_row():
    rows = list(published_rows([]))
    assert sum(row[2] == 'not run' for row in rows) == len(TARGETS)
    assert '| published | 0.130 | 0.593 | 0.057 | 0.833 | 0.960 | 0.989 |' in markdown([])


def test_ours_stands_beside_with_the_difference():
    text = markdown([result('paper_003', 'harsanyi')])
    assert '| ours | 0.500 |' in text and '| difference | +0.370 | -0.093 |' in text
    assert text.count('| not run |') == len(TARGETS) - 1


@pytest.mark.parametrize('recipe, protocol', [('paper_003', 'plain'), ('paper_00', 'harsanyi')])
def test_another_protocol_or_recipe_is_not_compared(recipe, protocol):
    assert '| ours |' not in markdown([result(recipe, protocol)])


def test_files_with_pictures(tmp_path):
    save_weights(tmp_path / 'tiny.safetensors', tiny_network(), tiny_info())
    (tmp_path / 'a.json').write_text(json.dumps([result('paper_004', 'densedepth')]))
    data = layouts.sync(tmp_path / 'data')
    out = tmp_path / 'report'
    assert cli.main(['report', '--out', str(out), '--results', str(tmp_path / 'a.json'),
                     '--weights', str(tmp_path / 'tiny.safetensors'), '--data', str(data)]) == 0
    assert (out / 'pictures.png').stat().st_size > 1000
    page = (out / 'report.html').read_text()
    assert 'data:image/png;base64,' in page and page.count('<table>') == 2


def test_a_file_of_something_else_is_named(tmp_path, capsys):
    (tmp_path / 'a.json').write_text('{"a": 1}')
    assert cli.main(['report', '--out', str(tmp_path), '--results',
                     str(tmp_path / 'a.json')]) == 1
    assert 'a.json is not what evaluate --json prints' in capsys.readouterr().err
