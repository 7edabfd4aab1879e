# SPDX-License-Identifier: Apache-2.0
"""Fill the tables of docs/performance.md, docs/cameras.md and notes from docs/performance/*.json.

    python scripts/performance_page.py            writes the pages
    python scripts/performance_page.py --check    exits with 1 if a page is out of date
    python scripts/performance_page.py --gpu OUT/session.json ...
                                                  takes the figures of scripts/gpu_session first

A table, with a picture above it if there is one, is placed between `<!-- figures: NAME -->` and
`<!-- end -->`; everything else on the pages is written by hand. `python -m benchmarks.all` measures
and then calls this script.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
PAGES = (DOCS / 'performance.md', DOCS / 'cameras.md', DOCS / 'notes' / 'performance.md')
FOLDER = ROOT / 'docs' / 'performance'
MARKED = re.compile(r'(<!-- figures: (\w+) -->\n).*?(<!-- end -->)', re.DOTALL)
OURS, USUAL, ANCHORED = 'depth_node', 'usual pattern', 'depth_node with anchors'
#: Camera rate of the table that follows a frame, and lowest rate of the targets.
TRACED_HZ = '15'

Figures = dict[str, Any]


#: Figures of `scripts/gpu_session`, each a key of its session.json.
GPU = ('gpu_frame', 'gpu_network', 'gpu_roofline', 'gpu_training')


class NotMeasuredError(LookupError):
    """A JSON file or row that does not exist."""


class Data:
    """The JSON files of a folder by name.

    Args:
        folder: folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Figures:
        file = self._folder / f'{name}.json'
        if not file.exists():
            raise NotMeasuredError(name)
        return json.loads(file.read_text(encoding='utf-8'))

    def has_picture(self, name: str) -> bool:
        """Tell if a benchmark has drawn a picture."""
        return (self._folder / f'{name}.png').exists()

    def row(self, network: str, size: str, way: str) -> Figures:
        """Return a row of the network benchmark."""
        for row in self['network']['rows']:
            if (row['network'], row['size'], row['way']) == (network, size, way):
                return row
        raise NotMeasuredError(f'{network}, {size}, {way}')

    def turn(self, node: str) -> Figures:
        """Return the first measurement of a node."""
        return self['node']['results'][node][0]


def about(data: Data) -> str:
    """Return machine and date of all steps, those measured together in one sentence."""
    run = data['about']
    together: dict[tuple[str, str], list[str]] = {}
    for name, step in run['steps'].items():
        day = step['finished'].split('T')[0]
        together.setdefault((day, step['machine']), []).append(name)
    newest, *older = sorted(together.items(), reverse=True)
    return ''.join(
        [
            f'Measured on {newest[0][0]}: {newest[0][1]}. {run["note"]}'.rstrip() + '\n',
            *(
                f'\nOlder, of {day}: {", ".join(map(TABLES.__getitem__, names))}; {where}.\n'
                for (day, where), names in older
            ),
        ]
    )


def start(data: Data) -> str:
    """Return the costs of start, memory and idling."""
    found = data['start']
    warm = found['warm_s']
    again = found.get('restart_s')
    note = f'. {found["note"]}.' if found['note'] else ''
    rows = table(
        ('640x480 at 30 Hz, bundled network', 'Measured'),
        [
            (
                f'process start to first depth, network compiled already (median of {len(warm)}; '
                'shortest, longest)',
                f'{median(warm):.2f} s ({min(warm):.2f}, {max(warm):.2f})',
            ),
            (
                'the same, restarted as soon as the node before has ended',
                f'{median(again):.2f} s ({min(again):.2f}, {max(again):.2f})' if again else '-',
            ),
            ('the same, network not compiled yet', f'{found["cold_s"]:.1f} s'),
            ('private memory of the node at work', f'{found["private_mb"]:.0f} MB'),
            ('processor time without a subscriber', f'{found["idle_percent"]:.1f} % of one core'),
            (
                'a subscriber comes: from the start of its own node to its first depth image',
                f'{median(found["wake_s"]):.2f} s',
            ),
            (
                'to compare: to its first image of a camera that has been sending',
                f'{median(found["wake_control_s"]):.2f} s' if 'wake_control_s' in found else '-',
            ),
            (
                '`depth-perception predict` of one image, network compiled already',
                f'{median(found["predict_s"]):.2f} s',
            ),
        ],
    )
    return f'{found["machine"]}{note}\n\n{rows}' + _stages(found.get('stages', []))


