# SPDX-License-Identifier: Apache-2.0
"""Measure images per second of reading, augmenting and batching, for each paper's pipeline.

A training step that takes fewer images per second never has to wait for data:

    python benchmarks/data_loading.py DATA --workers 1 4 8
"""

from __future__ import annotations

import argparse
import time

from torch.utils.data import DataLoader

from depth_training.augment import pipelines as augment
from depth_training.data import open_dataset
from depth_training.ranges import Range, number
from depth_training.train.training_data import ToTensors, TrainingData, start_worker

PIPELINES = {
    '000': augment.paper_000,
    '001': augment.paper_001,
    '002': augment.paper_002,
    '003': augment.paper_003,
    '004': augment.paper_004,
}


def images_per_second(data: TrainingData, workers: int, batch: int, images: int) -> float:
    """Return the rate after the first batch, whose time includes starting the workers."""
    sampler = [index % len(data) for index in range(images + batch)]
    loader = iter(
        DataLoader(
            data,
            batch,
            sampler=sampler,
            num_workers=workers,
            worker_init_fn=start_worker,
            timeout=60 * bool(workers),
        )
    )
    next(loader)
    start = time.perf_counter()
    count = sum(len(rows.image) for rows in loader)
    return count / (time.perf_counter() - start)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', help='file or folder of any known layout')
    parser.add_argument('--workers', type=number(int, Range(0)), nargs='+', default=[1, 4])
    parser.add_argument('--batch', type=number(int, Range(1)), default=8)
    parser.add_argument(
        '--images', type=number(int, Range(1)), default=200, help='number of images to measure'
    )
    options = parser.parse_args()
    dataset = open_dataset(options.data, 'all')
    print(dataset.describe())
    to_tensors = ToTensors((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for name, pipeline in PIPELINES.items():
        data = TrainingData(dataset, pipeline(), to_tensors)
        for workers in options.workers:
            rate = images_per_second(data, workers, options.batch, options.images)
            print(f'paper {name}, {workers} workers: {rate:.0f} images/s', flush=True)


if __name__ == '__main__':
    main()
