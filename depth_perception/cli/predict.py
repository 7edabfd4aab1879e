# SPDX-License-Identifier: Apache-2.0
"""`depth-perception predict`: compute the depth of image and video files."""

from __future__ import annotations

import argparse
import errno
import io
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.source import CameraSource, Prepared, camera_source
from depth_perception.cli.options import (
    add_depth_arguments,
    add_network_arguments,
    check_limits,
    depth_settings,
)
from depth_perception.cli.results import (
    ARRAY_SUFFIX,
    CLOUD_SUFFIX,
    COLOUR_SUFFIX,
    CONFIDENCE_ARRAY_SUFFIX,
    CONFIDENCE_SUFFIX,
    DEPTH_SUFFIX,
    SCAN_SUFFIX,
    VIDEO_SUFFIX,
    Found,
    Job,
    find,
    named,
)
from depth_perception.depth.millimetres import to_millimetres
from depth_perception.depth.visualise import colourise, fitted_range, with_legend
from depth_perception.errors import UsageError
from depth_perception.inference.backends.names import BackendError
from depth_perception.io.anchor_files import (
    ANCHORS_SUFFIX,
    AnchorFileError,
    misplaced,
    read_anchors,
    swapped,
)
from depth_perception.io.bag import is_recording
from depth_perception.io.files import FULL, Parts, write_together
from depth_perception.io.image_files import ImageError, read_photo
from depth_perception.io.ply import ply_parts
from depth_perception.number_options import number
from depth_perception.progress import Progress

if TYPE_CHECKING:
    from depth_perception.depth.anchors import AnchorReport
    from depth_perception.depth.products import DepthProducts, DepthScan
    from depth_perception.depth.settings import DepthSettings
    from depth_perception.inference.estimator import DepthEstimator
    from depth_perception.io.video_files import VideoReader

