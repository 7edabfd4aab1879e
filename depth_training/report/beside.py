# SPDX-License-Identifier: Apache-2.0
"""A second network on the page of a model card, such as the one that was shipped before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.weights import WeightsError
from depth_training.evaluate import distance_bins
from depth_training.evaluate.contenders import CONSTANT, MEAN_MAP, PLAIN, WAYS, Judged
from depth_training.report.page import Element, Table, Text

NETWORK = 'the network'
_EXAMPLE = '--beside before=old.safetensors'


def load_beside(text: str, device: str) -> tuple[str, DepthEstimator]:
    """Return name and network of `--beside NAME=FILE`.

    Raises:
        ValueError: the text has another form, the name is taken, or the network cannot be used or
            does not give metres.
    """
    name, equals, file = (part.strip() for part in text.partition('='))
    if not (name and equals and file):
        raise ValueError(
            f'--beside {text} is not NAME=FILE: give a name for the tables and a weights file, '
            f'such as {_EXAMPLE}'
        )
    if name in (taken := (NETWORK, CONSTANT, MEAN_MAP)):
        raise ValueError(
            f'--beside {text}: the tables have "{name}" already, as they have '
            f'{", ".join(taken)}: give another name, such as {_EXAMPLE}'
        )
    try:
        estimator = DepthEstimator.load(file, device, 'fp32', 'torch')
    except WeightsError as error:
        raise ValueError(f'--beside {text}: {error}') from error
    if not estimator.info.is_metric:
        raise ValueError(
            f'--beside {text}: {file} gives {estimator.info.output}, not metres: use evaluate '
            '--align'
        )
    return name, estimator


def description(networks: Mapping[str, DepthEstimator]) -> str:
    """Return a sentence that tells which file each name is."""
    return '; '.join(
        f'*{name}*: {estimator.info.name}, {estimator.info.network}, '
        f'{estimator.info.input_width}x{estimator.info.input_height}, checksum '
        f'{estimator.checksum[:12]}'
        for name, estimator in networks.items()
    )


def band_table(judged: Sequence[Judged], names: Sequence[str]) -> list[Element]:
    """Return the errors of several networks by true distance, side by side in each way."""
    head = (
        'Data',
        'True distance',
        'Pixels',
        *(f'{way}: {name}' for way in WAYS for name in names),
    )
    rows = [row for source in judged for row in _rows(source, names)]
    return [
        Table(head, rows),
        Text(
            'The networks by true distance, on the same pictures with the same limits: AbsRel over '
            'all pixels of that distance; in brackets predicted / true, not aligned (geometric '
            'mean: above 1 is too far).'
        ),
    ]


def _rows(source: Judged, names: Sequence[str]) -> list[list[str]]:
    """Return a row for each band that has pixels."""
    share = source.errors[names[0]][PLAIN].bands.share
    filled = [band for band, part in enumerate(share) if part]
    return [
        [
            source.name if band == filled[0] else '',
            distance_bins.names()[band],
            f'{100 * share[band]:.0f} %',
            *(_cell(source, name, way, band) for way in WAYS for name in names),
        ]
        for band in filled
    ]


def _cell(source: Judged, name: str, way: str, band: int) -> str:
    bands = source.errors[name][way].bands
    error = f'{bands.abs_rel[band]:.2f}'
    return f'{error} (×{bands.bias[band]:.2f})' if way == PLAIN else error
