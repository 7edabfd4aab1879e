# SPDX-License-Identifier: Apache-2.0
"""The report shows the complete published table, and our results if available."""

from __future__ import annotations

import dataclasses
import json
from itertools import combinations

import cv2
import pytest

from depth_perception.io.weights import save_weights
from depth_training import cli
from depth_training.recipes import RECIPES
from depth_training.recipes.targets import COLUMNS, PAPERS, RIVALS, TARGETS
from depth_training.report import page
from depth_training.report.curves import smooth
from depth_training.report.published import published_rows
from depth_training.report.report import contents, validation_rows
from depth_training.train.run_folder import read_run
from test.support import layouts
from test.support.tiny_training import TINY, words
from test.support.weights import tiny_info, tiny_network


def result(recipe: str, protocol: str) -> dict:
    return {
        'protocol': protocol,
        'description': f'{protocol}: in words',
        'averaging': 'pixels',
        'scores': dict.fromkeys(COLUMNS, 0.5),
        'counts': {'images': 3},
        'data': 'made data',
        'weights': {'name': recipe, 'recipe': f'python -m depth_training train {recipe}'},
    }


def test_every_recipe_of_a_paper_has_its_target_under_its_protocol():
    papers = [name for name in RECIPES if name.startswith('paper_')]
    assert [target.recipe for target in TARGETS] == papers
    assert all(target.protocol == RECIPES[target.recipe].protocol for target in TARGETS)


def test_nothing_run_says_so_in_every_row():
    rows = list(published_rows([]))
    assert sum(row[2] == 'not run' for row in rows) == len(TARGETS)
    assert '| published | 0.130 | 0.593 | 0.057 | 0.833 | 0.960 | 0.989 |' in page.markdown(
        contents([])
    )


def test_ours_stands_beside_with_the_difference():
    text = page.markdown(contents([result('paper_003', 'harsanyi')]))
    assert '| ours | 0.500 |' in text and '| difference | +0.370 | -0.093 |' in text
    assert text.count('| not run |') == len(TARGETS) - 1


@pytest.mark.parametrize('recipe, protocol', [('paper_003', 'plain'), ('paper_00', 'harsanyi')])
def test_another_protocol_or_recipe_is_not_compared(recipe, protocol):
    assert '| ours |' not in page.markdown(contents([result(recipe, protocol)]))


def test_the_paper_s_averaging_is_compared_and_the_usual_one_named():
    one = result('paper_001_m5', 'eigen_bts')
    one |= {
        'averaging': 'images',
        'by_pixels': dict.fromkeys(COLUMNS, 0.4),
        'by_images': dict.fromkeys(COLUMNS, 0.3),
    }
    text = page.markdown(contents([one]))
    assert '| eigen_bts, over all pixels | ours | 0.400 |' in text
    assert '| difference | +0.280 |' in text
    assert '| eigen_bts, per image, then averaged | ours | 0.300 |' in text


def test_every_paper_has_its_table_with_its_rivals_named_as_published():
    text = page.markdown(contents([]))
    headings = [line for line in text.splitlines() if line.startswith('### Paper ')]
    assert [line[4:13] for line in headings] == [f'Paper 00{number}' for number in range(5)]
    for rival in RIVALS:
        row = next(line for line in text.splitlines() if line.startswith(f'| {rival.name} |'))
        assert "| the rival's own | published |" in row
        # Figures without a source could be wrong without anyone noticing.
        assert f'from {rival.source}' in row and len(rival.source) > 8
    assert "| DORN (Fu et al. 2018) | the rival's own | published | 0.115 | 0.509 |" in text
    assert {rival.paper for rival in RIVALS} <= set(PAPERS)


def test_several_seeds_have_mean_and_deviation():
    three = [result('paper_003', 'harsanyi') for _ in range(3)]
    for one, value in zip(three, (0.1, 0.2, 0.3)):
        one['scores'] = dict.fromkeys(COLUMNS, value)
    text = page.markdown(contents(three))
    assert text.count('| ours |') == 3
    assert '| mean of 3 | 0.200 |' in text and '| deviation | 0.100 |' in text
    assert '| difference | +0.070 |' in text