def _stages(stages: list[Figures]) -> str:
    """Return the stages of a start; nothing if they were not measured."""
    rows = [(row['what'], f'{row["s"]:.2f}', f'{row["since_s"]:.2f}') for row in stages]
    return '\n' + table(('Stage of such a start', 's', 'Since the start'), rows) if rows else ''


def targets(data: Data) -> str:
    """Return targets and results."""
    return table(
        ('Target', 'Measured', 'Reached'), [(aim, *_verdict(judge, data)) for aim, judge in AIMS]
    )


def _verdict(judge: Callable[[Data], tuple[str, bool]], data: Data) -> tuple[str, str]:
    try:
        measured, reached = judge(data)
    except (NotMeasuredError, TypeError, ValueError, KeyError):  # or None, or without rows
        return 'not measured', '-'
    return measured, 'yes' if reached else '**no**'


def _times_eager(network: str) -> Callable[[Data], tuple[str, bool]]:
    def judge(data: Data) -> tuple[str, bool]:
        ratio = data.row(network, '480x640', data['network']['default_way'])['ratio']
        return f'{ratio:.1f} times', ratio >= 3

    return judge


def _beside(data: Data) -> tuple[str, bool]:
    ours = data['node']['summary'][OURS]['beside_network_ms']
    return f'{ours:.1f} ms', ours <= 6


def _beside_anchored(data: Data) -> tuple[str, bool]:
    rates = data['anchors']['nodes'][ANCHORED]
    worst = max(row['beside_network_ms'] for row in rates.values())
    return f'{worst:.1f} ms', worst <= 6.5


def _beside_usual(data: Data) -> tuple[str, bool]:
    ratio = data['node']['summary']['usual_to_ours_beside_network']
    return f'{ratio:.1f} times', ratio >= 3


def _age(data: Data) -> tuple[str, bool]:
    found = data['node']['summary'][OURS]
    periods = max(found['overload_age_in_network_periods'])
    frames = max(found['overload_age_ms']) * found['peak_hz'] / 1000
    return f'{periods:.1f} network periods, {frames:.1f} node periods', periods < 2


def _traced(data: Data) -> list[Figures]:
    """Return what was traced of our node, at all rates of the targets."""
    rates = data['trace']['nodes'][OURS]
    return [row for rate, row in rates.items() if float(rate) >= float(TRACED_HZ)]


def _in_network_times(data: Data) -> tuple[str, bool]:
    alone = data['trace']['network_ms']['p50']
    worst = max(row['depth/image']['p50'] for row in _traced(data)) / alone
    return f'{worst:.2f} times', worst <= 2


def _spread(data: Data) -> tuple[str, bool]:
    worst = max(row['depth/image']['p95'] / row['depth/image']['p50'] for row in _traced(data))
    return f'{worst:.2f} times', worst <= 1.3


def _lost_at_share(data: Data) -> tuple[str, bool]:
    lost = data['trace']['lost'][OURS]
    return f'{100 * lost:.0f} % lost', lost < 0.05


def _start(data: Data) -> tuple[str, bool]:
    warm, cold = median(data['start']['warm_s']), data['start']['cold_s']
    return f'{warm:.2f} and {cold:.1f} s', warm <= 2 and cold <= 6


def _idling(data: Data) -> tuple[str, bool]:
    percent, megabytes = data['start']['idle_percent'], data['start']['private_mb']
    return f'{percent:.1f} %, {megabytes:.0f} MB', percent <= 3 and megabytes <= 400


def _growth(data: Data) -> tuple[str, bool]:
    found = data['growth']
    exponent = found['exponents'][f'default, {found["default_way"]}']
    return f'pixels to the power {exponent:.2f}', exponent <= 1


def _two_cameras(data: Data) -> tuple[str, bool]:
    ratios = {cost: growth['two_over_one'] for cost, growth in data['cameras']['growth'].items()}
    worst = max(ratios, key=ratios.get)
    return f'at most {ratios[worst]:.2f} times ({COSTS[worst]})', ratios[worst] < 2


