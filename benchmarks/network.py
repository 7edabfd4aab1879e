# SPDX-License-Identifier: Apache-2.0
"""Compare the speed of inference backends, and its growth with the image size.

    python -m benchmarks.network                                    the bundled network
    python -m benchmarks.network --networks resnet_unet_hybrid --sizes own 480x640
    python -m benchmarks.network --growth                           QVGA to 1080p

Backends alternate in every round, so that other load affects all of them equally; the ratio to
plain PyTorch is the median over the rounds. Writes network.json and network.png, with --growth
growth.json and growth.png, after each network and size: what is measured stays there if it is
stopped, and `unfinished` names the rest. `failed` names what could not be measured; then the exit
status is 1.
"""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.machine import machine, torch_device
from benchmarks.resources import PeakMemory
from benchmarks.results import going_on, has_matplotlib, write_json
from benchmarks.ways import BASELINE, Run, default_way, ways
from depth_perception.io.weights import check_weights, load_weights
from depth_perception.networks import create_network

#: Name, to registered name and arguments of a network; None is the bundled one.
NETWORKS: dict[str, tuple[str, dict[str, Any]] | None] = {
    'default': None,
    'efficientnet_sff': ('efficientnet_sff', {'encoder': 'efficientnet_b2', 'max_depth': 10.0}),
    **{
        name: (name, {})
        for name in ('resnet_unet_hybrid', 'resnet_unet', 'cnn_residual', 'densedepth')
    },
}
#: QVGA to 1080p, in multiples of 32 pixels.
GROWTH = ((224, 320), (256, 320), (480, 640), (704, 1280), (1056, 1920))
#: Names the input size of the bundled network, for every network.
OWN = 'own'
#: Smallest number of rounds, even if they exceed the time limit.
FEWEST_ROUNDS = 3
ENERGY = Path('/sys/class/powercap/intel-rapl:0/energy_uj')


@dataclass
class Row:
    """Result of one backend, network and size.

    Attributes:
        start_s: seconds until the first result, including conversion.
        ratio: speed-up over the baseline; median over rounds.
        error: largest difference from the baseline / its largest value.
        rounds: number of rounds of the medians.
        peak_mb: largest increase of memory until after the second run, including conversion. None
            if the system does not report it.
        joules: energy per frame, if the machine reports it.
    """

    network: str
    size: str
    pixels: int
    way: str
    start_s: float
    median_ms: float
    p95_ms: float
    ratio: float
    error: float
    rounds: int
    peak_mb: float | None
    joules: float | None


def measure(
    name: str,
    size: tuple[int, int],
    rounds: int,
    device: torch.device,
    seconds_allowed: float = float('inf'),
    only_torch: bool = False,
) -> list[Row]:
    """Measure all backends of a network at a size, for the given rounds or as time permits."""
    network, image = build(name), torch.randn(1, 3, *size)
    runs, started, peaks, outputs = {}, {}, {}, {}
    available = ways(network, image, device, only_torch)
    for way, run in _started(available, image, device, started, peaks, outputs):
        runs[way] = run
    seconds: dict[str, list[float]] = {way: [] for way in runs}
    joules: dict[str, list[float]] = {way: [] for way in runs}
    end = time.perf_counter() + seconds_allowed
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() > end:
            break
        for way, run in runs.items():
            with _energy(joules[way]):
                seconds[way].append(timed(run, image))
    base = np.array(seconds[BASELINE])
    largest = outputs[BASELINE].abs().max()
    return [
        Row(
            name,
            f'{size[0]}x{size[1]}',
            size[0] * size[1],
            way,
            started[way],
            1000 * float(np.median(times)),
            1000 * float(np.percentile(times, 95)),
            float(np.median(base / np.array(times))),
            float((outputs[way] - outputs[BASELINE]).abs().max() / largest),
            len(times),
            peaks[way],
            float(np.median(joules[way])) if joules[way] else None,
        )
        for way, times in seconds.items()
    ]