def test_options_that_change_the_protocol_and_the_recipe_are_named_beside():
    one = result('paper_004', 'densedepth')
    one['description'] += ', swapped, scaled to the median'
    one['weights']['recipe'] = 'python -m depth_training train paper_004 --set epochs=2'
    text = page.markdown(contents([one]))
    assert '| densedepth, over all pixels, swapped, scaled to the median | ours |' in text
    assert 'changed recipe: python -m depth_training train paper_004 --set epochs=2' in text


def test_imported_weights_of_the_authors_get_their_own_row():
    one = result('paper_003', 'harsanyi')
    one['weights'] = {
        'name': 'resnet_unet_hybrid (hyb_net_weights.model)',
        'origin': 'imported',
        'recipe_name': 'paper_003',
        'recipe': 'import-weights hybrid ...',
    }
    text = page.markdown(contents([one]))
    assert "| authors' weights | 0.500 |" in text and '| ours |' not in text


@pytest.mark.parametrize('origin', ['imported', 'predictions'])
def test_networks_of_others_stand_below_each_paper_of_their_protocol(origin):
    one = result('Depth Anything', 'plain')
    one['description'] += ', scale and shift fitted'
    one['weights'] |= {'origin': origin, 'recipe_name': '', 'recipe': ''}
    text = page.markdown(contents([one]))
    row = f'| Depth Anything | plain, over all pixels, scale and shift fitted | {origin} | 0.500 |'
    assert text.count(row) == 1  # papers 000 and 002 use it, paper 000 averages over images
    other = f'| Depth Anything | plain, per image, then averaged, scale and shift fitted | {origin}'
    assert text.count(other) == 1
    assert text.index('### Paper 002') < text.index(row) < text.index('### Paper 003')
    assert '| difference |' not in text


def test_a_model_card_needs_metres(tmp_path, capsys):
    file = tmp_path / 'relative.safetensors'
    save_weights(file, tiny_network(), tiny_info(output='relative_disparity'))
    words = ('--data', str(tmp_path), '--weights', str(file), '--out', str(tmp_path / 'card.md'))
    assert cli.main(['model-card', *words]) == 1
    said = capsys.readouterr().err
    assert 'does not give metres' in said and 'use evaluate' in said and said.count('\n') == 1


def test_train_evaluate_and_report_fill_ours(tmp_path, capsys, monkeypatch):
    """`report` finds the results of `train`, through the commands."""
    recipe = dataclasses.replace(
        RECIPES['paper_003'],
        network=TINY.network,
        network_arguments=TINY.network_arguments,
        height=48,
        width=64,
        test_height=48,
        test_width=64,
        batch=2,
    )
    monkeypatch.setitem(RECIPES, 'paper_003', recipe)
    data, out = layouts.sync(tmp_path / 'data'), tmp_path / 'run'
    train = words(data, out, '--fast-dev-run')
    assert cli.main(['train', 'paper_003', *train[2:]]) == 0
    capsys.readouterr()
    assert (
        cli.main(
            [
                'evaluate',
                '--weights',
                str(out / 'weights.safetensors'),
                '--data',
                str(data),
                '--protocol',
                'all',
                '--json',
                '--device',
                'cpu',
            ]
        )
        == 0
    )
    (tmp_path / 'scores.json').write_text(capsys.readouterr().out)
    assert (
        cli.main(
            [
                'report',
                '--out',
                str(tmp_path / 'report'),
                '--results',
                str(tmp_path / 'scores.json'),
            ]
        )
        == 0
    )
    lines = (tmp_path / 'report/report.md').read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith('| paper_003:'))
    assert '| published |' in lines[place] and '| ours |' in lines[place + 1]
    assert sum('| ours |' in line for line in lines) == 1
    rmse = json.loads((tmp_path / 'scores.json').read_text())[0]['scores']['RMSE']
    assert f'| {rmse:.3f} |' in lines[place + 1]


