# SPDX-License-Identifier: Apache-2.0
"""Read camera files written by calibration and recording programs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.camera.rectification import Calibration, calibration_of, is_uncalibrated
from depth_perception.errors import why_missing
from depth_perception.reading import NotTextError, read_text

FORMATS = (
    'give JSON with width, height, fx, fy, cx, cy; the YAML or ost.txt of '
    'camera_calibration or of "ros2 topic echo --once .../camera_info"; YAML of OpenCV; a '
    'camchain of Kalibr; or the intrinsics of RealSense or Open3D as JSON'
)
_WIDTH, _HEIGHT = (
    ('image_width', 'width', 'image_Width'),
    ('image_height', 'height', 'image_Height'),
)
_SIZE = ('resolution', 'image_size', 'imageSize')
_K = ('camera_matrix', 'k', 'K', 'cameraMatrix', 'Camera_Matrix', 'intrinsic_matrix')
_D = (
    'distortion_coefficients',
    'd',
    'D',
    'distortion_coeffs',
    'distCoeffs',
    'dist_coeffs',
    'Distortion_Coefficients',
    'coeffs',
)
_R, _P = ('rectification_matrix', 'r', 'R'), ('projection_matrix', 'p', 'P')
_MODEL = ('distortion_model', 'model')
#: Focal lengths and principal point; librealsense calls the latter ppx and ppy.
_NUMBERS = (('fx',), ('fy',), ('cx', 'ppx'), ('cy', 'ppy'))
#: Maximum nesting of a camera in a file, such as {"color": {"intrinsics": {...}}}.
_DEPTH = 3


@dataclass(frozen=True)
class RegionOfInterest:
    """The field `roi` of sensor_msgs/CameraInfo."""

    x_offset: int = 0
    y_offset: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class CameraFile:
    """The contents of a camera file, in the fields of sensor_msgs/CameraInfo."""

    width: int
    height: int
    k: tuple[float, ...] = (0.0,) * 9
    d: tuple[float, ...] = ()
    distortion_model: str = ''
    r: tuple[float, ...] = (0.0,) * 9
    p: tuple[float, ...] = (0.0,) * 12
    binning_x: int = 0
    binning_y: int = 0
    roi: RegionOfInterest = RegionOfInterest()

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of the images, after region of interest and binning."""
        return (
            (self.roi.width or self.width) // max(1, self.binning_x),
            (self.roi.height or self.height) // max(1, self.binning_y),
        )

    def calibration(self, width: int, height: int) -> Calibration:
        """Return the calibration for an image of this size, by the rules of the node.

        Raises:
            CameraError: the image cannot be a resized image of this camera.
        """
        return calibration_of(self, width, height)


def read_camera(path: str | Path) -> tuple[CameraModel, bool]:
    """Read a camera from a file.

    Returns:
        The camera model, and whether images must be rectified to match it.

    Raises:
        CameraError: see `read_camera_file`.

    Warns:
        UserWarning: a value is implausible, or the distortion cannot be undone.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from depth_perception import read_camera
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, 'camera.json')
        ...     _ = file.write_text('{"width": 640, "height": 480, "fx": 525, "fy": 525, '
        ...                         '"cx": 319.5, "cy": 239.5}')
        ...     camera, must_be_rectified = read_camera(file)
        >>> camera.fx, must_be_rectified
        (525.0, False)
    """
    file = read_camera_file(path)
    calibration = file.calibration(*file.image_size)
    for said in filter(None, (*calibration.doubts, calibration.unknown)):
        warnings.warn(f'camera {path}: {said}', stacklevel=2)
    if calibration.is_distorted and not calibration.unknown:
        return calibration.rectified, True
    return calibration.camera, calibration.is_distorted


def read_camera_file(path: str | Path) -> CameraFile:
    """Read a camera file; `FILE:NAME` selects one of several cameras in a file.

    Raises:
        CameraError: the file cannot be read or does not describe a camera.
    """
    path, name = _split(str(path))
    try:
        return _checked(_chosen(_document(read_text(path)), name))
    except NotTextError as error:  # a kind of ValueError
        raise CameraError(f'cannot use camera: {error}; {FORMATS}') from error
    except OSError as error:
        reason = why_missing(path, error.strerror or str(error))
        raise CameraError(f'cannot read camera {path}: {reason}') from error
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise CameraError(f'cannot use camera {path}: {error}') from error


def _split(path: str) -> tuple[str, str]:
    """Split `FILE:NAME` into the file and the name of the camera, '' without a name."""
    file, colon, name = path.rpartition(':')
    return (
        (file, name) if colon and not Path(path).exists() and Path(file).is_file() else (path, '')
    )


def _checked(camera: CameraFile) -> CameraFile:
    if is_uncalibrated(camera):
        raise CameraError('it is uncalibrated: its focal length is 0')
    camera.calibration(*camera.image_size)
    return camera


# The document: text to mappings ------------------------------------------------------------


def _document(text: str) -> Mapping[str, Any]:
    """Return the first mapping in a JSON or YAML text, or the values of an ost.txt."""
    for found in _documents(text):
        if isinstance(found, Mapping):
            return found
    raise CameraError(f'it is neither JSON nor YAML of a camera; {FORMATS}')


