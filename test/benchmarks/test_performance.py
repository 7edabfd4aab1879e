# SPDX-License-Identifier: Apache-2.0
"""The definitions behind docs/performance.md, and that its tables are those of its JSON."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')

from benchmarks import all as everything
from benchmarks import limits, machine, network, node, roofline
from benchmarks import several_cameras as cameras
from benchmarks.plain_loop import PlainLoop, ratio
from benchmarks.resources import PeakMemory
from benchmarks.ways import BASELINE, default_way
from benchmarks.work import work
from depth_perception.io.weights import check_weights

ROOT = Path(__file__).parents[2]
CPU = torch.device('cpu')


def load_page():
    spec = importlib.util.spec_from_file_location(
        'performance_page', ROOT / 'scripts' / 'performance_page.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = load_page()


def test_operations_and_bytes_of_known_layers():
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 1, 1, bias=False),
    )
    found = work(layers, (4, 6))
    pixels = 4 * 6
    assert found.flops_by_kind == {
        '3x3': 2 * 9 * 3 * 8 * pixels,
        'depthwise': 2 * 9 * 8 * pixels,
        '1x1': 2 * 8 * pixels,
    }
    assert found.flops == sum(found.flops_by_kind.values())
    # Each convolution reads and writes; normalisation and ReLU are computed on the way.
    assert found.activations == pixels * ((3 + 8) + (8 + 8) + (8 + 1))
    assert found.weights == 9 * 3 * 8 + 2 * 8 + 9 * 8 + 8
    assert found.bytes(2) == 2 * (found.weights + found.activations)


def test_bound_is_the_larger_of_compute_and_memory():
    machine = limits.Limits({'fp32': 100.0, 'bf16': 200.0}, {}, gbytes=10.0, data_sheet={})
    done = roofline.Work(flops=10**9, weights=0, activations=10**6, flops_by_kind={})
    row = {'network': 'n', 'size': '1x1', 'way': 'torch fp32', 'median_ms': 20.0}
    point = roofline.point(row, done, machine)
    assert (point.bound_by, point.bound_ms, point.fraction) == ('compute', 10.0, 0.5)
    assert point.gflops == 50 and point.intensity == 250
    many = roofline.Work(flops=10**9, weights=0, activations=10**8, flops_by_kind={})
    point = roofline.point({**row, 'way': 'openvino bf16'}, many, machine)
    assert (point.bound_by, point.bound_ms) == ('memory', 20.0)
    assert roofline.point({**row, 'way': 'openvino int8'}, many, machine) is None


def test_limits_are_measured_on_this_machine(monkeypatch):
    monkeypatch.setattr(limits, 'SIDES', {'cpu': (64,)})
    monkeypatch.setattr(limits, 'COPIED', {'cpu': 2**20})
    found = limits.measure_limits(CPU, seconds=0.01)
    assert set(found.gflops) == {'fp32', 'bf16'} and found.data_sheet == {}
    assert all(0 < rate < 1e6 for rate in (*found.gflops.values(), found.gbytes))


def rows(*milliseconds):
    return [
        network.Row(
            'n', f'{side}x{side}', side**2, BASELINE, 0.0, value, value, 1.0, 0.0, 3, None, None
        )
        for side, value in zip((10, 20, 40), milliseconds)
    ]


@pytest.mark.parametrize(
    'flags, how',
    [
        ('fpu amx_bf16 avx512_bf16', 'bfloat16 by AMX'),
        ('fpu avx512_bf16', 'bfloat16 by AVX-512'),
        ('fpu', 'no bfloat16'),
    ],
)
def test_the_machine_is_named_with_what_it_computes_bfloat16_with(tmp_path, flags, how):
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text(f'model name\t: A CPU\nflags\t\t: {flags}\n')
    assert machine.processor(cpuinfo) == f' (A CPU, {how})'
    assert machine.processor(tmp_path / 'none') == ''


def test_exponent_of_the_pixels():
    assert network.exponent(rows(1, 4, 16)) == pytest.approx(1)
    assert network.growth(rows(1, 2, 4)) == {f'n, {BASELINE}': pytest.approx(0.5)}
    assert network.growth(rows(1, 2)) == {}


def test_network_benchmark_writes_figures_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(
        network,
        'ways',
        lambda net, image, device, only_torch: [
            (BASELINE, lambda image: net(image)),
            ('torch fp32', lambda image: net(image)),
        ],
    )
    monkeypatch.setattr(network, 'build', lambda name: nn.Conv2d(3, 1, 1).requires_grad_(False))
    monkeypatch.setattr(network, 'GROWTH', ((32, 32), (64, 64), (128, 128)))
    assert network.main(['--growth', '--rounds', '3', '--out', str(tmp_path)]) == 0
    found = json.loads((tmp_path / 'growth.json').read_text())
    assert found['default_way'] == default_way(network.torch.device('cpu'))
    assert set(found['exponents']) == {f'default, {BASELINE}', 'default, torch fp32'}
    assert (tmp_path / 'growth.png').stat().st_size > 1000


def test_networks_are_measured_at_the_input_size_of_the_bundled_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(network, 'ways', lambda net, image, device, only_torch: [(BASELINE, net)])
    monkeypatch.setattr(network, 'build', lambda name: nn.Conv2d(3, 1, 1).requires_grad_(False))
    info = check_weights(None).info
    own = f'{info.input_height}x{info.input_width}'
    for sizes, expected in (([], [own]), (['--sizes', 'own', '8x16'], [own, '8x16'])):
        assert network.main(['--rounds', '3', '--out', str(tmp_path), *sizes]) == 0
        found = json.loads((tmp_path / 'network.json').read_text())
        assert [row['size'] for row in found['rows']] == expected
    with pytest.raises(SystemExit):
        network.main(['--sizes', 'mine'])
    assert "'mine' is neither HEIGHTxWIDTH nor own" in capsys.readouterr().err


def test_time_allowed_ends_the_rounds_early(monkeypatch):
    monkeypatch.setattr(network, 'ways', lambda net, image, device, only_torch: [(BASELINE, net)])
    monkeypatch.setattr(network, 'build', lambda name: nn.Conv2d(3, 1, 1).requires_grad_(False))
    (row,) = network.measure('default', (8, 8), 50, CPU, seconds_allowed=0.0)
    assert row.rounds == network.FEWEST_ROUNDS


def test_memory_is_what_was_taken_since():
    before = torch.ones(20_000_000)
    memory = PeakMemory(CPU)
    torch.ones(30_000_000)
    growth = memory.growth_mb()
    assert growth is None or 100 < growth < 180
    del before


def test_latency_is_split_into_what_adds_up():
    stage = {
        'arrival_to_publish': 30.0,
        'decode': 2.0,
        'inference': 20.0,
        'network': 15.0,
        'postprocess': 4.0,
        'publish': 1.0,
    }
    parts = node.split(stage, {'p50': 33.0})
    assert sum(parts.values()) == pytest.approx(33) and parts['waiting'] == 3
    assert parts['resize, normalise'] == 5 and parts['transport'] == 3
    usual = node.split({'arrival_to_publish': 30.0, 'network': 15.0}, {'p50': 33.0})
    assert usual == {'transport': 3, 'network': 15, 'beside the network': 15}
    assert node.split({}, {'p50': 1.0}) == {}


def test_beside_the_network_is_the_median_of_the_frames_where_the_node_says_it():
    stage = {'arrival_to_publish': 30.0, 'network': 15.0}
    assert node.beside_network(stage) == 15
    assert node.beside_network({**stage, 'beside_network': 14.0}) == 14
    assert node.beside_network({'network': 15.0}) is None


def test_age_trend_tells_a_queue_that_fills():
    trend = node.age_trend(node.np.arange(10.0))
    assert trend['age_ms_first_half'] == 2 and trend['age_ms_second_half'] == 7
    assert node.age_trend(node.np.array([]))['age_ms_largest'] is None


def run_of(count, cost):
    return {'cameras': count, 'processes': 1, **dict.fromkeys(cameras.COSTS, cost)}


def test_two_cameras_over_one():
    found = cameras.growth(
        [run_of(1, 10.0), run_of(2, 15.0), run_of(4, 22.5), {**run_of(2, 99.0), 'processes': 2}]
    )['cores']
    assert found['two_over_one'] == 1.5
    assert found['exponent'] == pytest.approx(math.log2(1.5))


def served(limit):
    """A node that serves no more than so many images a second."""
    return lambda rate: {'sent_hz': [rate, rate], 'served_hz_in_all': min(2 * rate, limit)}


@pytest.mark.parametrize('limit, rate', [(40, 45.0), (85, 45 * 1.5), (1e9, 45 * 1.5**4)])
def test_flood_is_raised_until_images_are_replaced(limit, rate):
    assert cameras.flood_rate(served(limit), 45.0) == pytest.approx(rate)


def test_age_at_overload_in_periods_of_network_and_node():
    turn = {
        'peak_hz': 40.0,
        'at_hz': {},
        'overload': {
            'network_ms': 12.5,
            'camera_hz': 160.0,
            'age_ms_first_half': 30.0,
            'age_ms_second_half': 50.0,
            'age_ms_largest': 60.0,
        },
    }
    found = node.summary({name: [turn] for name in node.NODES})
    assert found['depth_node']['overload_age_in_network_periods'] == [4]
    assert found['depth_node']['overload_age_in_node_periods'] == [2]
    data = {'node': {'summary': found}}
    assert page._age(data) == ('4.0 network periods, 2.0 node periods', False)


def test_a_step_is_compared_with_a_plain_one():
    from depth_perception.networks import create_network
    from depth_training.train import build
    from depth_training.train.distributed import Processes
    from depth_training.train.step import Learner
    from depth_training.train.training_data import Batch
    from test.support.tiny_training import TINY

    batch = Batch(torch.randn(1, 3, 48, 64), torch.rand(1, 1, 48, 64) + 1)
    tiny = [create_network(TINY.network, **TINY.network_arguments) for _ in range(2)]
    loss = build.loss(TINY)
    learner = Learner(TINY, tiny[0], loss, CPU, Processes(), 'fp32')
    before = [parameter.clone() for parameter in tiny[1].parameters()]
    assert ratio(learner, PlainLoop(tiny[1], loss), batch, steps=1) > 0
    assert any((old != new).any() for old, new in zip(before, tiny[1].parameters()))


def step(name, code=0, figure=0):
    """A step that writes its figure, or fails after it has written half of a file."""
    return (
        f'import pathlib, sys; '
        f'pathlib.Path(sys.argv[1], "{name}.json").write_text("{figure}" if not {code} else "{{"); '
        f'raise SystemExit({code})'
    )


@pytest.fixture
def steps(monkeypatch):
    """Exit code and figure of each step, to be set by a test."""
    chosen = {}

    def command(name, out, done, quick=False):
        return [everything.sys.executable, '-c', step(name, *chosen.get(name, ())), str(out)]

    monkeypatch.setattr(everything, 'command', command)
    return chosen


def figure(folder, name):
    return json.loads((folder / f'{name}.json').read_text())


def test_all_has_a_command_and_a_name_on_the_page_for_every_step(tmp_path):
    for name, one in everything.STEPS.items():
        for quick in (False, True):
            words = everything.command(name, tmp_path / 'out', tmp_path / 'done', quick)
            assert importlib.util.find_spec(words[2]), name
            assert not {'OUT', 'DONE'} & {word.split('/')[0] for word in words}
        assert one.needs in ('', *everything.STEPS)
    assert set(page.TABLES) == set(everything.STEPS)


def test_all_keeps_what_it_has_if_a_step_fails_and_goes_on_there(tmp_path, steps, capfd):
    assert everything.main(['--out', str(tmp_path), '--note', 'a trial']) == 0
    assert json.loads((tmp_path / 'about.json').read_text())['note'] == 'a trial'
    steps |= {name: (0, 1) for name in everything.STEPS} | {'node': (7,)}
    assert everything.main(['--out', str(tmp_path)]) == 1
    assert 'node (exit code 7)' in capfd.readouterr().err
    assert figure(tmp_path, 'node') == 0 and figure(tmp_path, 'growth') == 1
    assert not list(tmp_path.glob('.*')), 'the half of a file of the failed step'
    steps |= {name: (0, 2) for name in everything.STEPS}
    assert everything.main(['--out', str(tmp_path), '--resume']) == 0
    assert figure(tmp_path, 'node') == 2 and figure(tmp_path, 'growth') == 1
    assert set(everything.STEPS) == set(page.Data(tmp_path)['about']['steps'])


def test_all_does_not_combine_figures_of_two_machines(tmp_path, steps, monkeypatch, capfd):
    everything.main(['--out', str(tmp_path), '--only', 'network', 'roofline'])
    monkeypatch.setattr(everything, 'machine', lambda: 'another')
    assert everything.main(['--out', str(tmp_path), '--only', 'roofline']) == 1
    assert 'roofline (needs new figures of network)' in capfd.readouterr().err
    steps['network'] = (1,)
    assert everything.main(['--out', str(tmp_path), '--only', 'network', 'roofline']) == 1
    assert 'roofline (needs new figures of network)' in capfd.readouterr().err


def test_a_short_trial_does_not_reach_the_page(capsys):
    with pytest.raises(SystemExit):
        everything.main(['--quick'])
    assert '--quick needs --out FOLDER' in capsys.readouterr().err


def test_the_page_says_what_is_older(tmp_path):
    steps = {
        'node': {'machine': 'new machine', 'finished': '2026-11-28T10:00:00'},
        'growth': {'machine': 'old machine', 'finished': '2026-11-21T10:00:00'},
    }
    (tmp_path / 'about.json').write_text(json.dumps({'note': 'Idle.', 'steps': steps}))
    assert page.about(page.Data(tmp_path)) == (
        'Measured on 2026-11-28: new machine. Idle.\n\n'
        'Older, of 2026-11-21: image sizes; old machine.\n'
    )


def test_the_pages_tables_are_those_of_its_figures():
    texts = [path.read_text(encoding='utf-8') for path in page.PAGES]
    names = [name for text in texts for _, name, _ in page.MARKED.findall(text)]
    assert sorted(names) == sorted(page.FRAGMENTS)
    assert all([page.fill(path, check=True) for path in page.PAGES]), page.__doc__


def test_a_changed_figure_changes_the_page(tmp_path):
    text = '<!-- figures: choose -->\nold\n<!-- end -->\n'
    assert 'Not measured yet (network)' in page.filled(text, page.Data(tmp_path))
    row = {'network': 'n', 'size': '8x8', 'way': 'w', 'median_ms': 45.0}
    (tmp_path / 'network.json').write_text(json.dumps({'default_way': 'w', 'rows': [row]}))
    (tmp_path / 'node.json').write_text(
        json.dumps({'summary': {'depth_node': {'beside_network_ms': 5.0}}})
    )
    new = page.filled(text, page.Data(tmp_path))
    assert '| `n` | 8x8 | 45.0 | 20.0 |' in new and page.filled(new, page.Data(tmp_path)) == new


def test_a_picture_stands_above_its_table_where_there_is_one(tmp_path):
    text = '<!-- figures: growth -->\n<!-- end -->\n'
    (tmp_path / 'growth.json').write_text(
        json.dumps(
            {
                'default_way': 'w',
                'rows': [{'way': 'w', 'size': '8x8', 'median_ms': 45.0}],
                'exponents': {'default, w': 0.5},
            }
        )
    )
    assert '![' not in page.filled(text, page.Data(tmp_path))
    (tmp_path / 'growth.png').touch()
    new = page.filled(text, page.Data(tmp_path))
    assert '](performance/growth.png)\n\n| Implementation' in new
    assert set(page.PICTURES) <= set(page.FRAGMENTS)


def test_a_flood_that_was_served_whole_is_told():
    runs = [{'flood': {'served_hz_in_all': hertz, 'sent_hz': [20.0, 20.0]}} for hertz in (30, 39)]
    assert page._served_whole(runs[:1]) == '' and 'processed' in page._served_whole(runs)
