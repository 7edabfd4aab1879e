# SPDX-License-Identifier: Apache-2.0
"""Names and coefficients of lens distortion models, as calibration programs write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depth_perception.camera.model import CameraError

#: sensor_msgs/distortion_models.hpp; the empty name means that no model is named.
UNNAMED, PLUMB_BOB, RATIONAL, EQUIDISTANT = '', 'plumb_bob', 'rational_polynomial', 'equidistant'
#: Other names of the models in Kalibr, librealsense, COLMAP, Open3D and drivers, in lower case with
#: underscores between words.
_ALIASES = {
    UNNAMED: ('',),
    PLUMB_BOB: (
        'plumb_bob',
        'plumbbob',
        'radtan',
        'radial_tangential',
        'brown',
        'brown_conrady',
        'opencv',
    ),
    RATIONAL: ('rational_polynomial', 'rational', 'full_opencv'),
    EQUIDISTANT: (
        'equidistant',
        'fisheye',
        'equi',
        'kannala_brandt',
        'kannala_brandt4',
        'kannala_brandt8',
        'kb4',
        'opencv_fisheye',
    ),
}
_MODELS = {alias: model for model, aliases in _ALIASES.items() for alias in aliases}
#: Names of models without distortion.
_NONE = ('none', 'no_distortion', 'perspective', 'pinhole')
#: Numbers of coefficients that OpenCV accepts: k1 k2 p1 p2, k3, k4 k5 k6, s1 to s4, tau_x tau_y.
_COUNTS = {PLUMB_BOB: (0, 4, 5, 8, 12, 14), EQUIDISTANT: (0, 4)}
#: Horizontal field of view in degrees above which four coefficients without a model name are taken
#: for a fisheye lens: few other wide-angle lenses see more.
FISHEYE_FOV = 90.0


@dataclass(frozen=True)
class Distortion:
    """A distortion model that OpenCV can undo.

    Attributes:
        model: `plumb_bob`, `rational_polynomial`, `equidistant`, or '' for no distortion.
        coefficients: D, with a length that OpenCV accepts for the model.
        remark: a sentence about what was guessed, or ''.
    """

    model: str = UNNAMED
    coefficients: tuple[float, ...] = ()
    remark: str = ''

    @property
    def is_fisheye(self) -> bool:
        """Whether to use OpenCV's fisheye functions."""
        return self.model == EQUIDISTANT


def understood(name: str, coefficients: Sequence[float], fov_deg: float = 0.0) -> Distortion:
    """Interpret the name of a distortion model and its coefficients D.

    Args:
        name: the name as written in the calibration.
        coefficients: D. Surplus coefficients must be zero; missing ones are filled with zeros.
        fov_deg: horizontal field of view according to K, used if the model is not named.

    Raises:
        CameraError: the model is unknown, or the number of coefficients does not fit it.
    """
    values = tuple(float(value) for value in coefficients)
    # pyrealsense2 writes "distortion.brown_conrady".
    word = '_'.join(name.lower().rpartition('.')[2].replace('-', '_').split())
    if not any(values):
        return Distortion(_MODELS.get(word, UNNAMED))
    if word in _NONE or word not in _MODELS:
        raise CameraError(
            f'distortion model {name!r} with {len(values)} coefficients is not '
            'known: use plumb_bob, rational_polynomial or equidistant'
        )
    model, remark = _MODELS[word], ''
    if model == UNNAMED and len(values) == 4 and fov_deg > FISHEYE_FOV:
        model = EQUIDISTANT
        remark = (
            f'no distortion model is named: 4 coefficients at a field of view of '
            f'{fov_deg:.0f} degrees are taken for those of a fisheye lens (equidistant)'
        )
    return Distortion(model, _fitted(name, values, _COUNTS.get(model, _COUNTS[PLUMB_BOB])), remark)


def _fitted(name: str, values: tuple[float, ...], counts: Sequence[int]) -> tuple[float, ...]:
    """Pad with zeros, or drop zeros at the end, to a length in `counts`."""
    needed = max(at + 1 for at, value in enumerate(values) if value)
    count = next((count for count in counts if count >= needed), None)
    # Three coefficients are k1 k2 k3 for a fisheye lens, but ambiguous otherwise (k1 k2 p1?).
    if count is None or (len(values) == needed == 3 and len(counts) > 2):
        raise CameraError(f'{len(values)} distortion coefficients do not fit model {name!r}')
    if len(values) in counts:
        return values
    return (*values[:count], *(0.0,) * (count - len(values)))
