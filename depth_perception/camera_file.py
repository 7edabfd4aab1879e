# SPDX-License-Identifier: Apache-2.0
"""Cameras from files: JSON, camera_calibration's YAML, or an echoed sensor_msgs/CameraInfo."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from depth_perception.camera import CameraError, CameraModel

_JSON_KEYS = ('width', 'height', 'fx', 'fy', 'cx', 'cy')
_FORMATS = ('give JSON with width, height, fx, fy, cx, cy, or the YAML of camera_calibration or of '
            '"ros2 topic echo --once .../camera_info"')


def read_camera(path: str | Path) -> tuple[CameraModel, bool]:
    """The camera that a file describes, and whether its lens distorts.

    Args:
        path: JSON with width, height, fx, fy, cx, cy in pixels; or YAML as camera_calibration
            writes it (image_width, camera_matrix ...) or as `ros2 topic echo` prints a
            CameraInfo (width, k ...).

    Returns:
        The camera, of K, and True where a distortion coefficient differs from zero.

    Raises:
        CameraError: the file cannot be read, or describes no camera; one sentence that names it.
    """
    try:
        return _camera_of(_document(Path(path).read_text(encoding='utf-8')))
    except OSError as error:
        raise CameraError(f'cannot read camera {path}: {error.strerror}') from error
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise CameraError(f'cannot use camera {path}: {error}') from error


def _document(text: str) -> Mapping[str, Any]:
    """The first mapping of a JSON or YAML text."""
    for found in _documents(text):
        if isinstance(found, Mapping):
            return found
    raise CameraError(f'it is neither JSON nor YAML of a camera; {_FORMATS}')


def _documents(text: str) -> Iterable[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    import yaml

    try:
        # "ros2 topic echo" ends every message with "---".
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        return []


def _camera_of(document: Mapping[str, Any]) -> tuple[CameraModel, bool]:
    if all(key in document for key in _JSON_KEYS):
        width, height, *values = (document[key] for key in _JSON_KEYS)
        return CameraModel(int(width), int(height), *map(float, values)), False
    width = document.get('image_width', document.get('width'))
    height = document.get('image_height', document.get('height'))
    matrix = _values(document, 'camera_matrix', 'k', 'K')
    if width is None or height is None or not matrix:
        raise CameraError(f'it lacks the size or the matrix of a camera; {_FORMATS}')
    distortion = _values(document, 'distortion_coefficients', 'd', 'D')
    return CameraModel.from_matrix(width, height, matrix), any(distortion)


def _values(document: Mapping[str, Any], *names: str) -> list[float]:
    """The numbers under the first of these names that is there."""
    found = next((document[name] for name in names if name in document), [])
    found = found.get('data', []) if isinstance(found, Mapping) else found
    return [float(value) for value in found or []]