#: Smallest height and width of an image, pixels.
MIN_SIDE = 16
#: Number of frames of a video that determine its range of colours.
SAMPLES = 5
#: Largest height of the pictures of a video, pixels.
VIDEO_HEIGHT = 720
#: A video with this fraction of its declared frames is complete: some formats only estimate it.
WHOLE = 0.95
#: Error message if the input is a bag.
RECORDING = (
    'it is a recording: "process_bag" writes its depth into a new one, "depth-perception view" '
    'shows it, and "python -m depth_perception.demo" makes pictures of it'
)
#: Largest number of skipped files to list.
NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `depth-perception predict`."""
    add = parser.add_argument
    add(
        'inputs',
        nargs='+',
        metavar='FILE',
        type=Path,
        help='images, videos, or folders with images and videos, also in subfolders',
    )
    add(
        '--out',
        required=True,
        metavar='DIR',
        type=Path,
        help='folder for the results; it is created if it does not exist',
    )
    _add_results(
        parser.add_argument_group(
            'results',
            'Always: NAME_depth.png, 16 bits, millimetres, 0 = unknown, and NAME_color.png, '
            'the depth in colours with a legend; of a video NAME_color.mp4, with the camera '
            'image beside the depth.',
        )
    )
    add_network_arguments(parser.add_argument_group('network and camera'))
    add_depth_arguments(
        parser.add_argument_group('depth, cloud and scan', "the node's parameters of these names")
    )


def _add_results(results: argparse._ArgumentGroup) -> None:
    add = results.add_argument
    add(
        '--npy',
        action='store_true',
        help='also write NAME_depth.npy: float32, metres; NaN unknown, Inf out of range',
    )
    add(
        '--cloud',
        action='store_true',
        help='also write NAME.ply, the point cloud, if the camera is known',
    )
    add(
        '--scan',
        action='store_true',
        help='also write NAME_scan.csv, the obstacle scan, if the camera is known: the angle of '
        'each beam, in radians to the left, and metres to its nearest obstacle; inf free, nan '
        'unknown, -inf too near',
    )
    add(
        '--confidence',
        action='store_true',
        help='also write NAME_confidence.png, 8 bits, 0 to 255 for 0 to 1: the probability that '
        'the depth is within 25 %% of the truth, as the network estimates it; with --npy also '
        'NAME_confidence.npy, float32',
    )
    add(
        '--color-range',
        type=_metres,
        nargs=2,
        metavar=('NEAR', 'FAR'),
        help='metres of the nearest and farthest colour (default: what fits each file)',
    )
    _add_frames(results)


def _add_frames(results: argparse._ArgumentGroup) -> None:
    add = results.add_argument
    add(
        '--frames',
        action='store_true',
        help='also write the results of each frame of a video, into the folder NAME (implied by '
        '--npy, --cloud, --scan and --confidence)',
    )
    add(
        '--every',
        type=number(int, 1),
        default=1,
        metavar='N',
        help='use every N-th frame of a video',
    )
    add(
        '--anchors',
        type=Path,
        metavar='FILE',
        help='true distances that correct the depth: a text file with lines of u, v (pixels of the '
        f'image) and metres, for one image; or a folder with NAME{ANCHORS_SUFFIX} for each image',
    )


def run(options: argparse.Namespace) -> int:
    """Predict every file; return 0 if all succeeded, 1 if some failed.

    Raises:
        UsageError: a folder, weights, device or camera cannot be used, so nothing was done.
    """
    source = camera_source(options.camera, options.horizontal_fov_deg, options.rectified)
    _say_camera(source, options.camera)
    if options.color_range and not options.color_range[0] < options.color_range[1]:
        raise UsageError(
            f'--color-range {options.color_range[0]:g} {options.color_range[1]:g}: '
            'the second must be larger'
        )
    settings = depth_settings(options)
    jobs = _jobs(options)
    _check_anchors(options.anchors, jobs, source)
    _prepare_folder(options.out)
    estimator = load_network(options)
    from depth_perception.inference.estimator import no_confidence

    check_limits(settings, estimator.info)
    if options.confidence and not estimator.info.gives_confidence:
        raise UsageError(f'--confidence: {no_confidence(estimator.info)}')
    predictor = Predictor(estimator, options, source, settings)
    failed = 0
    for done, job in enumerate(jobs, 1):
        try:
            said = predictor.run(job)
        except (AnchorFileError, ImageError, CameraError, OSError) as error:
            failed += 1
            said = f'failed: {_one_line(error)}'
            if isinstance(error, OSError) and error.errno in FULL:
                _say(f'[{done}/{len(jobs)}] {job.path}: {said}')
                _say(
                    f'stopped: nothing more can be written to {options.out}; '
                    f'{done - failed} of {len(jobs)} files done'
                )
                return 1
        _say(f'[{done}/{len(jobs)}] {job.path}: {said}')
    kinds = {job.is_video for job in jobs}
    what = 'files' if len(kinds) > 1 else 'videos' if kinds == {True} else 'images'
    where = f', results in {options.out}' if failed < len(jobs) else ''
    _say(f'{len(jobs) - failed} of {len(jobs)} {what} done{where}')
    return 1 if failed else 0


def _jobs(options: argparse.Namespace) -> list[Job]:
    """Return the jobs, and report skipped files."""
    for path in options.inputs:
        # A folder with only metadata.yaml, or with a bag among photographs, is not a recording.
        if (
            path.is_dir()
            and (path / 'metadata.yaml').is_file()
            and any(is_recording(file) for file in path.iterdir() if file.is_file())
        ):
            raise UsageError(f'cannot use {path}: {RECORDING}')
    found = find(options.inputs, options.out)
    _say_skipped(found)
    if not found.files:
        raise UsageError(
            f'there is no image and no video in folder {", ".join(map(str, options.inputs))}'
        )
    jobs = named(found.files)
    if (options.every > 1 or options.frames) and not any(job.is_video for job in jobs):
        _say('--every and --frames are about videos, and there is none')
    return jobs


def _check_anchors(anchors: Path | None, jobs: list[Job], source: CameraSource) -> None:
    """Refuse `--anchors` that do not fit the files."""
    if anchors is None:
        return
    if not anchors.exists():
        raise UsageError(f'cannot read --anchors {anchors}: there is no such file or folder')
    if source.rectifies:
        raise UsageError(
            '--anchors are pixels of images without distortion, and these are '
            'rectified first: give rectified images and --rectified'
        )
    if videos := [job.path for job in jobs if job.is_video]:
        raise UsageError(f'--anchors are those of images, and {videos[0]} is a video')
    if anchors.is_file() and len(jobs) > 1:
        raise UsageError(
            f'--anchors {anchors} is of one image, and there are {len(jobs)}: give a '
            f'folder with NAME{ANCHORS_SUFFIX} for each'
        )


def _say_skipped(found: Found) -> None:
    for files, why in (
        (found.skipped, 'neither images nor videos'),
        (found.earlier, 'results of an earlier run'),
    ):
        if files:
            names = ', '.join(map(str, files[:NAMED]))
            more = f' and {len(files) - NAMED} more' if len(files) > NAMED else ''
            _say(f'skipped, {why}: {names}{more}')


def _say_camera(source: CameraSource, file: Path | None) -> None:
    for remark in source.remarks:
        _say(f'camera {file}: {remark}')
    if source.rectifies:
        _say(
            f'camera {file} has a lens that distorts: images are rectified first '
            '(--rectified: they are already)'
        )


class Predictor:
    """Write the results of files, one file after another.

    Args:
        estimator: the network.
        options: parsed command line.
        source: source of the cameras.
        settings: settings of the depth and its products.
    """

    def __init__(
        self,
        estimator: DepthEstimator,
        options: argparse.Namespace,
        source: CameraSource,
        settings: DepthSettings,
    ) -> None:
        from depth_perception.depth.products import ProductMaker

        self._estimator, self._options, self._source = estimator, options, source
        self._settings, self._make = settings, ProductMaker(estimator.info.max_depth)
        self._said_unknown = False

    def run(self, job: Job) -> str:
        """Write all results of a file, or none of them, and return a summary.

        Raises:
            ImageError, CameraError: the file cannot be used.
            AnchorFileError: its anchors cannot be used.
            OSError: a result cannot be written.
        """
        if job.path.is_file() and is_recording(job.path):
            raise ImageError(RECORDING)
        target = self._options.out / job.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if job.is_video:
            return self._video(job, target)
        photo = read_photo(job.path)
        seen = self._prepared(photo.rgb, photo.camera)
        products, about_anchors = self._anchored(job, seen, self._products(seen))
        files = self._files(target, products, self._colours([products.depth]))
        write_together(files)
        said = f'{_names(files, self._options.out)}: {_summary(products.depth)}{about_anchors}'
        if seen.camera is not None and seen.camera is photo.camera:
            said += f'; {_fov_deg(photo.camera):.0f} degrees wide by its EXIF data'
        if photo.remark:
            said += f'; {photo.remark}'
        return said

    def _prepared(self, rgb: NDArray[np.uint8], by_exif: CameraModel | None = None) -> Prepared:
        """Return the image with its camera, rectified if necessary."""
        height, width = rgb.shape[:2]
        if min(height, width) < MIN_SIDE:
            raise ImageError(
                f'it is {width}x{height} pixels, too small for depth: '
                f'{MIN_SIDE}x{MIN_SIDE} are the least'
            )
        seen = self._source.prepared(rgb)
        seen = seen if seen.camera else seen._replace(camera=by_exif)
        if seen.camera is None and not self._said_unknown:
            self._said_unknown = True
            missed = ' and no '.join(self._of_camera)
            cloud = f', and there is no {missed}' if missed else ''
            info = self._estimator.info
            distances = (
                'distances hold for a horizontal field of view of about '
                f'{info.horizontal_fov_deg:.0f} degrees'
                if info.training_focal_length
                else 'distances are as the network gives them: for which field of view is not known'
            )
            _say(
                f'no camera given and none in the EXIF data: {distances}{cloud} '
                '(see --camera and --horizontal-fov-deg)'
            )
        return seen

    def _products(self, seen: Prepared, time: float | None = None) -> DepthProducts:
        """Return the products of an image; `time` is in seconds, for videos."""
        camera, settings = self._settings.focal_camera(seen.camera), self._settings
        confidence = None
        if self._options.confidence or settings.min_confidence > 0:
            depth, confidence = self._estimator.infer_with_confidence(seen.rgb, camera)
        else:
            depth = self._estimator.infer(seen.rgb, camera)
        return self._make(
            seen.rgb,
            seen.camera,
            depth,
            settings,
            time=time,
            unseen=seen.unseen,
            confidence=confidence,
        )

    def _anchored(
        self, job: Job, seen: Prepared, products: DepthProducts
    ) -> tuple[DepthProducts, str]:
        """Return the products corrected by the image's anchors, and a text about the correction."""
        path = self._options.anchors
        if path is None:
            return products, ''
        if path.is_dir():
            path = _beside(path / job.name, ANCHORS_SUFFIX)
            if not path.exists():
                return products, f'; not corrected: there is no {path}'
        anchors = read_anchors(path, seen.camera)
        corrected, report = self._make.anchored(products, anchors)
        metric = np.asarray(products.metric)
        remarks = (
            _about(report),
            misplaced(anchors, *metric.shape) or swapped(anchors, metric),
        )
        return corrected, ''.join(f'; {remark}' for remark in remarks if remark)

    def _colours(self, depths: list[NDArray[np.float32]]) -> tuple[float, float]:
        limits = self._settings.limits(self._estimator.info.max_depth)
        return tuple(self._options.color_range or fitted_range(depths, *limits))

    def _files(
        self, target: Path, products: DepthProducts, colours: tuple[float, float]
    ) -> Mapping[Path, Parts]:
        """Return the contents of each result file of an image, by path."""
        picture = with_legend(products.preview(colours), *colours)
        files = {
            _beside(target, DEPTH_SUFFIX): [_png(to_millimetres(products.depth))],
            _beside(target, COLOUR_SUFFIX): [_png(picture)],
        }
        if self._options.npy:
            files[_beside(target, ARRAY_SUFFIX)] = [_npy(products.depth)]
        confidence = products.confidence
        if self._options.confidence and confidence is not None:
            files[_beside(target, CONFIDENCE_SUFFIX)] = [
                _png(np.round(255 * confidence).astype(np.uint8))
            ]
            if self._options.npy:
                files[_beside(target, CONFIDENCE_ARRAY_SUFFIX)] = [_npy(confidence)]
        if self._options.cloud and products.camera is not None:
            files[_beside(target, CLOUD_SUFFIX)] = ply_parts(products.points, products.colours)[0]
        if self._options.scan and products.camera is not None:
            files[_beside(target, SCAN_SUFFIX)] = [_csv(products.scan())]
        return files

    @property
    def _of_camera(self) -> list[str]:
        """Return the requested results that need a camera."""
        wanted = {'point cloud': self._options.cloud, 'scan': self._options.scan}
        return [what for what, is_wanted in wanted.items() if is_wanted]

    def _video(self, job: Job, target: Path) -> str:
        """Write a video of camera and depth side by side, and each frame's results if requested."""
        from depth_perception.io.video_files import VideoReader, VideoWriter

        video, options = VideoReader(job.path), self._options
        colours = self._colours_of(video)
        needs_folder = (
            options.frames
            or options.npy
            or options.confidence
            or (self._of_camera and self._source.is_known)
        )
        folder = target if needs_folder else None
        if folder is not None:
            folder.mkdir(exist_ok=True)
        path, count = _beside(target, VIDEO_SUFFIX), 0
        self._make.reset()
        with (
            VideoWriter(path, video.rate / options.every) as writer,
            Progress(str(job.path), video.count // options.every or None, ' frames') as progress,
        ):
            for number, rgb in video.frames(options.every):
                seen = self._prepared(rgb)
                products = self._products(seen, number / video.rate)
                writer.write(beside(seen.rgb, products.depth, colours))
                if folder is not None:
                    write_together(self._files(folder / f'{number:06d}', products, colours))
                count += 1
                progress.step()
        made = [path, *([folder] if folder else [])]
        return (
            f'{_names(made, options.out)}: {count} frames, {colours[0]:g} to '
            f'{colours[1]:g} m{_missing(video)}'
        )

    def _colours_of(self, video: VideoReader) -> tuple[float, float]:
        """Return one colour range for all frames, computed from a few of them."""
        if self._options.color_range:
            return tuple(self._options.color_range)
        every = max(1, video.count // SAMPLES)
        frames = [rgb for _, rgb in zip(range(SAMPLES), (f for _, f in video.frames(every)))]
        return self._colours([self._products(self._prepared(rgb)).depth for rgb in frames])


def beside(
    rgb: NDArray[np.uint8], depth: NDArray[np.float32], colours: tuple[float, float]
) -> NDArray[np.uint8]:
    """Draw camera and depth side by side with a legend, BGR, at most VIDEO_HEIGHT high."""
    height, width = rgb.shape[:2]
    scale = min(1.0, VIDEO_HEIGHT / height)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    left = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), size, interpolation=cv2.INTER_AREA)
    right = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    picture = with_legend(np.concatenate([left, colourise(right, *colours)], axis=1), *colours)
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'cannot make folder {folder}: {error.strerror}') from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f'cannot write to folder {folder}: {os.strerror(errno.EACCES)}')


