# SPDX-License-Identifier: Apache-2.0
"""Compare an imported network with the pipeline of the package transformers.

    python -m benchmarks.imported                      Depth Anything V2 Small with random weights
    python -m benchmarks.imported --network FOLDER     a network in the Hugging Face layout
    python -m benchmarks.imported --device cuda        fp16 and a CUDA graph against the pipeline

Each frame goes from a 640x480 image in memory to the relative depth of the same size in memory.
The pipeline runs without compilation, in float32. All take turns in every round, so that other load
affects them equally; the ratio to the pipeline is the median over the rounds. Writes imported.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.results import write_json
from depth_perception.cli.main import main as command
from depth_perception.inference.backends.names import BACKENDS
from depth_perception.inference.estimator import PRECISIONS, DepthEstimator
from test.support.published_networks import PUBLISHED

Image = NDArray[np.uint8]
Run = Callable[[], NDArray[Any]]
#: What the others are compared with.
BASELINE = 'transformers pipeline'
PICTURE = Path(__file__).parents[1] / 'docs/images/anchors.jpg'
SIZE = (480, 640)


@dataclass
class Row:
    """Result of one way to run the network.

    Attributes:
        ratio: how many times as fast as the baseline; median over rounds.
        error: largest difference from the baseline / its largest value.
    """

    way: str
    median_ms: float
    p95_ms: float
    ratio: float
    error: float
    rounds: int


def depth_anything_small(folder: Path) -> Path:
    """Write Depth Anything V2 Small as published, but with random weights."""
    import transformers

    config, processor = PUBLISHED['depth-anything/Depth-Anything-V2-Small-hf']
    folder.mkdir(parents=True)
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
    torch.manual_seed(0)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        transformers.AutoModelForDepthEstimation.from_config(
            transformers.AutoConfig.from_pretrained(folder)
        ).save_pretrained(folder)
    return folder


def ways(
    folder: Path,
    file: Path,
    device: str,
    image: Image,
    precisions: Sequence[str],
    backend: str,
) -> dict[str, Run]:
    """Return each way to run the network of a folder, by name; the first is the baseline.

    Args:
        folder: the network, in the Hugging Face layout.
        file: the weights file to write.
        device: `cpu` or `cuda`.
        image: uint8 (H, W, 3).
        precisions, backend: for `DepthEstimator.load`.
    """
    found: dict[str, Run] = {BASELINE: pipeline(folder, device, image)}
    if device == 'cuda':
        found['transformers pipeline, fp16'] = pipeline(folder, device, image, torch.float16)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if command(['import-model', str(folder), '--out', str(file)]):
            raise SystemExit(f'{folder} cannot be imported')
    for precision in precisions:
        estimator = DepthEstimator.load(file, device, precision, backend)
        graph = ', CUDA graph' if device == 'cuda' else ''
        found[f'ours, {estimator.backend} {estimator.precision}{graph}'] = lambda e=estimator: (
            e.infer(image)
        )
    return found


def pipeline(folder: Path, device: str, image: Image, dtype: torch.dtype = torch.float32) -> Run:
    """Return the pipeline `depth-estimation` of transformers, as its documentation calls it."""
    import transformers
    from PIL import Image as Pillow

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    run = transformers.pipeline('depth-estimation', model=str(folder), device=device, dtype=dtype)
    picture = Pillow.fromarray(image)
    return lambda: run(picture)['predicted_depth'].float().cpu().numpy()


def measure(found: dict[str, Run], rounds: int) -> list[Row]:
    """Measure all ways in turn, after two runs of each."""
    outputs = {way: [run(), run()][1] for way, run in found.items()}
    seconds: dict[str, list[float]] = {way: [] for way in found}
    for _ in range(rounds):
        for way, run in found.items():
            start = time.perf_counter()
            run()  # it returns depth in host memory, so a GPU has finished
            seconds[way].append(time.perf_counter() - start)
    base, expected = np.array(seconds[BASELINE]), outputs[BASELINE]
    return [
        Row(
            way,
            1000 * float(np.median(times)),
            1000 * float(np.percentile(times, 95)),
            float(np.median(base / np.array(times))),
            float(abs(outputs[way] - expected).max() / abs(expected).max()),
            rounds,
        )
        for way, times in seconds.items()
    ]


def table(rows: list[Row]) -> str:
    """Format the rows for a terminal."""
    lines = [f'{"way":<34}{"median ms":>11}{"p95 ms":>9}{"x pipeline":>12}{"error":>10}']
    lines += [
        f'{row.way:<34}{row.median_ms:11.1f}{row.p95_ms:9.1f}{row.ratio:12.2f}{row.error:10.1e}'
        for row in rows
    ]
    return '\n'.join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--network',
        type=Path,
        help='a folder in the Hugging Face layout; default: Depth Anything V2 Small, untrained',
    )
    parser.add_argument('--precisions', nargs='+', default=['fp32', 'fp16'], choices=PRECISIONS)
    parser.add_argument('--backend', default='auto', choices=BACKENDS)
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--out', type=Path, default=Path('imported_output'))
    options = parser.parse_args(arguments)
    if options.device == 'cuda' and not torch.cuda.is_available():
        sys.stderr.write('benchmarks.imported: PyTorch sees no CUDA device: omit --device cuda\n')
        return 2
    image = np.ascontiguousarray(cv2.resize(cv2.imread(str(PICTURE))[:240, :320, ::-1], SIZE[::-1]))
    with tempfile.TemporaryDirectory() as spare:
        folder = options.network or depth_anything_small(Path(spare, 'network'))
        file = Path(spare, 'imported.safetensors')
        found = ways(folder, file, options.device, image, options.precisions, options.backend)
        rows = measure(found, options.rounds)
    print(table(rows), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    where = f'{machine()}, {torch.get_num_threads()} threads'
    write_json(
        options.out / 'imported.json', {'machine': where, 'rows': [asdict(row) for row in rows]}
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
