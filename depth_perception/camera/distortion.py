# SPDX-License-Identifier: Apache-2.0
"""Names and coefficients of lens distortion, as the programs write them that calibrate cameras."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depth_perception.camera.model import CameraError

#: sensor_msgs/distortion_models.hpp; the empty name stands for "not said".
UNNAMED, PLUMB_BOB, RATIONAL, EQUIDISTANT = '', 'plumb_bob', 'rational_polynomial', 'equidistant'
#: What else they are called: by Kalibr, librealsense, COLMAP, Open3D and in drivers. In lower case,
#: words joined by an underscore.
_ALIASES = {
    UNNAMED: ('',),
    PLUMB_BOB: ('plumb_bob', 'plumbbob', 'radtan', 'radial_tangential', 'brown', 'brown_conrady',
                'opencv'),
    RATIONAL: ('rational_polynomial', 'rational', 'full_opencv'),
    EQUIDISTANT: ('equidistant', 'fisheye', 'equi', 'kannala_brandt', 'kannala_brandt4',
                  'kannala_brandt8', 'kb4', 'opencv_fisheye'),
}
_MODELS = {alias: model for model, aliases in _ALIASES.items() for alias in aliases}
#: Models whose name says that there is nothing to undo.
_NONE = ('none', 'no_distortion', 'perspective', 'pinhole')
#: How many coefficients OpenCV takes: k1 k2 p1 p2, k3, k4 k5 k6, s1 to s4, tau_x tau_y.
_COUNTS = {PLUMB_BOB: (0, 4, 5, 8, 12, 14), EQUIDISTANT: (0, 4)}
#: Degrees of horizontal field of view from which four coefficients without a name are those of a
#: fisheye lens: few lenses that are called wide see more without being one.
FISHEYE_FOV = 90.0


@dataclass(frozen=True)
class Distortion:
    """A model that can be undone.

    Attributes:
        model: `plumb_bob`, `rational_polynomial`, `equidistant` or '' for none.
        coefficients: as many as OpenCV takes for it.
        remark: what was guessed, or ''.
    """

    model: str = UNNAMED
    coefficients: tuple[float, ...] = ()
    remark: str = ''

    @property
    def is_fisheye(self) -> bool:
        """Whether OpenCV's fisheye functions undo it."""
        return self.model == EQUIDISTANT


def understood(name: str, coefficients: Sequence[float], fov_deg: float = 0.0) -> Distortion:
    """What a model's name and its coefficients D mean.

    Args:
        name: as it was written.
        coefficients: D; of any length where what is too much is zero, and what lacks is clear.
        fov_deg: the camera's horizontal field of view by K, for coefficients without a name.

    Raises:
        CameraError: they are not known, or do not fit together.
    """
    values = tuple(float(value) for value in coefficients)
    # pyrealsense2 writes "distortion.brown_conrady".
    word = '_'.join(name.lower().rpartition('.')[2].replace('-', '_').split())
    if not any(values):
        return Distortion(_MODELS.get(word, UNNAMED))
    if word in _NONE or word not in _MODELS:
        raise CameraError(f'distortion model {name!r} with {len(values)} coefficients is not '
                          'known: use plumb_bob, rational_polynomial or equidistant')
    model, remark = _MODELS[word], ''
    if model == UNNAMED and len(values) == 4 and fov_deg > FISHEYE_FOV:
        model = EQUIDISTANT
        remark = (f'no distortion model is named: 4 coefficients at a field of view of '
                  f'{fov_deg:.0f} degrees are taken for those of a fisheye lens (equidistant)')
    return Distortion(model, _fitted(name, values, _COUNTS.get(model, _COUNTS[PLUMB_BOB])), remark)


def _fitted(name: str, values: tuple[float, ...], counts: Sequence[int]) -> tuple[float, ...]:
    """The coefficients with zeros added, or those at the end left out."""
    needed = max(at + 1 for at, value in enumerate(values) if value)
    count = next((count for count in counts if count >= needed), None)
    # Three may be k1 k2 k3 or k1 k2 p1; of a fisheye lens they are k1 k2 k3.
    if count is None or (len(values) == needed == 3 and len(counts) > 2):
        raise CameraError(f'{len(values)} distortion coefficients do not fit model {name!r}')
    if len(values) in counts:
        return values
    return (*values[:count], *(0.0,) * (count - len(values)))