def load_network(options: argparse.Namespace) -> DepthEstimator:
    """Load the network for `--model`, `--device`, `--precision` and `--backend`.

    Raises:
        UsageError: it cannot be loaded, or gives no metres, or the device is not available.
    """
    estimator = load_any_network(options)
    if not estimator.info.is_metric:
        raise UsageError(
            f'{options.model} gives {estimator.info.output}, not metres: use it in '
            'the node, with anchors (docs/networks.md)'
        )
    return estimator


def load_any_network(options: argparse.Namespace) -> DepthEstimator:
    """Load a network like `load_network`, also one whose output is not in metres.

    Raises:
        UsageError: it cannot be loaded, or the device is not available.
    """
    from depth_perception.inference.device import DeviceError
    from depth_perception.inference.estimator import DepthEstimator
    from depth_perception.io.weights import WeightsError

    try:
        return DepthEstimator.load(
            options.model, options.device, options.precision, options.backend
        )
    except (BackendError, DeviceError, WeightsError) as error:
        raise UsageError(str(error)) from error


def _fov_deg(camera: CameraModel) -> float:
    return 2 * math.degrees(math.atan(camera.width / 2 / camera.fx))


def _summary(depth: NDArray[np.float32]) -> str:
    known = depth[np.isfinite(depth)]
    if not known.size:
        return 'no depth between the limits'
    near, far = np.percentile(known, (5, 95))
    return f'{near:.2f} to {far:.2f} m, {100 * known.size // depth.size} % of the pixels valid'