AIMS: tuple[tuple[str, Callable[[Data], tuple[str, bool]]], ...] = (
    (
        '`efficientnet_sff` (B2), 480x640: the default implementation at least 3 times faster than '
        'PyTorch eager',
        _times_eager('efficientnet_sff'),
    ),
    ('`resnet_unet_hybrid`, 480x640: the same', _times_eager('resnet_unet_hybrid')),
    ('the node without the network, 640x480 with depth, cloud and scan: at most 6 ms', _beside),
    ('the same with 128 anchors: at most 6.5 ms', _beside_anchored),
    ('without anchors at least 3 times less than the usual pattern', _beside_usual),
    ('camera twice as fast as the network: depth younger than two network periods', _age),
    (
        'stamp to depth at 15 and 30 Hz: median at most 2.0 times the network alone',
        _in_network_times,
    ),
    ('stamp to depth at 15 and 30 Hz: p95 at most 1.3 times the median', _spread),
    ("70 % of the network's own rate: less than 5 % of the images lost", _lost_at_share),
    ('first depth within 2 s of the start; 6 s if the network is not compiled yet', _start),
    (
        'without a subscriber at most 3 % of a core; at most 400 MB of private memory at work',
        _idling,
    ),
    ('latency grows no faster than the pixels', _growth),
    ('two cameras cost less than twice one', _two_cameras),
)
COSTS = {
    'latency_p50_ms': 'latency',
    'cores': 'CPU time',
    'private_mb': 'private memory',
    'round_ms': 'one frame of each camera, flooded',
}


def network(data: Data) -> str:
    """Every way, network and size."""
    found = data['network']
    rows = [
        (
            f'`{row["network"]}`',
            row['size'],
            _way(row['way'], found),
            _ms(row['median_ms']),
            _ms(row['p95_ms']),
            f'{row["ratio"]:.1f}',
            f'{row["error"]:.0e}',
            _or_dash(row['peak_mb'], '.0f'),
            _or_dash(row['joules'], '.2f'),
        )
        for row in found['rows']
    ]
    return f'{found["machine"]}\n\n' + table(
        (
            'Network',
            'Size',
            'Implementation',
            'Median, ms',
            'p95, ms',
            'x eager',
            'Error',
            'Memory, MB',
            'J',
        ),
        rows,
    )


def _way(name: str, found: Figures) -> str:
    return f'**{name}**' if name == found['default_way'] else name


def growth(data: Data) -> str:
    """Of each way of the bundled network."""
    found = data['growth']
    ways = list(dict.fromkeys(row['way'] for row in found['rows']))
    sizes = list(dict.fromkeys(row['size'] for row in found['rows']))
    cells = {(row['way'], row['size']): _ms(row['median_ms']) for row in found['rows']}
    return table(
        ('Implementation, median ms', *sizes, 'Exponent'),
        [
            (
                _way(way, found),
                *(cells.get((way, size), '-') for size in sizes),
                f'{found["exponents"][f"default, {way}"]:.2f}',
            )
            for way in ways
        ],
    )


def node(data: Data) -> str:
    """Rates and latencies of both nodes."""
    rows = [
        (
            name,
            f'{turn["peak_hz"]:.1f}',
            rate,
            f'{row["cores"]:.2f}',
            *(_percentiles(row[f'{topic} ms']) for topic in ('depth/image', 'depth/points')),
        )
        for name in (OURS, USUAL)
        for turn in [data.turn(name)]
        for rate, row in turn['at_hz'].items()
    ]
    return table(
        (
            'Node',
            'Peak, Hz',
            'Camera, Hz',
            'Cores',
            'Depth p50 / p95 / p99, ms',
            'Cloud p50 / p95 / p99, ms',
        ),
        rows,
    )


def _percentiles(found: dict[str, float]) -> str:
    return ' / '.join(_ms(value) for value in found.values()) or '-'


def split(data: Data) -> str:
    """Return the parts of a frame's latency at the lowest rate."""
    splits = {
        name: next(iter(data.turn(name)['at_hz'].values()))['split_ms'] for name in (OURS, USUAL)
    }
    parts = list(dict.fromkeys(part for parts in splits.values() for part in parts))
    parts.sort(key='beside the network'.__eq__)
    return table(
        ('Median ms', *parts),
        [
            (name, *(_ms(found[part]) if part in found else '' for part in parts))
            for name, found in splits.items()
        ],
    )


