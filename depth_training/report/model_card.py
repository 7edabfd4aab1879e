# SPDX-License-Identifier: Apache-2.0
"""`model-card`: compare weights with baselines, and write the table into their model card.

Every image is evaluated as the node would process it: by the estimator, in fp32, with the image's
own camera if it is known, at the input size of the network's training.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depth_perception.depth import simulated_anchors
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.io.files import check_writable, write_atomically
from depth_perception.reading import read_text
from depth_training.data import DepthDataset, Sample, every, good_samples, open_dataset
from depth_training.data.joined import open_joined
from depth_training.evaluate import distance_bins as bands
from depth_training.evaluate import pictures
from depth_training.evaluate.baselines import mean_depth_map
from depth_training.evaluate.contenders import (
    ALIGNED,
    CONSTANT,
    MEAN_MAP,
    PLAIN,
    WAYS,
    Contender,
    Depth,
    Judged,
    judge,
)
from depth_training.evaluate.flicker import Flicker, flicker
from depth_training.evaluate.protocols import WHOLE_FRAME
from depth_training.options import ModelCardOptions
from depth_training.report import beside
from depth_training.report.beside import NETWORK
from depth_training.report.network_pictures import record
from depth_training.report.page import Bullets, Element, Heading, Picture, Table, Text, markdown

BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'
HELD_OUT, CLIP = 'held-out rooms', 'clip'
#: The page of the bundled network; missing in an installed package.
SHIPPED = Path(__file__).resolve().parents[2] / 'docs/model_card.md'
#: Number of best and of worst images on a sheet.
SHOWN = 10


def model_card(options: ModelCardOptions) -> int:
    """Evaluate, and update the page.

    Raises:
        ValueError: no page is given or it has no marks, or weights or data cannot be used; the
            network must give metres.
        OSError: a file cannot be read or written.
    """
    page = _page(options)
    networks = _networks(options)
    estimator = networks[NETWORK]
    before, after = _around(page) if page.exists() else (_beginning(estimator), '')
    check_writable(page)
    training = open_joined(options.data, 'train', options.hold_out)
    averaged = every(training, options.every)
    mean, used = _mean_map(estimator, averaged)
    _check_names(options)
    sources = _sources(options)
    clip = None if options.clip is None else sources[CLIP]
    judged = [
        judge(name, every(pairs, options.every), _contenders(networks), mean)
        for name, pairs in sources.items()
    ]
    shown = page.with_suffix('').name + '_held_out.jpg'
    _write_sheets(judged, estimator, page.parent / 'images' / shown, options.sheets)
    elements = [
        *_table(judged),
        *_notes(judged, training, options, networks),
        *_left_out(judged, len(averaged) - used),
        *(beside.band_table(judged, [*networks]) if options.beside else _band_table(judged)),
    ]
    elements += [] if clip is None else [_flicker_text(clip, networks)]
    elements += [
        Picture(
            f'images/{shown}',
            'Held-out rooms: the ten best pictures (left) and the '
            'ten worst (right), with the mean relative error (AbsRel) in the corner. '
            'Picture, true depth, prediction, relative error.',
        )
    ]
    content = f'{before}{BEGIN}\n\n{markdown(elements)}\n{END}{after}'
    write_atomically(page, [content.encode()])
    record(page.parent / 'images', shown, estimator.checksum)
    sys.stdout.write(markdown(elements))
    sheets = f'{page.parent / "images" / shown}' + (
        f', other sheets in {options.sheets}' if options.sheets else ''
    )
    sys.stderr.write(f'wrote {page} and {sheets}\n')
    return 0


def _networks(options: ModelCardOptions) -> dict[str, DepthEstimator]:
    """Return the networks by their names in the tables, that of the page first.

    It must give metres for a known focal length, as a baseline does.
    """
    estimator = DepthEstimator.load(options.weights, options.device, 'fp32', 'torch')
    if not (estimator.info.is_metric and estimator.info.training_focal_length):
        raise ValueError(
            f'{options.weights} does not give metres for a known focal length, which its baseline '
            'needs: use evaluate'
        )
    if options.beside is None:
        return {NETWORK: estimator}
    name, other = beside.load_beside(options.beside, options.device)
    return {NETWORK: estimator, name: other}


def _contenders(networks: Mapping[str, DepthEstimator]) -> dict[str, Contender]:
    return {name: partial(predicted, estimator) for name, estimator in networks.items()}


def _sources(options: ModelCardOptions) -> dict[str, DepthDataset]:
    """Open what is evaluated, by its name in the table."""
    others = {path.name: path for path in options.unseen}
    if options.clip is not None:
        others[CLIP] = options.clip
    return {
        HELD_OUT: open_joined(options.data, 'test', options.hold_out),
        **{
            name: open_dataset(path, 'all', depth_scale=options.depth_scale)
            for name, path in others.items()
        },
    }


def _check_names(options: ModelCardOptions) -> None:
    names = [HELD_OUT, *(path.name for path in options.unseen), *([CLIP] if options.clip else [])]
    if len(set(names)) < len(names):
        raise ValueError(
            f'data sets are named by the last part of their path, and two of '
            f'{", ".join(names)} are the same: rename a folder'
        )


def predicted(estimator: DepthEstimator, sample: Sample) -> Depth:
    """Return the depth that the node would publish for an image, unmasked."""
    return estimator.infer(sample.rgb, sample.camera)


def _mean_map(estimator: DepthEstimator, training: DepthDataset) -> tuple[Contender, int]:
    """Return the training set's mean depth as a predictor, corrected to each image's camera."""
    info = estimator.info
    mean, used = mean_depth_map(
        training, info.focal_length_at(info.input_width), info.input_height, info.input_width
    )
    return lambda sample: mean * np.float32(estimator.focal_factor(sample.camera)), used


def _table(judged: list[Judged]) -> list[Element]:
    others = [way for way in WAYS if way != PLAIN]
    head = ('Data', 'Pictures', '', 'AbsRel', 'RMSE', 'δ1', *(f'AbsRel, {way}' for way in others))
    rows = [_row(source, key) for source in judged for key in source.errors]
    return [Table((*head, 'δ1, aligned'), rows)]


def _row(source: Judged, key: str) -> list[str]:
    scores = {way: found.metrics.scores('pixels') for way, found in source.errors[key].items()}
    first = key == NETWORK
    return [
        source.name if first else '',
        str(len(source.absrel)) if first else '',
        key,
        *(f'{scores[PLAIN][name]:.3f}' for name in ('AbsRel', 'RMSE', 'delta1')),
        *(f'{scores[way]["AbsRel"]:.3f}' if way in scores else '' for way in WAYS if way != PLAIN),
        f'{scores[ALIGNED]["delta1"]:.3f}',
    ]


def _notes(
    judged: list[Judged],
    training: DepthDataset,
    options: ModelCardOptions,
    networks: Mapping[str, DepthEstimator],
) -> list[Element]:
    blind = [source.name for source in judged if _without_camera(source.pairs)]
    notes = [
        f'Protocol of all figures: {WHOLE_FRAME.describe()}. RMSE in metres.',
        '*Aligned*: each prediction is first scaled to the median of its truth. This separates the '
        'error of shape from that of scale; a robot cannot do it. An aligned constant is the '
        'median of the truth.',
        f'*{CONSTANT.capitalize()}*: the single depth with the smallest AbsRel on the '
        'evaluated pictures themselves.',
        f'*{MEAN_MAP.capitalize()}*: of the training pictures ({training.describe()}), corrected '
        "to each picture's focal length, like the network's prediction.",
        _anchors(),
    ]
    notes += [beside.description(networks) + '.'] if options.beside else []
    notes += [_factors(name, judged, estimator) for name, estimator in networks.items()]
    notes += (
        [f'Focal length unknown, assumed to be that of the training: {", ".join(blind)}.']
        if blind
        else []
    )
    notes += (
        [f'One pair in {options.every} was evaluated, and averaged for the mean depth map.']
        if options.every > 1
        else []
    )
    return [Bullets(notes)]


def _anchors() -> str:
    """Return the note on simulated anchors."""
    row, grid = simulated_anchors.SENSORS
    noise, metres = simulated_anchors.NOISE_SHARE, simulated_anchors.NOISE_METRES
    return (
        f'*{row.capitalize()}*, *{grid}*: corrected by anchors, as a lidar measures them along '
        f"the picture's middle row, or a sensor of {grid} zones of "
        f'{simulated_anchors.ZONE_DEG:g} degrees; simulated from the truth with noise of '
        f'{100 * noise:g} % + {100 * metres:g} cm, {100 * simulated_anchors.OUTLIERS:g} % of them '
        'nonsense. They are the same for every network.'
    )


def _factors(name: str, judged: list[Judged], estimator: DepthEstimator) -> str:
    """Return the note on the focal correction of a network."""
    of = {
        data.name: [estimator.focal_factor(camera) for camera in data.cameras]
        for data in judged
        if data.cameras
    }
    ranges = (f'{key} {min(found):.2f} to {max(found):.2f}' for key, found in of.items())
    begin = 'Depth is' if name == NETWORK else f'Depth of *{name}* is'
    return (
        f"{begin} multiplied by the focal length of the network's input / that of its training: "
        f'{", ".join(ranges)}.'
    )


def _left_out(judged: list[Judged], of_training: int) -> list[Element]:
    """Say how many pairs could not be used, if any."""
    counts = [(len(source.pairs) - len(source.absrel), source.name) for source in judged]
    counts.append((of_training, 'the training pictures'))
    said = ', '.join(f'{count} of {name}' for count, name in counts if count)
    return [Bullets([f'Pairs that could not be used and are left out: {said}.'])] if said else []


def _band_table(judged: list[Judged]) -> list[Element]:
    """Return AbsRel, bias and share of pixels of each band, one column per data set."""
    columns = [
        [
            f'{error:.2f} (×{bias:.2f}, {100 * share:.0f} %)' if share else '-'
            for error, bias, share in zip(data.abs_rel, data.bias, data.share)
        ]
        for data in (source.errors[NETWORK][PLAIN].bands for source in judged)
    ]
    rows = [[name, *cells] for name, *cells in zip(bands.names(), *columns)]
    return [
        Table(('True distance', *(source.name for source in judged)), rows),
        Text(
            'The network by true distance, not aligned, on the same pictures with the same '
            'limits: AbsRel over all pixels of that distance; in brackets predicted / true '
            '(geometric mean: above 1 is too far) and the share of the pixels.'
        ),
    ]


def _without_camera(pairs: DepthDataset) -> bool:
    return any(sample.fx is None for sample in good_samples(pairs, [0]))


def _flicker_text(clip: DepthDataset, networks: Mapping[str, DepthEstimator]) -> Text:
    samples = list(good_samples(clip))
    truths = [sample.depth for sample in samples]
    results = {
        name: flicker([contender(sample) for sample in samples], truths)
        for name, contender in _contenders(networks).items()
    }
    median, p90 = _percent(results[NETWORK])
    others = (
        f'; {name}: {" and ".join(_percent(found))}'
        for name, found in results.items()
        if name != NETWORK
    )
    return Text(
        f'Flicker on the clip ({len(samples)} consecutive frames): the change of the predicted '
        f'depth from frame to frame differs by {median} from that of the true depth (median; 90th '
        f'percentile {p90}{"".join(others)}), over the {results[NETWORK].pixels:,} pixels whose '
        'true change is below 5 %.'
    )


def _percent(found: Flicker) -> tuple[str, str]:
    """Return median and 90th percentile."""
    return f'{100 * found.median:.1f} %', f'{100 * found.p90:.1f} %'


def _write_sheets(
    judged: list[Judged], estimator: DepthEstimator, shown: Path, others: Path | None
) -> None:
    """Write the first data set's sheet to `shown`, the others' to the folder `others`."""
    shown.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(shown, [pictures.jpeg(sheet(judged[0], estimator))])
    for source in judged[1:]:
        if others is None:
            break
        others.mkdir(parents=True, exist_ok=True)
        write_atomically(others / f'{source.name}.jpg', [pictures.jpeg(sheet(source, estimator))])


def sheet(source: Judged, estimator: DepthEstimator) -> NDArray[np.uint8]:
    """Draw the best images in the left half, best first, the worst in the right, worst first."""
    order = sorted((value, index) for index, value in source.absrel.items() if np.isfinite(value))
    count = min(SHOWN, max(len(order) // 2, 1))
    halves = [
        pictures.stacked([_comparison(source, estimator, *place) for place in half], 960)
        for half in (order[:count], order[::-1][:count])
    ]
    rows = min(len(half) for half in halves)
    return np.concatenate([half[:rows] for half in halves], axis=1)


def _comparison(
    source: Judged, estimator: DepthEstimator, absrel: float, index: int
) -> NDArray[np.uint8]:
    sample = source.pairs[index]
    row = pictures.comparison(
        sample.rgb, sample.depth, predicted(estimator, sample), estimator.info.max_depth
    )
    return pictures.labelled(row, f'{100 * absrel:.0f} %')


def _page(options: ModelCardOptions) -> Path:
    """Return the page to write.

    Raises:
        ValueError: none or two are given, or the shipped page without the option for it.
    """
    if options.update_shipped:
        if options.out is not None:
            raise ValueError('--update-shipped writes to the shipped page: omit --out')
        if not SHIPPED.exists():
            raise ValueError(
                '--update-shipped needs the repository: an installed package has no '
                'docs/model_card.md; give --out FILE.md'
            )
        return SHIPPED
    if options.out is None:
        raise ValueError('give the page to write: --out FILE.md')
    if options.out.resolve() == SHIPPED:
        raise ValueError(
            f'{options.out} is the page of the bundled network: give another --out, '
            'or --update-shipped'
        )
    if options.out.suffix != '.md':
        raise ValueError(f'--out {options.out} is not a Markdown file: give FILE.md')
    options.out.parent.mkdir(parents=True, exist_ok=True)
    return options.out


def _beginning(estimator: DepthEstimator) -> str:
    """Return the beginning of a new page: the metadata of the weights file."""
    info = estimator.info
    facts = [
        f'Network: {info.network}, {info.input_width}x{info.input_height}, '
        f'{info.min_depth:g} to {info.max_depth:g} m.',
        f'Trained on: {info.training_data}.',
        f'Made by: {info.recipe or "unknown"}.',
        f'Licence of the weights: {info.licence}.',
    ]
    return markdown([Heading(f'Model card: {info.name}', 1), Bullets(facts)]) + '\n'


def _around(page: Path) -> tuple[str, str]:
    """Return the text before and after the measured part.

    Raises:
        ValueError: the page does not have both marks once, in order.
    """
    text = read_text(page)
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'{page} needs two lines {BEGIN} and {END}, between which scores go')
    return before, after
