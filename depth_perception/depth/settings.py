# SPDX-License-Identifier: Apache-2.0
"""Settings of depth and its products: names, defaults, limits and meaning in one place.

`DepthSettings` is the table; the node's parameters and the options of `depth-perception predict`
and `view` are created from it. This module imports nothing large.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from depth_perception.io.weights import WeightsInfo

Camera = TypeVar('Camera')


class SettingError(ValueError):
    """A value cannot be used; the message names it and the accepted values."""


@dataclass(frozen=True)
class Option:
    """Meaning and limits of a setting.

    Attributes:
        text: meaning with its unit.
        low: inclusive lower bound of a number.
        high: inclusive upper bound of a number.
    """

    text: str
    low: float | None = None
    high: float | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """Both bounds of a number."""
        if self.low is None or self.high is None:
            raise ValueError('this setting has no limits')
        return self.low, self.high

    def problem(self, name: str, value: Any, kind: type) -> str:
        """Return why a value cannot be used, or ''; integers are accepted for floats.

        Args:
            name: of the setting.
            value: of any type.
            kind: type of the accepted values.
        """
        accepted: Any = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            return f'{name} must be of type {kind.__name__}, got {value!r}'
        number: Any = value  # a number if there are limits
        if (
            self.low is not None
            and self.high is not None
            and not (math.isfinite(number) and self.low <= number <= self.high)
        ):
            return f'{name} must be in [{self.low}, {self.high}], got {value!r}'
        return ''


def option(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    """Declare a field of a dataclass with its meaning and limits."""
    return dataclasses.field(default=default, metadata={'rule': Option(text, low, high)})


@dataclass(frozen=True)
class DepthSettings:
    """Settings of depth and its products.

    Examples:
        >>> from depth_perception import DepthSettings
        >>> DepthSettings(max_depth=5.0).limits(network_max_depth=10.0)
        (0.3, 5.0)
        >>> DepthSettings(point_stride=17)
        Traceback (most recent call last):
        depth_perception.depth.settings.SettingError: point_stride must be in [1, 16], got 17
    """

    min_depth: float = option(
        0.3,
        'metres; nearer depth becomes -Inf in the depth image, and stays an obstacle in cloud '
        'and scan',
        0,
        100,
    )
    max_depth: float = option(
        0.0, "metres; farther depth becomes +Inf; 0 = the network's own limit", 0, 100
    )
    depth_scale: float = option(
        1.0,
        'factor on every depth: true distance / published distance, from a tape measure',
        0.1,
        10,
    )
    focal_correction: bool = option(
        True, "multiply depth by the camera's focal length / that of the training images"
    )
    edge_threshold: float = option(
        0.05,
        'relative depth jump between neighbouring pixels above which the far one is removed '
        'from cloud and scan (flying pixels); 0 = off',
        0,
        1,
    )
    min_confidence: float = option(
        0.0,
        'confidence of the network below which depth becomes unknown, in all outputs, unless it is '
        'nearer than min_depth; a mask that is too strict also hides obstacles; 0 = off',
        0,
        1,
    )
    temporal_smoothing: float = option(
        0.0,
        'weight of the previous depth where the depth hardly changes, against flicker; a '
        'larger value lags more when the camera moves; 0 = off',
        0,
        0.95,
    )
    point_stride: int = option(2, 'the cloud contains every n-th pixel of both axes', 1, 16)
    point_color: bool = option(True, "the cloud has the image's colours")
    scan_min_height: float = option(
        -0.2,
        'metres above the camera; lower points are not in the scan; not used if the '
        "camera's height is known",
        -5,
        5,
    )
    scan_max_height: float = option(
        0.3, 'metres above the camera; higher points are not in the scan', -5, 5
    )
    camera_pitch: float = option(
        0.0, 'degrees by which the camera looks down (negative: up), for the scan', -80, 80
    )
    camera_height: float = option(
        0.0,
        'height of the camera above the floor in metres: objects on the floor are in the '
        'scan, the floor is not; 0 = unknown',
        0,
        20,
    )
    floor_tolerance: float = option(
        0.05,
        "metres above the floor that the scan ignores, if the camera's height is known; "
        'grows by 0.015 m with each metre of distance',
        0,
        1,
    )

    floor_model: bool = option(
        True,
        "where the camera's height is known, tell the floor from obstacles by the floor that "
        'is seen, and put what stands on it at its place there, in cloud and scan; otherwise by '
        'height alone',
    )

    def __post_init__(self) -> None:
        for name in OPTIONS:
            check(name, getattr(self, name))

    def limits(self, network_max_depth: float) -> tuple[float, float]:
        """Return the smallest and the largest depth, metres."""
        return self.min_depth, self.max_depth or network_max_depth

    def focal_camera(self, camera: Camera | None) -> Camera | None:
        """Return the camera for the estimator: None without focal correction."""
        return camera if self.focal_correction else None

    def without_confidence(self, network: str) -> str:
        """Return why these settings cannot be used with a network without confidence, or ''.

        Args:
            network: its name.
        """
        if self.min_confidence <= 0:
            return ''
        return (
            f'min_confidence {self.min_confidence:g} needs the confidence of the network, which '
            f'{network} does not give: set min_confidence to 0 (docs/confidence.md)'
        )

    def problem_with(self, network: WeightsInfo) -> str:
        """Return why these settings cannot be used with a network, or ''."""
        if misfit := self.misfit(network.max_depth):
            return misfit[1]
        return '' if network.gives_confidence else self.without_confidence(network.name)

    def misfit(self, network_max_depth: float = math.inf) -> tuple[tuple[str, str], str] | None:
        """Return two settings that contradict each other or leave no depth of a network; or None.

        Args:
            network_max_depth: metres, the limit if `max_depth` is 0.
        """
        if self.scan_min_height >= self.scan_max_height:
            return ('scan_min_height', 'scan_max_height'), (
                f'scan_min_height {self.scan_min_height} must be below '
                f'scan_max_height {self.scan_max_height}'
            )
        if 0 < self.max_depth <= self.min_depth:
            return ('min_depth', 'max_depth'), (
                f'max_depth {self.max_depth} must be above min_depth {self.min_depth}, or 0'
            )
        if self.max_depth == 0 and self.min_depth >= network_max_depth:
            return ('min_depth', 'max_depth'), (
                f'min_depth {self.min_depth:g} must be below the {network_max_depth:g} m that the '
                'network reaches, unless max_depth is set'
            )
        return None


#: Meaning and limits of each field of `DepthSettings`, by name.
OPTIONS: dict[str, Option] = {
    field.name: field.metadata['rule'] for field in dataclasses.fields(DepthSettings)
}
DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in dataclasses.fields(DepthSettings)
}


def check(name: str, value: Any) -> None:
    """Raise SettingError unless the value is of the setting's type and within its limits."""
    if problem := OPTIONS[name].problem(name, value, type(DEFAULTS[name])):
        raise SettingError(problem)


DEFAULT_SETTINGS = DepthSettings()