def trace_latency(data: Data) -> str:
    """Return the latencies of both nodes beside the time of the network alone."""
    found = data['trace']
    alone, share = found['network_ms']['p50'], found['share_of_network_rate']
    lost = ', '.join(f'{name} {100 * part:.0f} %' for name, part in found['lost'].items())
    return (
        f'{_of_trace(found)} Images without depth at {100 * share:.0f} % of its rate '
        f'({share * 1000 / alone:.0f} Hz): {lost}.\n\n'
    ) + _latencies(found)


def _of_trace(found: Figures) -> str:
    """Return the machine of a trace and the time of the network alone."""
    note = f' {found["note"]}.' if found['note'] else ''
    return f'{found["machine"]}.{note} Network alone: {found["network_ms"]["p50"]:.1f} ms.'


def trace_paced(data: Data) -> str:
    """Return the time of the network alone at the rates of the camera."""
    found = data['trace']
    paced = found.get('network_ms_at_hz', {})
    rows = [('without a pause', found['network_ms']), *paced.items()]
    return table(
        ('Images a second', 'Network alone p50, ms', 'p95', 'p95 / p50'),
        [
            (rate, f'{ms["p50"]:.1f}', f'{ms["p95"]:.1f}', f'{ms["p95"] / ms["p50"]:.2f}')
            for rate, ms in rows
        ],
    )


def trace_processor(data: Data) -> str:
    """Return the processor time of a frame beside what the cores have at a share of the rate."""
    found = data['trace']
    share = found['share_of_network_rate']
    rate = share * 1000 / found['network_ms']['p50']
    at = {f'{hertz} Hz': row.get('processor_ms') for hertz, row in found['nodes'][OURS].items()}
    at[f'{rate:.0f} Hz ({100 * share:.0f} %)'] = found.get('processor_ms_at_share', {}).get(OURS)
    measured = {name: parts for name, parts in at.items() if parts}
    if not measured:
        raise NotMeasuredError('processor time of a frame')
    parts = list(dict.fromkeys(part for row in measured.values() for part in row))
    rows = [(part, *(f'{row.get(part, 0):.1f}' for row in measured.values())) for part in parts]
    rows.append(('sum', *(f'{sum(row.values()):.1f}' for row in measured.values())))
    return table(('Processor time of a depth image, ms', *measured), rows) + (
        f'\nAt {rate:.0f} Hz, {found["cores"]} cores have '
        f'{1000 * found["cores"] / rate:.1f} ms for each image.\n'
    )


def _latencies(found: Figures) -> str:
    """Return the latencies of the nodes of a trace."""
    alone = found['network_ms']['p50']
    rows = [
        (
            name,
            rate,
            _percentiles(row['depth/image']),
            f'{row["depth/image"]["p50"] / alone:.2f}',
            f'{row["depth/image"]["p95"] / row["depth/image"]["p50"]:.2f}',
            _percentiles(row['depth/points']),
            _or_dash(row['beside_network_ms'], '.1f'),
        )
        for name, rates in found['nodes'].items()
        for rate, row in rates.items()
    ]
    return table(
        (
            'Node',
            'Camera, Hz',
            'Depth p50 / p95 / p99, ms',
            'x network',
            'p95 / p50',
            'Cloud p50 / p95 / p99, ms',
            'Beside the network, ms',
        ),
        rows,
    )


def trace(data: Data) -> str:
    """Return the way of a frame through the node at the rate of the targets."""
    row = data['trace']['nodes'][OURS][TRACED_HZ]
    return table(
        ('What', 'ms', 'p95', 'Since the stamp', 'CPU, ms', 'Faults', 'Waits', 'Core lost'),
        [
            (
                part['what'],
                f'{part["ms"]:.2f}',
                f'{part["p95_ms"]:.2f}',
                f'{part["at_ms"]:.2f}',
                *(
                    _or_dash(part.get(name), form)
                    for name, form in (
                        ('cpu_ms', '.2f'),
                        ('faults', '.1f'),
                        ('waits', '.1f'),
                        ('pushed', '.1f'),
                    )
                ),
            )
            for part in row['budget']
        ],
    )