def _about(report: AnchorReport) -> str:
    """Return a text that says how the anchors of an image were used."""
    from depth_perception.depth.anchors import LEAST_ANCHORS

    if report.offered < LEAST_ANCHORS:
        return f'not corrected: {report.offered} anchors; at least {LEAST_ANCHORS} are needed'
    if not report.strength:
        return (
            f'not corrected: {report.compared} of {report.offered} anchors lie in the image, '
            f'in range and away from edges; {LEAST_ANCHORS} are needed'
            + (f'; {report.problem}' if report.problem else '')
        )
    before, after = (
        100 * math.expm1(residual) for residual in (report.residual_before, report.residual_after)
    )
    problem = f'; {report.problem}' if report.problem else ''
    return (
        f'corrected by {report.used} of {report.offered} anchors: {before:.0f} % off before, '
        f'{after:.0f} % after{problem}'
    )


def _missing(video: VideoReader) -> str:
    """Return a remark if a video ended too early, else ''."""
    if video.read >= WHOLE * video.count - 1:
        return ''
    return f'; it ends after {video.read} of the {video.count} frames that it promises'


def _beside(target: Path, suffix: str) -> Path:
    # with_suffix would not work: a name may contain dots.
    return target.parent / (target.name + suffix)


def _names(paths: Mapping[Path, Parts] | list[Path], out: Path) -> str:
    return ', '.join(str(path.relative_to(out)) for path in paths)


def _png(image: NDArray[Any]) -> bytes:
    return cv2.imencode('.png', image)[1].tobytes()


def _csv(scan: DepthScan) -> bytes:
    """Return the angle and range of each beam, with the node's full 32-bit precision."""
    lines = [
        'angle,range',
        *(f'{angle:.9g},{metres:.9g}' for angle, metres in zip(scan.angles, scan.ranges)),
    ]
    return ('\n'.join(lines) + '\n').encode()


def _npy(depth: NDArray[np.float32]) -> bytes:
    content = io.BytesIO()
    np.save(content, depth, allow_pickle=False)
    return content.getvalue()


def _one_line(error: Exception) -> str:
    text = getattr(error, 'strerror', None) or str(error)
    return ' '.join(str(text).split())


def _metres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is no distance in metres')
    return value


def _say(text: str) -> None:
    sys.stderr.write(f'{text}\n')
    sys.stderr.flush()