def test_files_with_pictures(tmp_path):
    save_weights(tmp_path / 'tiny.safetensors', tiny_network(), tiny_info())
    (tmp_path / 'a.json').write_text(json.dumps([result('paper_004', 'densedepth')]))
    data = layouts.sync(tmp_path / 'data')
    out = tmp_path / 'report'
    assert (
        cli.main(
            [
                'report',
                '--out',
                str(out),
                '--results',
                str(tmp_path / 'a.json'),
                '--weights',
                str(tmp_path / 'tiny.safetensors'),
                '--data',
                str(data),
            ]
        )
        == 0
    )
    assert cv2.imread(str(out / 'pictures_tiny.jpg')).shape[1] == 1280
    for text in ((out / 'report.html').read_text(), (out / 'report.md').read_text()):
        assert 'pictures_tiny.jpg' in text and 'curves' not in text


def test_a_file_of_something_else_is_named(tmp_path, capsys):
    (tmp_path / 'a.json').write_text('{"a": 1}')
    assert cli.main(['report', '--out', str(tmp_path), '--results', str(tmp_path / 'a.json')]) == 1
    assert 'a.json is not what evaluate --json prints' in capsys.readouterr().err


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Make two real runs of a tiny network on the same pairs, one of them a step longer."""
    folder = tmp_path_factory.mktemp('runs')
    data = layouts.sync(folder / 'data', ('kitchen', 'office'), 8)
    RECIPES['tiny'] = TINY
    try:
        assert cli.main(words(data, folder / 'short', '--epochs', '2')) == 0
        assert cli.main(words(data, folder / 'long', '--epochs', '3', '--loss', 'l1')) == 0
    finally:
        del RECIPES['tiny']
    return folder


def test_runs_are_compared_with_curves_and_pictures(runs, tmp_path):
    out = tmp_path / 'report'
    assert (
        cli.main(
            [
                'report',
                '--out',
                str(out),
                '--runs',
                str(runs / 'short'),
                str(runs / 'long'),
                '--data',
                str(runs / 'data'),
            ]
        )
        == 0
    )
    text = (out / 'report.md').read_text()
    assert '| short | tiny | efficientnet_sff | silog |' in text
    assert '| 4 of 4 | 16 | fp32 |' in text and '| 6 of 6 | 24 | fp32 |' in text
    assert 'Not an equal comparison: the runs differ in images seen, steps.' in text
    assert 'training: sync layout, 8 pairs' in text and '* plain: filled' in text
    # No table of the papers, since these runs are not of their recipes.
    assert 'published |' not in text
    for file in ('curves.png', 'methods.jpg', 'pictures_short.jpg', 'pictures_long.jpg'):
        assert f']({file})' in text and cv2.imread(str(out / file)).std() > 10
    # Input, truth and two methods: four different columns of 320 pixels.
    methods = cv2.imread(str(out / 'methods.jpg'))
    columns = [methods[:, 320 * i : 320 * (i + 1)].astype(float) for i in range(4)]
    assert methods.shape[1] == 4 * 320
    assert min(abs(a - b).mean() for a, b in combinations(columns, 2)) > 3


def test_the_last_validation_is_shown(runs):
    run = read_run(runs / 'long')
    row = next(validation_rows([run]))
    assert row[:2] == ['long', '3'] and row[2] == f'{run.validation[2]["AbsRel"]:.3f}'
    assert row[-1] == f'{run.validation[2]["loss"]:.3f}'
    run.validation[1]['RMSE'] = 0.01
    assert list(validation_rows([run]))[1][:2] == ['', '2 (least RMSE)']
    assert 0 < run.seconds < 600


def test_equal_runs_are_called_equal(runs):
    run = read_run(runs / 'short')
    text = page.markdown(contents([], [run, run]))
    assert 'Equal data, steps, images and protocol in all runs.' in text
    assert '| short (1) |' in text and '| short (2) |' in text


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert cli.main(['report', '--out', str(tmp_path / 'out'), '--runs', str(tmp_path)]) == 1
    assert 'contains no run.json' in capsys.readouterr().err


def test_smoothing_is_the_mean_of_the_last_values():
    assert smooth([3.0, 1.0, 2.0, 6.0], 2) == [3.0, 2.0, 1.5, 4.0]