def anchors(data: Data) -> str:
    """Return the latencies without and with anchors, and the way of a frame of both."""
    found = data['anchors']
    both = [rates[TRACED_HZ]['budget'] for rates in found['nodes'].values()]
    plain, anchored = ({part['place']: part for part in parts} for parts in both)
    return (
        f'{_of_trace(found)} {found["anchors"]} anchors agree (median).\n\n'
        + _latencies(found)
        + '\n'
        + table(
            ('What', 'ms', 'p95', 'With anchors, ms', 'p95'),
            [
                (
                    part['what'],
                    *(
                        _or_dash(parts.get(place, {}).get(name), '.2f')
                        for parts in (plain, anchored)
                        for name in ('ms', 'p95_ms')
                    ),
                )
                for place, part in anchored.items()
            ],
        )
    )


def overload(data: Data) -> str:
    """Return ages with a camera twice as fast as the network."""
    rows = []
    for name in (OURS, USUAL):
        turn = data.turn(name)
        row = turn['overload']
        node_ms, age = 1000 / turn['peak_hz'], row['age_ms_second_half']
        rows.append(
            (
                name,
                _ms(row['network_ms']),
                _ms(node_ms),
                f'{row["camera_hz"]:.1f}',
                *(
                    _or_dash(row[f'age_ms_{part}'], '.0f')
                    for part in ('first_half', 'second_half', 'largest')
                ),
                *(_or_dash(age and age / period, '.1f') for period in (row['network_ms'], node_ms)),
            )
        )
    return table(
        (
            'Node',
            'Network period, ms',
            'Node period, ms',
            'Camera, Hz',
            'Age, first half, ms',
            'Age, second half, ms',
            'Largest, ms',
            'In network periods',
            'In node periods',
        ),
        rows,
    )


def cameras(data: Data) -> str:
    """Return the costs of several cameras."""
    found = data['cameras']
    rows = [
        (
            str(run['cameras']),
            str(run['processes']),
            _ms(run['latency_p50_ms']),
            _ms(run['latency_p95_ms']),
            f'{run["cores"]:.2f}',
            f'{run["private_mb"]:.0f}',
            f'{run["served_hz_in_all"]:.1f}',
            f'{sum(run["flood"]["sent_hz"]):.1f}',
            f'{run["flood"]["served_hz_in_all"]:.1f}',
            _ms(run['round_ms']),
        )
        for run in found['runs']
    ]
    costs = [
        (
            words,
            _or_dash(figures.get('exponent'), '.2f'),
            _or_dash(figures.get('two_over_one'), '.2f'),
        )
        for cost, words in COSTS.items()
        for figures in [found['growth'][cost]]
    ]
    return (
        f'{found["rate_hz"]:g} Hz from each camera, then flooded:\n\n'
        + table(
            (
                'Cameras',
                'Processes',
                'Latency p50, ms',
                'p95, ms',
                'Cores',
                'Private memory, MB',
                'Served in all, Hz',
                'Flood, Hz',
                'Served of it, Hz',
                'One frame of each, ms',
            ),
            rows,
        )
        + _served_whole(found['runs'])
        + '\n'
        + table(('Cost of cameras in one process', 'Exponent', 'Two / one'), costs)
    )


def cameras_memory(data: Data) -> str:
    """Return memory and threads of one process for several cameras, and of several."""
    found = data['cameras']
    return f'{found["machine"]}\n\n' + table(
        ('Cameras', 'Processes', 'Private memory', 'Resident memory', 'Threads'),
        [
            (
                str(run['cameras']),
                str(run['processes']),
                f'{run["private_mb"]:.0f} MB',
                f'{run["rss_mb"]:.0f} MB',
                str(run['threads']),
            )
            for run in found['runs']
        ],
    )


def _served_whole(runs: list[Figures]) -> str:
    """Return a sentence if all images of a flood were processed."""
    if all(run['flood']['served_hz_in_all'] < 0.95 * sum(run['flood']['sent_hz']) for run in runs):
        return ''
    return (
        '\nIf all images of a flood were processed, one frame of each may need less than '
        'shown, and the\ncost of more cameras may grow faster.\n'
    )


def training(data: Data) -> str:
    """Compare training steps with a plain loop."""
    found = data['training']
    head = list(found['rows'][0])
    shown = [key for key in head if key not in ('one epoch', 'epochs', 'whole recipe')]
    return f'{found["machine"]}\n\n' + table(
        shown, [[row[key] for key in shown] for row in found['rows']]
    )


