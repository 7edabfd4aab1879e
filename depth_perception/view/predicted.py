# SPDX-License-Identifier: Apache-2.0
"""Frames without ROS: run the network on footage in this process."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace

import numpy as np

from depth_perception.camera.model import CameraError, CameraModel
from depth_perception.depth.products import DepthProducts, ProductMaker
from depth_perception.depth.scan import CameraPose
from depth_perception.depth.settings import DEFAULT_SETTINGS, DepthSettings
from depth_perception.depth.visualise import fitted_range
from depth_perception.inference.estimator import DepthEstimator, inferred
from depth_perception.io.bag import BagError
from depth_perception.io.image_files import ImageError
from depth_perception.view.footage import Footage, Pace, Picture
from depth_perception.view.frame import Cloud, Frame, Level, Remark, Scan, Stand

#: Number of latest frames that determine the range of the colours.
FITTED = 30


class PredictedSource:
    """Source that runs the network on footage.

    Args:
        footage: the pictures.
        estimator: the network.
        repeat: whether to start again at the end.
        settings: settings of depth and its products, with the pose of the camera.
    """

    def __init__(
        self,
        footage: Footage,
        estimator: DepthEstimator,
        repeat: bool = True,
        settings: DepthSettings = DEFAULT_SETTINGS,
    ) -> None:
        self._footage = footage
        self._estimator = estimator
        self._pace = Pace(footage, repeat)
        self._settings = settings
        self._make = ProductMaker(estimator.info.max_depth)
        self._seconds: deque[float] = deque(maxlen=10)
        self._fitted: deque[tuple[float, float]] = deque(maxlen=FITTED)
        self._stand = Stand(
            math.radians(settings.camera_pitch), height=settings.camera_height or None
        )
        self._products: DepthProducts | None = None
        self._last = Frame()

    def next(self, timeout: float) -> Frame | None:
        """Return the current picture with its depth, or a remark if it cannot be used."""
        try:
            shot = self._pace.next(timeout)
            if shot is None:
                return None
            start = time.perf_counter()
            label = f'frame {shot.number + 1}, {shot.time:.2f} s'
            self._last = replace(self._frame(shot.picture(), shot.time), label=label)
            self._seconds.append(time.perf_counter() - start)
        except (ImageError, CameraError, BagError) as error:
            problem = Remark(Level.ERROR, 'input', str(error))
            self._last = replace(self._last, remarks=(problem, self._network()))
        return self._last

    @property
    def stand(self) -> Stand:
        """The current pose of the camera."""
        return self._stand

    def restand(self, stand: Stand) -> Frame:
        """Change the pose of the camera, and return the last frame with the new scan."""
        self._stand = stand
        last = replace(self._last, stand=stand)
        if self._products is not None:
            last = replace(last, scan=self._scan(self._products))
        self._last = last
        return last

    def rest(self) -> None:
        """Pause the footage."""
        self._pace.pause()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _frame(self, picture: Picture, time: float) -> Frame:
        rgb = picture.rgb
        camera = picture.camera or self._assumed(rgb.shape[1], rgb.shape[0])
        depth, confidence = inferred(
            self._estimator, rgb, self._settings.focal_camera(picture.camera), self._settings
        )
        products = self._products = self._make(
            rgb,
            camera,
            depth,
            self._settings,
            time=time,
            unseen=picture.unseen,
            confidence=confidence,
        )
        products.pose = self._pose()
        colours = self._colours(products)
        drawn = np.ascontiguousarray(products.preview(colours)[..., ::-1])
        return Frame(
            image=rgb,
            depth=drawn,
            depth_range=colours,
            cloud=Cloud(products.points, products.colours),
            scan=self._scan(products),
            camera=camera,
            stand=self._stand,
            remarks=(self._input(picture), self._network()),
        )

    def _colours(self, products: DepthProducts) -> tuple[float, float]:
        """Return the range of colours that fits the last frames, so that it rarely changes."""
        self._fitted.append(fitted_range([products.depth[::4, ::4]], *products.limits))
        return min(near for near, _ in self._fitted), max(far for _, far in self._fitted)

    def _scan(self, products: DepthProducts) -> Scan:
        found = products.scan(self._pose())
        return Scan(found.angles, found.ranges)

    def _pose(self) -> CameraPose:
        stand = self._stand
        return CameraPose(stand.pitch, stand.roll, stand.height)

    def _assumed(self, width: int, height: int) -> CameraModel:
        """Return a camera with the field of view of the training data."""
        return CameraModel.from_field_of_view(
            width, height, self._estimator.info.horizontal_fov_deg
        )

    def _input(self, picture: Picture) -> Remark:
        height, width = picture.rgb.shape[:2]
        said = '; '.join((f'{self._footage.name}, {width}x{height}', *picture.remarks))
        if picture.camera is not None:
            return Remark(Level.WARN if picture.remarks else Level.OK, 'input', said)
        return Remark(
            Level.WARN,
            'input',
            f'{said}; the camera is unknown: a horizontal field of view of '
            f'{self._estimator.info.horizontal_fov_deg:.0f} degrees is assumed '
            '(see --camera and --horizontal-fov-deg)',
        )

    def _network(self) -> Remark:
        said = f'{self._estimator.info.name} on {self._estimator.device}'
        if self._seconds:
            said += f', {1000 * sum(self._seconds) / len(self._seconds):.0f} ms per frame'
        return Remark(Level.OK, 'network', said)