def build(name: str) -> nn.Module:
    """Create a network by its name here, with random weights except for `default`."""
    torch.manual_seed(0)
    made = NETWORKS[name]
    return load_weights(None).network if made is None else create_network(made[0], **made[1])


def timed(run: Run, image: Tensor) -> float:
    """Return the seconds of one run, from image to result on the host."""
    start = time.perf_counter()
    run(image)
    return time.perf_counter() - start


def _started(
    available: Iterable[tuple[str, Run]],
    image: Tensor,
    device: torch.device,
    started: dict[str, float],
    peaks: dict[str, float | None],
    outputs: dict[str, Tensor],
) -> Iterator[tuple[str, Run]]:
    """Yield each backend after its first runs, and record what those took."""
    start, memory = time.perf_counter(), PeakMemory(device)
    for way, run in available:
        outputs[way] = run(image).float().clone()
        started[way] = time.perf_counter() - start
        run(image)
        peaks[way] = memory.growth_mb()
        yield way, run
        start, memory = time.perf_counter(), PeakMemory(device)


@contextmanager
def _energy(joules: list[float]) -> Iterator[None]:
    """Append the energy used by the processor's package in this context, if it can be read."""
    try:
        before = int(ENERGY.read_text())
    except OSError:
        yield
        return
    yield
    used = (int(ENERGY.read_text()) - before) / 1e6
    if used >= 0:  # the counter may overflow
        joules.append(used)


def exponent(rows: list[Row]) -> float:
    """Fit the exponent of milliseconds over pixels, by least squares of the logarithms."""
    x = np.log([row.pixels for row in rows])
    y = np.log([row.median_ms for row in rows])
    return float(np.polyfit(x, y, 1)[0])


def growth(rows: list[Row]) -> dict[str, float]:
    """Return the exponent of each network and backend with at least three sizes."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f'{row.network}, {row.way}', []).append(row)
    return {key: exponent(group) for key, group in groups.items() if len(group) > 2}


def plot(path: Path, rows: list[Row], title: str) -> None:
    """Draw milliseconds of each backend: bars for one size of a network, lines for several."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row.network for row in rows))
    width = 4.2 * len(names) + 1
    figure, axes = plt.subplots(
        1, len(names), squeeze=False, figsize=(width, 4.2), layout='constrained'
    )
    for axis, name in zip(axes[0], names):
        _panel(axis, name, [row for row in rows if row.network == name])
    figure.suptitle(textwrap.fill(title, int(14 * width)), fontsize=9)
    figure.savefig(path, dpi=90, bbox_inches='tight')  # includes the legends below
    plt.close(figure)


def _panel(axis: Any, name: str, rows: list[Row]) -> None:
    if len({row.size for row in rows}) == 1:
        axis.barh([row.way for row in rows], [row.median_ms for row in rows], color='tab:blue')
        for index, row in enumerate(rows):
            axis.text(
                row.median_ms,
                index,
                f' {row.median_ms:.0f} ms, {row.ratio:.1f}x',
                va='center',
                fontsize=8,
            )
        axis.set_xlim(0, 1.45 * max(row.median_ms for row in rows))
        axis.invert_yaxis()
        axis.set_xlabel('ms, median')
        axis.set_title(f'{name}, {rows[0].size}', fontsize=10)
        return
    for way in dict.fromkeys(row.way for row in rows):
        line = [row for row in rows if row.way == way]
        power = f', exponent {exponent(line):.2f}' if len(line) > 2 else ''
        axis.loglog(
            [row.pixels for row in line],
            [row.median_ms for row in line],
            'o-',
            ms=4,
            label=way + power,
        )
    sizes = {row.pixels: row.size for row in rows}
    axis.set_xticks(
        list(sizes),
        list(sizes.values()),
        fontsize=7,
        rotation=45,
        ha='right',
        rotation_mode='anchor',
    )
    axis.set_xticks([], minor=True)
    plain_logarithms(axis.yaxis)
    axis.set_xlabel('pixels, height x width')
    axis.set_ylabel('ms, median')
    axis.set_title(name, fontsize=10)
    axis.legend(fontsize=7, ncols=2, loc='upper center', bbox_to_anchor=(0.5, -0.35))
    axis.grid(alpha=0.3, which='both')