def limits(data: Data) -> str:
    """Return the limits of the machine."""
    found = data['roofline']['limits']
    rows = [
        (
            f'matrix product, {precision}',
            f'{rate:.0f} GFLOP/s',
            found['found_by'][precision],
            _sheet(found, precision, 'GFLOP/s'),
        )
        for precision, rate in found['gflops'].items()
    ]
    rows.append(
        ('memory, copy', f'{found["gbytes"]:.0f} GB/s', 'torch', _sheet(found, 'gbytes', 'GB/s'))
    )
    return table(('Limit', 'Measured', 'By', 'Data sheet'), rows)


def _sheet(found: Figures, key: str, unit: str) -> str:
    return f'{found["data_sheet"][key]:.0f} {unit}' if key in found['data_sheet'] else '-'


def work(data: Data) -> str:
    """Return the work of each network."""
    rows = []
    for row in data['roofline']['work']:
        kinds = ', '.join(
            f'{kind} {100 * flops / row["flops"]:.0f} %'
            for kind, flops in list(row['flops_by_kind'].items())[:4]
        )
        rows.append(
            (
                f'`{row["network"]}`',
                row['size'],
                f'{row["flops"] / 1e9:.1f}',
                f'{4 * row["weights"] / 1e6:.0f}',
                f'{4 * row["activations"] / 1e6:.0f}',
                kinds,
            )
        )
    return table(
        (
            'Network',
            'Size',
            'GFLOP',
            'Weights, MB (fp32)',
            'Activations, MB (fp32)',
            'Convolutions by kernel',
        ),
        rows,
    )


def roofline(data: Data) -> str:
    """Return the share of the limit that each implementation reaches."""
    found = data['roofline']
    return table(
        (
            'Network',
            'Size',
            'Implementation',
            'Operations a byte',
            'Bound, ms',
            'by',
            'Median, ms',
            'Of the bound',
        ),
        [
            (
                f'`{p["network"]}`',
                p['size'],
                _way(p['way'], found),
                f'{p["intensity"]:.0f}',
                _ms(p['bound_ms']),
                p['bound_by'],
                _ms(p['median_ms']),
                f'{100 * p["fraction"]:.0f} %',
            )
            for p in found['points']
        ],
    )


def layers(data: Data) -> str:
    """Return the time inside each network by kind of layer."""
    rows = [
        (
            f'`{row["network"]}`',
            row['size'],
            row['precision'],
            ', '.join(
                f'{name} {100 * share:.0f} %'
                for name, share in row['shares'].items()
                if share >= 0.02
            ),
        )
        for row in data['layers']['rows']
    ]
    return table(('Network', 'Size', 'Precision', 'Time by kind of layer, from 2 % up'), rows)


def choose(data: Data) -> str:
    """Return frames per second of network and node with the default implementation."""
    found = data['network']
    beside = data['node']['summary'][OURS]['beside_network_ms']
    if beside is None:
        raise NotMeasuredError('time beside the network')
    rows = [
        (
            f'`{row["network"]}`',
            row['size'],
            _ms(row['median_ms']),
            f'{1000 / (row["median_ms"] + beside):.1f}',
        )
        for row in found['rows']
        if row['way'] == found['default_way']
    ]
    return table(
        ('Network', 'Input', f'{found["default_way"]}, ms', 'Expected frames a second'), rows
    )


def take(session: Path) -> None:
    """Copy the figures of a session on a GPU to docs/performance/.

    Raises:
        ValueError: the file is not of such a session, or of a dry run.
    """
    try:
        found = json.loads(session.read_text(encoding='utf-8'))
        about = {key: found[key] for key in ('machine', 'began', 'commit')}
        steps, dry_run = found['steps'], found['dry_run']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{session} is no result of scripts/gpu_session: {error}') from error
    if dry_run:
        raise ValueError(f'{session} is of a dry run, whose figures are meaningless')
    for name in GPU:
        if name in found:
            (FOLDER / f'{name}.json').write_text(
                json.dumps(_without_folders(found[name]), indent=1) + '\n', encoding='utf-8'
            )
    file = FOLDER / 'gpu_session.json'
    known = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}
    for step in steps:
        if 'skipped' not in step:
            kept = ('exit_code', 'timed_out', 'taken_seconds', 'unfinished', 'last_line')
            known[step['name']] = {**about, **{key: step.get(key) for key in kept}}
    file.write_text(json.dumps(known, indent=1) + '\n', encoding='utf-8')


