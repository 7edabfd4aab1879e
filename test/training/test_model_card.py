# SPDX-License-Identifier: Apache-2.0
"""The model card's figures: correct baselines, and a page that keeps hand-written text."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from depth_perception.io.weights import save_weights
from depth_training import cli
from depth_training.data import every, open_dataset
from depth_training.evaluate.baselines import best_constant, mean_depth_map
from depth_training.evaluate.contenders import ALIGNED, PLAIN, WAYS, judge
from depth_training.evaluate.distance_bins import DistanceBands
from depth_training.evaluate.flicker import flicker
from depth_training.evaluate.protocols import WHOLE_FRAME, counted
from depth_training.report import model_card
from depth_training.report.model_card import BEGIN, END
from test.support import layouts
from test.support.weights import tiny_info, tiny_network, unsure_info, unsure_network


def test_no_other_constant_is_better():
    rng = np.random.default_rng(0)
    truths = [rng.uniform(0.3, 12, (9, 9)) * (rng.random((9, 9)) > 0.2) for _ in range(3)]
    known = np.concatenate([truth.ravel() for truth in truths])
    known = known[(known > 0) & (known < 10)]

    def absrel(constant):
        return np.mean(np.abs(constant - known) / known)

    found = best_constant(truths)
    assert absrel(found) <= min(absrel(value) for value in np.arange(0.1, 10, 0.01)) + 1e-3
    with pytest.raises(ValueError, match='no known depth'):
        best_constant([np.zeros((2, 2))])


def test_the_mean_map_is_in_canonical_terms_and_leaves_holes_out(tmp_path):
    dataset = open_dataset(layouts.rooms(tmp_path, ('scene_0',)), 'all')
    mean, used = mean_depth_map(dataset, 100.0, layouts.HEIGHT, layouts.WIDTH)
    assert used == 2
    # fx is 50 and 51, depth on the left 1.5 and 1.75 m; the hole gets the mean of all the rest.
    assert mean[-1, 0] == pytest.approx((1.5 * 100 / 50 + 1.75 * 100 / 51) / 2)
    assert mean[0, 0] == pytest.approx(mean[mean != mean[0, 0]].mean(), rel=1e-3)
    assert len(every(dataset, 2)) == 1


def test_flicker_is_what_the_truth_does_not_explain():
    truth = [np.full((2, 2), depth) for depth in (2.0, 2.02, 4.0)]  # the last change is not static
    truth[1][0, 0] = 0
    said = [np.full((2, 2), 3.0), np.full((2, 2), 3.0), np.full((2, 2), 9.0)]
    result = flicker(said, truth)
    assert result.median == pytest.approx(np.log(2.02 / 2)) and result.pixels == 3
    assert flicker(truth[:2], truth[:2]).p90 == 0
    with pytest.raises(ValueError, match='consecutive frames'):
        flicker(said[:1], truth[:1])


def test_bands_of_distance_by_hand():
    # 0.7 m belongs to the lower band, unknown and beyond 10 m to none; 40 m counts as 10.
    depth, truth, *_ = counted(
        WHOLE_FRAME, np.array([[1.05, 1.0, 5.0, 40.0, 9.0]]), np.array([[0.7, 1.0, 0.0, 8.0, 12.0]])
    )
    np.testing.assert_allclose(depth, [1.05, 1.0, 10.0])
    np.testing.assert_array_equal(truth, [0.7, 1.0, 8.0])
    bands = DistanceBands()
    bands.add(np.array([1.05, 1.0, 10.0]), truth)
    bands.add(np.array([0.8]), np.array([1.0]))
    assert list(bands.share) == [0.25, 0.5, 0, 0, 0, 0.25]
    np.testing.assert_allclose(bands.abs_rel, [0.5, 0.1, np.nan, np.nan, np.nan, 0.25])
    np.testing.assert_allclose(bands.bias, [1.5, np.sqrt(0.8), np.nan, np.nan, np.nan, 1.25])
    constant = DistanceBands()
    constant.add(*counted(WHOLE_FRAME, np.ones((1, 1)), np.full((2, 3), 2.0))[:2])
    assert constant.share[2] == 1 and constant.abs_rel[2] == 0.5


@pytest.fixture
def arguments(tmp_path):
    weights, page = tmp_path / 'tiny.safetensors', tmp_path / 'docs/card.md'
    save_weights(weights, tiny_network(), tiny_info())
    layouts.write(page, f'# Card\n\nWritten by hand.\n\n{BEGIN}\nold\n{END}\n\nThe end.\n')
    data = layouts.rooms(tmp_path / 'rooms', count=3)
    unseen = layouts.sync(tmp_path / 'real', ('kitchen',), 3)
    rgb, depth = layouts.scene()
    for index in range(3):
        layouts.write(tmp_path / f'still/rgb_{index:05d}.jpg', layouts.encode('.jpg', rgb))
        layouts.write(tmp_path / f'still/depth_{index:05d}.png', layouts.millimetres(depth))
    return [
        'model-card',
        '--weights',
        str(weights),
        '--data',
        str(data),
        '--hold-out',
        'scene_1',
        '--unseen',
        str(unseen),
        '--clip',
        str(tmp_path / 'still'),
        '--out',
        str(page),
        '--device',
        'cpu',
        '--sheets',
        str(tmp_path / 'sheets'),
    ]


def test_the_card_has_every_contender_and_keeps_the_hand_written_part(arguments, tmp_path):
    page = tmp_path / 'docs/card.md'
    assert cli.main(arguments) == 0
    text = page.read_text()
    assert text.startswith('# Card\n\nWritten by hand.\n') and text.endswith('\n\nThe end.\n')
    assert 'old' not in text and 'whole_frame: raw ground truth' in text
    rows = re.findall(r'^\| (.*?) \| (\d*) \| (.*?) \| ([\d.]+) \|', text, re.M)
    assert [row[:3] for row in rows] == [
        (name if first else '', '3' if first else '', what)
        for name in ('held-out rooms', 'real', 'clip')
        for what, first in (
            ('the network', True),
            ('best constant', False),
            ('mean depth map', False),
        )
    ]
    # Anchors correct the network, not the baselines.
    assert '| AbsRel, aligned | AbsRel, one row | AbsRel, 8x8 | δ1, aligned |' in text
    anchored = re.findall(r'^\| .* \| ([\d.]*) \| ([\d.]*) \| [\d.]+ \|$', text, re.M)
    assert [all(found) for found in anchored] == 3 * [True, False, False]
    # All pixels of each data set are in a band.
    shares = re.findall(r'^\| (?:below .*|.* to .*) m \| (.*) \| (.*) \| (.*) \|$', text, re.M)
    assert len(shares) == 6
    for column in zip(*shares):
        assert sum(int(cell.split()[-2]) for cell in column if cell != '-') in (99, 100, 101)
    assert 'Focal length unknown, assumed to be that of the training: real, clip.' in text
    assert re.search(
        r'input / that of its training: held-out rooms \d\.\d\d to \d\.\d\d, '
        r'real 1\.00 to 1\.00, clip 1\.00 to 1\.00\.',
        text,
    )
    assert 'Flicker on the clip (3 consecutive frames)' in text and str(tmp_path) not in text
    sheet = cv2.imread(str(tmp_path / 'docs/images/card_held_out.jpg'))
    assert sheet.shape[1] == 1920 and sheet.shape[0] > 180  # with a legend below
    assert (tmp_path / 'sheets/real.jpg').exists()
    assert not list((tmp_path / 'docs/images').glob('*real*'))
    assert cli.main(arguments) == 0
    assert page.read_text() == text


def test_a_perfect_prediction_has_no_error_and_anchors_mend_a_wrong_scale(tmp_path):
    pairs = every(open_dataset(layouts.rooms(tmp_path, ('scene_0',)), 'all'), 1)
    known = {sample.id: sample for sample in map(pairs.__getitem__, range(len(pairs)))}
    found = judge(
        'rooms',
        pairs,
        {
            'oracle': lambda sample: known[sample.id].depth,
            'double': lambda sample: 2 * known[sample.id].depth,
        },
        lambda sample: np.ones((1, 1), np.float32),
    )
    oracle, double = (found.errors[name] for name in ('oracle', 'double'))
    for way in (PLAIN, ALIGNED):
        assert oracle[way].metrics.scores() | {'delta1': 1} == oracle[PLAIN].metrics.scores()
        assert oracle[way].metrics.scores()['AbsRel'] == 0
        assert np.nansum(oracle[way].bands.abs_rel) == 0
        assert np.nanmin(oracle[way].bands.bias) == np.nanmax(oracle[way].bands.bias) == 1
    assert double[ALIGNED].metrics.scores()['AbsRel'] == pytest.approx(0, abs=1e-6)
    assert double[PLAIN].metrics.scores()['AbsRel'] == pytest.approx(1)
    assert set(found.absrel.values()) == {0} and len(found.cameras) == len(pairs) == 2
    for way in WAYS[2:]:  # anchors have noise, and 2 of 20 are nonsense
        assert 0 < oracle[way].metrics.scores()['AbsRel'] < 0.04
        assert double[way].metrics.scores()['AbsRel'] < 0.15
        assert np.nanmax(double[way].bands.abs_rel) < 0.3


def columns(text, beside):
    """Return the rows of the networks, and those of the table by distance as (first, second)."""
    scores = {
        name: re.findall(rf'^\| .*? \| \d* \| {name} \| (.*) \|$', text, re.M)
        for name in ('the network', beside)
    }
    head = re.search(r'^\| Data \| True distance \| Pixels \| (.*) \|$', text, re.M)[1].split(' | ')
    assert head == [f'{way}: {name}' for way in WAYS for name in ('the network', beside)]
    rows = re.findall(r'^\| .*? \| (?:below|\d).* m \| \d+ % \| (.*) \|$', text, re.M)
    cells = [row.split(' | ') for row in rows]
    assert all(len(row) == 2 * len(WAYS) for row in cells)
    return scores, [(row[::2], row[1::2]) for row in cells]


def test_the_same_file_beside_the_network_has_the_same_figures(arguments, tmp_path, capsys):
    weights = arguments[arguments.index('--weights') + 1]
    assert cli.main([*arguments, '--beside', f'before={weights}']) == 0
    text = (tmp_path / 'docs/card.md').read_text()
    scores, cells = columns(text, 'before')
    assert scores['the network'] == scores['before'] and len(scores['before']) == 3
    assert len(scores['before'][0].split(' | ')) == 3 + len(WAYS)
    assert len(cells) > 3 and all(first == second for first, second in cells)
    assert 'Depth of *before* is multiplied by' in text and str(tmp_path) not in text
    assert re.search(r'\*before\*: tiny, efficientnet_sff, 64x48, checksum [0-9a-f]{12}\.', text)
    flicker, again = re.search(r'differs by (.*?) from .* percentile (.*?)\), over', text).groups()
    assert again.endswith(f'; before: {flicker} and {again.split(";")[0]}')


def test_networks_of_another_size_and_with_confidence_go_beside(arguments, tmp_path, capsys):
    wide, new = tmp_path / 'wide=sure.safetensors', tmp_path / 'new.md'
    info = unsure_info(name='wide', input_width=128, input_height=96)
    save_weights(wide, unsure_network(1), info)
    plain = [*arguments, '--every', '2', '--out', str(new)]
    assert cli.main([*plain, '--beside', f'sure one={wide}']) == 0
    text = new.read_text()
    scores, cells = columns(text, 'sure one')
    assert scores['the network'] != scores['sure one'] and any(one != two for one, two in cells)
    assert '*sure one*: wide, efficientnet_sff, 128x96' in text
    # The other way round, the same figures change places.
    tiny = arguments[arguments.index('--weights') + 1]
    assert cli.main([*plain, '--weights', str(wide), '--beside', f'tiny={tiny}']) == 0
    swapped, other = columns(new.read_text(), 'tiny')
    assert swapped == {'tiny': scores['the network'], 'the network': scores['sure one']}
    assert other == [(second, first) for first, second in cells]


def test_what_cannot_go_beside_is_refused_before_anything_is_evaluated(arguments, tmp_path, capsys):
    relative = tmp_path / 'relative.safetensors'
    info = tiny_info(output='relative_depth', training_focal_length=0.0)
    save_weights(relative, tiny_network(), info)
    before = (tmp_path / 'docs/card.md').read_text()
    for given, said in (
        ('old.safetensors', 'is not NAME=FILE: give a name for the tables and a weights file'),
        ('=old.safetensors', 'is not NAME=FILE'),
        ('before=', 'is not NAME=FILE'),
        ('best constant=a', 'the tables have "best constant" already'),
        (f'before={tmp_path}/gone.safetensors', 'gone.safetensors: there is no such file'),
        (f'before={relative}', 'relative.safetensors gives relative_depth, not metres'),
    ):
        assert cli.main([*arguments, '--beside', given]) == 1
        error = capsys.readouterr().err
        assert f'--beside {given}' in error and said in error, error
        assert error.count('\n') == 1
    assert (tmp_path / 'docs/card.md').read_text() == before


def test_a_page_without_marks_is_left_alone(arguments, tmp_path, capsys):
    page = tmp_path / 'docs/card.md'
    page.write_text('# Card\n')
    assert cli.main(arguments) == 1
    assert 'between which scores go' in capsys.readouterr().err
    assert page.read_text() == '# Card\n'


def test_data_sets_of_one_name_are_refused(arguments, tmp_path, capsys):
    unseen = [str(tmp_path / folder / 'real') for folder in 'ab']
    assert cli.main([*arguments, '--unseen', *unseen]) == 1
    assert 'are the same: rename' in capsys.readouterr().err


def test_a_new_page_says_what_the_weights_are_and_no_other_is_touched(
    arguments, tmp_path, monkeypatch, capsys
):
    shipped = layouts.write(
        tmp_path / 'repository/docs/model_card.md', f'# Shipped\n{BEGIN}\nold\n{END}\n'
    )
    monkeypatch.setattr(model_card, 'SHIPPED', shipped)
    monkeypatch.chdir(tmp_path / 'repository')
    place = arguments.index('--out')
    plain, new = arguments[:place] + arguments[place + 2 :], tmp_path / 'cards/mine.md'
    assert cli.main([*plain, '--out', str(new)]) == 0
    text = new.read_text()
    assert text.startswith('# Model card: tiny\n\n* Network: efficientnet_sff, 64x48')
    assert 'Licence of the weights: Apache-2.0' in text and text.count(BEGIN) == 1
    assert (tmp_path / 'cards/images/mine_held_out.jpg').exists()
    # Again: hand-written text outside the marks is kept.
    new.write_text(f'By hand.\n{text}')
    assert cli.main([*plain, '--out', str(new)]) == 0
    assert new.read_text() == f'By hand.\n{text}'
    for more, said in (
        ([], 'give the page to write: --out FILE.md'),
        (['--out', 'docs/model_card.md'], 'or --update-shipped'),
        (['--out', str(new), '--update-shipped'], 'omit --out'),
        (['--out', 'card.html'], 'is not a Markdown file'),
    ):
        assert cli.main([*plain, *more]) == 1
        assert said in capsys.readouterr().err
    assert shipped.read_text() == f'# Shipped\n{BEGIN}\nold\n{END}\n'
    assert not (shipped.parent / 'images').exists()
    assert cli.main([*plain, '--update-shipped']) == 0
    assert shipped.read_text().startswith('# Shipped\n') and 'old' not in shipped.read_text()
    shipped.unlink()
    assert cli.main([*plain, '--update-shipped']) == 1
    assert 'an installed package has no docs/model_card.md' in capsys.readouterr().err


def test_pairs_that_cannot_be_used_are_told(arguments, tmp_path):
    for scene, names in (('scene_0', ('00000', '00002')), ('scene_1', ('00001',))):
        for name in names:
            (tmp_path / f'rooms/{scene}/rgb_{name}.jpg').write_bytes(b'no picture')
    assert cli.main([word for word in arguments if word != '--clip' and 'still' not in word]) == 0
    text = (tmp_path / 'docs/card.md').read_text()
    assert 'left out: 1 of held-out rooms, 2 of the training pictures.' in text