def plain_logarithms(axis: Any) -> None:
    """Label a logarithmic axis with 20 and 200 instead of powers of ten."""
    from matplotlib.ticker import LogFormatter

    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.7)))


def table(rows: list[Row]) -> str:
    """Format the rows for a terminal."""
    lines = [
        f'{"network":<20}{"size":<11}{"way":<19}{"start s":>8}{"median ms":>11}{"p95 ms":>9}'
        f'{"x eager":>9}{"error":>10}{"peak MB":>9}{"J":>7}'
    ]
    lines += [
        f'{row.network:<20}{row.size:<11}{row.way:<19}{row.start_s:8.1f}{row.median_ms:11.1f}'
        f'{row.p95_ms:9.1f}{row.ratio:9.2f}{row.error:10.1e}'
        f'{"" if row.peak_mb is None else f"{row.peak_mb:.0f}":>9}'
        f'{"" if row.joules is None else f"{row.joules:.2f}":>7}'
        for row in rows
    ]
    return '\n'.join(lines)


def own_size() -> tuple[int, int]:
    """Return the (height, width) of the bundled network's input."""
    info = check_weights(None).info
    return info.input_height, info.input_width


def parse_size(text: str) -> tuple[int, int]:
    """Parse HEIGHTxWIDTH, or `own` for the input size of the bundled network."""
    if text == OWN:
        return own_size()
    height, _, width = text.partition('x')
    try:
        return int(height), int(width)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is neither HEIGHTxWIDTH nor {OWN}') from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--networks', nargs='+', default=['default'], choices=list(NETWORKS))
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=parse_size,
        metavar='HEIGHTxWIDTH',
        help=f'{OWN}, the default: the input size of the bundled network; with --growth '
        'QVGA to 1080p',
    )
    parser.add_argument(
        '--growth', action='store_true', help='how the time grows with the size; writes growth.json'
    )
    parser.add_argument(
        '--only-torch', action='store_true', help='only the backends of PyTorch, as on a GPU'
    )
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument(
        '--seconds',
        type=float,
        default=120.0,
        help='limit for one network at one size; reduces the rounds',
    )
    parser.add_argument('--device', type=torch_device, default='auto')
    parser.add_argument('--out', type=Path, default=Path('network_output'))
    options = parser.parse_args(arguments)
    sizes = options.sizes or (GROWTH if options.growth else [own_size()])
    rows: list[Row] = []
    failed: dict[str, str] = {}
    parts = [(name, size) for name in options.networks for size in sizes]
    for done, (name, size) in enumerate(parts, 1):
        with going_on(failed, f'{name} {size[0]}x{size[1]}'):
            rows += measure(
                name,
                size,
                options.rounds,
                options.device,
                options.seconds,
                only_torch=options.only_torch,
            )
        print(table(rows), flush=True)
        left = [f'{name} {height}x{width}' for name, (height, width) in parts[done:]]
        _write(options, rows, {'unfinished': left, 'failed': failed})
    for key, value in growth(rows).items():
        print(f'{key}: milliseconds grow as pixels ** {value:.2f}')
    return 1 if failed else 0


def _write(options: argparse.Namespace, rows: list[Row], missing: dict[str, Any]) -> None:
    """Write the JSON and the image; `missing` is what the results lack."""
    rounds = [row.rounds for row in rows] or [0]
    where = (
        f'{machine()}, {torch.get_num_threads()} threads, batch 1, '
        f'{min(rounds)} to {max(rounds)} rounds'
    )
    file = options.out / ('growth.json' if options.growth else 'network.json')
    write_json(
        file,
        {
            'machine': where,
            'default_way': default_way(options.device),
            **missing,
            'rows': [asdict(row) for row in rows],
            'exponents': growth(rows),
        },
    )
    if rows and has_matplotlib(picture := file.with_suffix('.png')):
        plot(picture, rows, where)


if __name__ == '__main__':
    raise SystemExit(main())