def _without_folders(found: Figures) -> Figures:
    """Name the files of a training's options without the folders of the machine."""
    options = {key: Path(text).name for key, text in found.get('options', {}).items()}
    return {**found, **({'options': options} if options else {})}


def gpu_session(data: Data) -> str:
    """Return when and how each step of the sessions on a GPU ended."""
    return table(
        ('Step', 'Day', 'Commit', 'Machine', 'Seconds', 'Outcome'),
        [
            (
                name,
                step['began'].split('T')[0],
                step['commit'] or '-',
                step['machine'],
                f'{step["taken_seconds"]:.0f}',
                _ended(name, step),
            )
            for name, step in data['gpu_session'].items()
        ],
    )


def _ended(name: str, step: dict[str, Any]) -> str:
    """Describe how a step ended: what pytest counted, the error, or what is missing."""
    well = step['exit_code'] == 0
    how = 'complete' if well else f'exit code {step["exit_code"]}'
    said = step['last_line'].replace('|', '/') if name == 'tests' or not well else ''
    left = f'not measured: {", ".join(step["unfinished"])}' if step['unfinished'] else ''
    stopped = 'stopped at its time limit' if step['timed_out'] else ''
    return '; '.join(filter(None, (said or how, stopped, left)))


def gpu_frame(data: Data) -> str:
    """Compare a frame on a GPU with the usual implementation."""
    found = data['gpu_frame']
    rows = [
        (
            f'`{frame["network"]}`',
            frame['size'],
            way,
            _ms(row['median_ms']),
            _ms(row['p95_ms']),
            _ms(row['p99_ms']),
            f'{row["times_faster"]:.1f}',
            f'{row["first_ms"] / 1000:.1f} s',
            _or_dash(row.get('peak_mb'), '.0f'),
        )
        for frame in found['frame']
        for way, row in frame['ways'].items()
    ]
    return (
        f'{found["machine"]}; {found["rounds"]} rounds.{_unfinished(found)}\n\n'
        + table(
            (
                'Network',
                'Size',
                'Implementation',
                'Median ms',
                'p95',
                'p99',
                'Times faster than usual',
                'First frame',
                'GPU memory MB',
            ),
            rows,
        )
        + _half_precision(found['half_precision'])
    )


def _half_precision(half: dict[str, Any] | None) -> str:
    """Return a line about the precisions, or nothing if they were not compared."""
    if half is None:
        return ''
    scores = ', '.join(f'{name} {value:.4f}' for name, value in half['AbsRel'].items())
    return f'\nAbsRel of the bundled network on {half["frames"]} frames by precision: {scores}.\n'


def _unfinished(found: dict[str, Any]) -> str:
    """Name what a benchmark has not measured, because it was stopped or failed."""
    left, failed = found.get('unfinished'), found.get('failed', {})
    stopped = f' Not measured, as it was stopped: {", ".join(left)}.' if left else ''
    return stopped + ''.join(f' {part} failed: {why}.' for part, why in failed.items())


def gpu_network(data: Data) -> str:
    """Compare the network alone on a GPU, without graphs."""
    found = data['gpu_network']
    rows = [
        (
            f'`{row["network"]}`',
            row['size'],
            row['way'],
            _ms(row['median_ms']),
            _ms(row['p95_ms']),
            f'{row["ratio"]:.1f}',
            f'{row["error"]:.0e}',
        )
        for row in found['rows']
    ]
    alone = [
        (
            f'`{row["network"]}`',
            row['size'],
            f'graph {row["precision"]}',
            _ms(row['median_ms']),
            _ms(row['p95_ms']),
            '-',
            '-',
        )
        for row in data['gpu_frame']['network_alone']
    ]
    return f'{found["machine"]}.{_unfinished(found)}\n\n' + table(
        (
            'Network',
            'Size',
            'Implementation',
            'Median ms',
            'p95',
            'Times faster than eager',
            'Largest difference',
        ),
        rows + alone,
    )


