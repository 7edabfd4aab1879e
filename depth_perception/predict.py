# SPDX-License-Identifier: Apache-2.0
"""Depth of image files: `depth-perception predict`."""
from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.backends.names import BackendError
from depth_perception.camera import CameraError
from depth_perception.camera_source import CameraSource, camera_source
from depth_perception.files import write_atomically
from depth_perception.options import UsageError, add_network_arguments
from depth_perception.ply import write_ply
from depth_perception.visualise import colourise

if TYPE_CHECKING:
    from depth_perception.estimator import DepthEstimator
    from depth_perception.weights import WeightsInfo

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')
DEPTH_SUFFIX, COLOUR_SUFFIX, CLOUD_SUFFIX = '_depth.png', '_color.png', '.ply'
#: As the node's `edge_threshold`: what jumps more from pixel to pixel floats between surfaces.
EDGE_THRESHOLD = 0.05


class ImageError(ValueError):
    """One image that cannot be used; the text says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `depth-perception predict`."""
    parser.add_argument('images', nargs='+', metavar='IMAGE', type=Path,
                        help='image files, or folders of which all images are taken')
    parser.add_argument('--out', required=True, metavar='DIR', type=Path,
                        help='folder for the results, made where it is missing')
    add_network_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Predict every image; 0 if all went well, 1 if some failed.

    Raises:
        UsageError: a folder, weights, device or camera cannot be used, so nothing was done.
    """
    source = camera_source(options.camera, options.horizontal_fov_deg, options.rectified)
    for remark in source.remarks:
        _say(f'camera {options.camera}: {remark}')
    if source.rectifies:
        _say(f'camera {options.camera} has a lens that distorts: images are rectified first '
             '(--rectified: they are already)')
    jobs = list(_named(_expanded(options.images, options.out)))
    _prepare_folder(options.out)
    estimator = load_network(options)
    if source == CameraSource():
        _say(_unknown_camera_text(estimator))
    failed = 0
    for number, (path, name) in enumerate(jobs, 1):
        try:
            said = _predict(estimator, path, options.out / name, source)
        except (ImageError, CameraError, OSError) as error:
            failed += 1
            said = f'failed: {_one_line(error)}'
        _say(f'[{number}/{len(jobs)}] {path}: {said}')
    _say(f'{len(jobs) - failed} of {len(jobs)} images done, results in {options.out}')
    return 1 if failed else 0


def _predict(estimator: DepthEstimator, path: Path, target: Path, source: CameraSource) -> str:
    """Write the results of one image; what can be said of it."""
    from depth_perception import geometry

    rgb, camera, unseen = source.prepared(read_image(path))
    info = estimator.info
    depth = estimator.infer(rgb, camera)
    if unseen is not None:
        depth = geometry.mask(depth, unseen)
    ranged = geometry.mask_range(depth, info.min_depth, info.max_depth)
    picture = colourise(ranged, info.min_depth, info.max_depth)
    write_atomically(_beside(target, DEPTH_SUFFIX), [_png(millimetres(ranged))])
    write_atomically(_beside(target, COLOUR_SUFFIX), [_png(picture)])
    if camera is not None:
        clean = geometry.mask_edges(depth, EDGE_THRESHOLD)
        clean = geometry.mask_range(clean, info.min_depth, info.max_depth)
        write_ply(_beside(target, CLOUD_SUFFIX), geometry.back_project(clean, camera), rgb)
    return _summary(ranged)


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 (H, W, 3) RGB, turned upright where its EXIF data says so.

    Raises:
        ImageError: the file is missing, cannot be read or holds no image.
    """
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ImageError(error.strerror) from error
    try:
        bgr = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ImageError('it is no image that OpenCV can read, or it is damaged')
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Metres -> the nearest millimetre as uint16; 0 for what is not finite or beyond 65.535 m."""
    known = np.isfinite(depth) & (depth > 0) & (depth < np.iinfo(np.uint16).max / 1000)
    return np.where(known, depth * 1000 + 0.5, 0).astype(np.uint16)


def _expanded(paths: Iterable[Path], out: Path) -> Iterator[Path]:
    """The files named, and those of the folders named, without what an earlier run wrote."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = [file for file in sorted(path.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES
                 and not (path.resolve() == out.resolve() and _is_result(file))]
        if not found:
            raise UsageError(f'there is no image in folder {path}')
        yield from found


def _is_result(file: Path) -> bool:
    return file.name.endswith((DEPTH_SUFFIX, COLOUR_SUFFIX))


def _named(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Each path with the name of its results; equal names of several files are numbered."""
    taken: Counter[str] = Counter()
    for path in paths:
        name = path.stem
        while taken[name]:
            taken[path.stem] += 1
            name = f'{path.stem}_{taken[path.stem]}'
        taken[name] += 1
        yield path, name


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'cannot make folder {folder}: {error.strerror}') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f'cannot write to folder {folder}: permission denied')


def load_network(options: argparse.Namespace) -> DepthEstimator:
    """The network that `--model`, `--device` and `--precision` name.

    Raises:
        UsageError: it cannot be loaded, or not there.
    """
    from depth_perception.device import DeviceError
    from depth_perception.estimator import DepthEstimator
    from depth_perception.weights import WeightsError

    try:
        return DepthEstimator.load(
            options.model, options.device, options.precision, options.backend)
    except (BackendError, DeviceError, WeightsError) as error:
        raise UsageError(str(error)) from error


def _unknown_camera_text(estimator: DepthEstimator) -> str:
    return (f'no camera given: distances hold for a horizontal field of view of about '
            f'{training_fov_deg(estimator.info):.0f} degrees, and no .ply is written '
            '(see --camera and --horizontal-fov-deg)')


def training_fov_deg(info: WeightsInfo) -> float:
    """The horizontal field of view that the network learnt from, degrees."""
    half = info.input_width / 2 / info.focal_length_at(info.input_width)
    return 2 * math.degrees(math.atan(half))


def _summary(depth: NDArray[np.float32]) -> str:
    known = depth[np.isfinite(depth)]
    if not known.size:
        return 'no depth within the range of the network'
    near, far = np.percentile(known, (5, 95))
    return f'{near:.2f} to {far:.2f} m, {100 * known.size // depth.size} % of the pixels valid'


def _beside(target: Path, suffix: str) -> Path:
    # Not with_suffix: a name may hold dots of its own.
    return target.parent / (target.name + suffix)


def _png(image: NDArray) -> bytes:
    return cv2.imencode('.png', image)[1].tobytes()


def _one_line(error: Exception) -> str:
    text = getattr(error, 'strerror', None) or str(error)
    return ' '.join(str(text).split())


def _say(text: str) -> None:
    sys.stderr.write(f'{text}\n')
    sys.stderr.flush()