def _documents(text: str) -> Iterable[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    if '[image]' in text and 'camera matrix' in text:
        return [_ost(text)]
    import yaml

    # OpenCV's first line, "%YAML:1.0", is not valid YAML.
    if text.startswith('%YAML:'):
        text = text.partition('\n')[2]
    try:
        # "ros2 topic echo" ends every message with "---".
        return list(yaml.load_all(text, _loader()))
    except yaml.YAMLError:
        return []


def _loader() -> type:
    """Return PyYAML's safe loader, extended by OpenCV's matrices."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no type hints
        pass

    Loader.add_constructor(
        'tag:yaml.org,2002:opencv-matrix',
        lambda loader, node: loader.construct_mapping(node, deep=True),
    )
    return Loader


def _ost(text: str) -> dict[str, Any]:
    """Parse the ost.txt of camera_calibration: lines of values after a line with their name."""
    found: dict[str, Any] = {}
    name = ''
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith(('#', '[')):
            continue
        try:
            found.setdefault(name, []).extend(float(word) for word in line.split())
        except ValueError:
            name = line
    names = {
        'width': 'width',
        'height': 'height',
        'camera matrix': 'k',
        'distortion': 'd',
        'rectification': 'r',
        'projection': 'p',
    }
    values = {names[name]: value for name, value in found.items() if name in names}
    return {**values, **{name: values[name][0] for name in ('width', 'height') if name in values}}


# The camera: mappings to fields ------------------------------------------------------------


def _chosen(document: Mapping[str, Any], name: str) -> CameraFile:
    """Return the camera with this name; without a name, the only one."""
    found = dict(_cameras('', document, _DEPTH))
    if not found and _has_matrix(document):
        raise CameraError(
            'it has a camera matrix, but no image size: add image_width and image_height'
        )
    if not found:
        raise CameraError(f'it has no image size or no camera matrix; {FORMATS}')
    if not name and len(found) == 1:
        name = next(iter(found))
    if name not in found:
        what = f'no camera {name!r} but' if name else 'several cameras:'
        raise CameraError(f'it has {what} {", ".join(found)}; name one as FILE:{next(iter(found))}')
    return _camera_of(found[name])


def _cameras(
    name: str, document: Mapping[str, Any], depth: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each mapping that describes a camera, with its dotted name in the document."""
    if _describes_camera(document):
        yield name, document
    elif depth:
        for key, value in document.items():
            if isinstance(value, Mapping):
                below = name if key in ('intrinsic', 'intrinsics') else f'{name}.{key}'
                yield from _cameras(below.lstrip('.'), value, depth - 1)


def _describes_camera(document: Mapping[str, Any]) -> bool:
    has_size = (
        all(_first(document, names) is not None for names in (_WIDTH, _HEIGHT))
        or _first(document, _SIZE) is not None
    )
    return has_size and _has_matrix(document)


def _has_matrix(document: Mapping[str, Any]) -> bool:
    has_numbers = all(_first(document, names) is not None for names in _NUMBERS)
    return (
        has_numbers
        or isinstance(document.get('intrinsics'), list)
        or any(_values(document, names) for names in (_K, _P))
    )


def _camera_of(document: Mapping[str, Any]) -> CameraFile:
    width, height = _size(document)
    roi = document.get('roi') or {}
    fields = ('x_offset', 'y_offset', 'width', 'height')
    return CameraFile(
        width,
        height,
        _matrix_k(document),
        _values(document, _D),
        _model(document),
        _matrix(document, _R, 9),
        _matrix(document, _P, 12),
        int(document.get('binning_x') or 0),
        int(document.get('binning_y') or 0),
        RegionOfInterest(*(int(roi.get(name) or 0) for name in fields)),
    )


def _size(document: Mapping[str, Any]) -> tuple[int, int]:
    both = _values(document, _SIZE) or tuple(
        float(_first(document, names)) for names in (_WIDTH, _HEIGHT)
    )
    return int(both[0]), int(both[1])


def _matrix_k(document: Mapping[str, Any]) -> tuple[float, ...]:
    numbers = [_first(document, names) for names in _NUMBERS]
    if 'intrinsics' in document and 'camera_model' in document:
        return _kalibr(document)
    if all(number is not None for number in numbers):
        fx, fy, cx, cy = map(float, numbers)
        return fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0
    k = _matrix(document, _K, 9)
    # Open3D writes the matrix in column-major order.
    return k[0::3] + k[1::3] + k[2::3] if any(k[6:8]) and not (k[2] or k[5]) else k


def _kalibr(document: Mapping[str, Any]) -> tuple[float, ...]:
    """Return K for the intrinsics fu, fv, pu, pv of Kalibr."""
    values = _values(document, ('intrinsics',))
    if document['camera_model'] != 'pinhole' or len(values) != 4:
        raise CameraError(
            f'camera model {document["camera_model"]!r} with {len(values)} '
            'intrinsics is not a pinhole camera: calibrate as pinhole-radtan or '
            'pinhole-equi'
        )
    return values[0], 0.0, values[2], 0.0, values[1], values[3], 0.0, 0.0, 1.0


def _model(document: Mapping[str, Any]) -> str:
    # OpenCV's calibration example writes fisheye_model: 1.
    return (
        'equidistant' if document.get('fisheye_model') == 1 else str(_first(document, _MODEL) or '')
    )


def _matrix(document: Mapping[str, Any], names: tuple[str, ...], count: int) -> tuple[float, ...]:
    """Return the numbers of a matrix, or zeros if the document does not have it."""
    values = _values(document, names) or (0.0,) * count
    if len(values) != count:
        raise CameraError(f'{names[0]} must have {count} values, but has {len(values)}')
    return values


def _values(document: Mapping[str, Any], names: tuple[str, ...]) -> tuple[float, ...]:
    """Return the numbers under the first of these names in the document."""
    found = _first(document, names)
    found = found.get('data') if isinstance(found, Mapping) else found
    if found is not None and not isinstance(found, list | tuple):
        raise CameraError(f'{names[0]} must be a list of numbers, got {found!r}')
    return tuple(_flat(found or ()))


def _flat(values: Iterable[Any]) -> Iterator[float]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield float(value)


def _first(document: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((document[name] for name in names if document.get(name) is not None), None)