def gpu_training(data: Data) -> str:
    """Return the training's speed and learning curve."""
    found = data['gpu_training']
    rows = [
        (
            f'{row["step"]}',
            f'{row["seconds"]:.0f}',
            f'{row["pictures_per_second"]}',
            f'{row["AbsRel"]:.4f}',
            f'{row["aligned AbsRel"]:.4f}',
            f'{row["delta1"]:.4f}',
        )
        for row in found['curve']
    ]
    return (
        f'{found["machine"]}, {found["precision"]}, batches of {found["options"]["batch"]}; '
        f'{found["training"]}; judged on {found["validation"]}.{_parts_of_a_step(found)}\n\n'
        + table(('Step', 'Seconds', 'Pictures/s', 'AbsRel', 'Aligned', 'delta1'), rows)
    )


def _parts_of_a_step(found: Figures) -> str:
    """Say how long the parts of a training step take, if that was measured."""
    last = found['curve'][-1]
    if 'learn_ms' not in last:
        return ''
    return (
        f' Of a step, augmentation takes {last["augment_ms"]:.0f} ms, and learning '
        f'{last["learn_ms"]:.0f} ms.'
    )


FRAGMENTS: dict[str, Callable[[Data], str]] = {
    part.__name__: part
    for part in (
        about,
        targets,
        network,
        growth,
        node,
        split,
        trace_latency,
        trace_paced,
        trace_processor,
        trace,
        anchors,
        overload,
        start,
        cameras,
        cameras_memory,
        training,
        limits,
        work,
        roofline,
        layers,
        choose,
        gpu_session,
        gpu_frame,
        gpu_network,
        gpu_training,
    )
}


#: What each step of `benchmarks.all` fills on the pages.
TABLES = {
    'network': 'networks',
    'growth': 'image sizes',
    'roofline': 'roofline',
    'layers': 'layers',
    'trace': 'way of a frame',
    'anchors': 'node with anchors',
    'node': 'node',
    'start': 'start',
    'cameras': 'several cameras',
    'training': 'training',
}
#: Alternative text of each benchmark's picture, which is placed above the table of the same name.
PICTURES = {
    'network': 'Milliseconds of each implementation',
    'growth': 'Milliseconds against pixels',
    'node': 'Latency by rate, where it goes, and age at overload',
    'cameras': 'Cost against the number of cameras',
    'roofline': 'Operations a second against operations a byte, below the limits',
}


def fragment(name: str, data: Data, up: str = '') -> str:
    """Return a table with its picture as Markdown, or a remark; `up` leads to docs/."""
    try:
        picture = (
            f'![{PICTURES[name]}]({up}performance/{name}.png)\n\n'
            if name in PICTURES and data.has_picture(name)
            else ''
        )
        return picture + FRAGMENTS[name](data)
    except NotMeasuredError as error:
        command = 'scripts/gpu_session' if name.startswith('gpu') else 'python -m benchmarks.all'
        return f'Not measured yet ({error}): `{command}` does it.\n'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a table as Markdown."""
    return ''.join(_lines(list(head), rows))


def _lines(head: list[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f'| {" | ".join(head)} |\n|{"---|" * len(head)}\n'
    for row in rows:
        yield f'| {" | ".join(row)} |\n'


def _ms(value: float) -> str:
    """Format with three digits."""
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}'


def _or_dash(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def filled(page: str, data: Data, up: str = '') -> str:
    """Return the page with updated tables."""
    return MARKED.sub(lambda match: match[1] + fragment(match[2], data, up) + match[3], page)


def fill(page: Path, check: bool) -> bool:
    """Write one page, or only compare it; return False if it was compared and is out of date."""
    old = page.read_text(encoding='utf-8')
    new = filled(old, Data(FOLDER), '' if page.parent == DOCS else '../')
    if not check:
        page.write_text(new, encoding='utf-8')
    elif new != old:
        sys.stderr.write(f'{page} is out of date: run python scripts/performance_page.py\n')
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(description='Fill the tables of docs/performance.md.')
    parser.add_argument('--check', action='store_true', help='only check if they are out of date')
    parser.add_argument(
        '--gpu', nargs='+', type=Path, default=[], help='session.json files by scripts/gpu_session'
    )
    options = parser.parse_args(arguments)
    check = options.check
    try:
        for session in options.gpu:
            take(session)
    except ValueError as error:
        sys.stderr.write(f'performance_page: {error}\n')
        return 1
    return 0 if all([fill(page, check) for page in PAGES]) else 1


if __name__ == '__main__':
    sys.exit(main())
