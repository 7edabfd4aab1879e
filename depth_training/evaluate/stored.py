# SPDX-License-Identifier: Apache-2.0
"""Predictions of any program as files, which are evaluated like those of a network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_perception.errors import UsageError, why_missing
from depth_training.data import DataError, Sample
from depth_training.data.depth_files import SUFFIXES, read_stored
from depth_training.data.scales import KNOWN_SCALES
from depth_training.evaluate.alignment import Kind
from depth_training.evaluate.evaluation import DepthSource, Prediction
from depth_training.evaluate.geometry import WHOLE
from depth_training.evaluate.protocols import Protocol

#: Predicted / true median depth that one picture, or the median of several, may have.
_OF_ONE, _OF_SEVERAL, _SEVERAL = 20.0, 3.0, 5


_FOLDER = 'a folder with NAME.png, NAME.npy or NAME.exr for each picture'


class StoredPredictions(DepthSource):
    """A folder with a file for each picture: NAME.png, NAME.npy or NAME.exr, of the frame's size.

    NAME is the picture's path in the data without its suffix, or the end of it, such as
    `kitchen/rgb_00012` or `rgb_00012`.

    Args:
        folder: the folder.
        kind: what the files hold.
        scale: units per metre; None for the usual ones: 1000 for 16-bit integers, 1 for floats.

    Raises:
        UsageError: it is not a folder, or relative predictions have a scale.
    """

    def __init__(self, folder: Path, kind: Kind = 'metres', scale: float | None = None) -> None:
        if not folder.is_dir():
            why = 'it is a file' if folder.is_file() else why_missing(folder, 'no such folder')
            raise UsageError(f'--predictions {folder}: {why}; give {_FOLDER}')
        if kind != 'metres' and scale is not None:
            raise UsageError(f'--prediction-scale is for metres, and these are {kind}: omit it')
        self.folder, self.kind, self._scale = folder, kind, scale
        self._used: dict[Path, str] = {}
        self._ratios: list[float] = []

    def predict(self, sample: Sample, protocol: Protocol) -> Prediction:
        """Read the prediction for a pair.

        Raises:
            DataError: there is none, or it cannot be used; one sentence with the file's name.
        """
        file = self._find(sample.id)
        stored = read_stored(file)
        _check_values(file, stored, sample)
        prediction = stored.astype(np.float32)
        if self.kind == 'metres':
            prediction /= np.float32(self._scale_of(file, stored))
            if self._scale is None and protocol.align == 'none':
                self._check_unit(file, stored, prediction, sample)
        return Prediction(prediction, WHOLE.scaled(prediction.shape), 1.0)

    def seen(self) -> str:
        """Say that nothing is known about that."""
        return 'the predictions are read from files'

    def about(self) -> dict[str, Any]:
        """Return the folder's name; no recipe belongs to it."""
        name = self.folder.resolve().name
        return {'name': name, 'recipe': '', 'recipe_name': '', 'origin': 'predictions'}

    def remarks(self) -> list[str]:
        """Return a doubt about the unit; forget the pictures."""
        ratios, self._ratios = self._ratios, []
        if not ratios or _is_near(float(np.median(ratios)), _OF_SEVERAL):
            return []
        return [
            f'the predictions are {np.median(ratios):.2g} times the truth: is their unit right '
            '(--prediction-scale)?'
        ]

    def _find(self, name: str) -> Path:
        """Return the file of a picture."""
        parts = name.split('/')
        for start in range(len(parts)):
            stem = '/'.join(parts[start:])
            files = [file for s in SUFFIXES if (file := self.folder / f'{stem}{s}').is_file()]
            if len(files) > 1:
                raise DataError(f'{files[0]} and {files[1]} are for the same picture: remove one')
            if files:
                return self._of_one_picture(files[0], name)
        raise DataError(
            f'no prediction for the picture {name}: there is no {parts[-1]} with '
            f'{", ".join(SUFFIXES)} in {self.folder}, and none in a folder of its own, such as '
            f'{self.folder / name}{SUFFIXES[0]}'
        )

    def _of_one_picture(self, file: Path, name: str) -> Path:
        if (other := self._used.setdefault(file, name)) != name:
            raise DataError(
                f'{file} would be the prediction for both {other} and {name}: name the files '
                'like the pictures with their folders'
            )
        return file

    def _scale_of(self, file: Path, stored: NDArray[np.generic]) -> float:
        if self._scale is not None:
            return self._scale
        if stored.dtype == np.uint8:
            raise DataError(
                f'{file} has 8 bits per pixel, which cannot be millimetres: give its units per '
                'metre with --prediction-scale, or --prediction-kind if it does not hold metres'
            )
        return 1.0 if np.issubdtype(stored.dtype, np.floating) else 1000.0

    def _check_unit(
        self,
        file: Path,
        stored: NDArray[np.generic],
        prediction: NDArray[np.float32],
        sample: Sample,
    ) -> None:
        """Refuse predictions whose unit must be another one than assumed."""
        known = sample.depth > 0
        truth, found = float(np.median(sample.depth[known])), float(np.median(prediction[known]))
        if found <= 0:
            return  # their scores tell
        self._ratios.append(found / truth)
        middle = float(np.median(self._ratios))
        if _is_near(self._ratios[-1], _OF_ONE) and (
            len(self._ratios) < _SEVERAL or _is_near(middle, _OF_SEVERAL)
        ):
            return
        used = self._scale_of(file, stored)
        likely = min(KNOWN_SCALES, key=lambda scale: abs(math.log(found * used / scale / truth)))
        raise DataError(
            f'{file}: its median would be {found:.3g} m, that of the truth is {truth:.3g} m: give '
            f'the units per metre with --prediction-scale, likely {likely:g} '
            f'({KNOWN_SCALES[likely]}), or confirm with --prediction-scale {used:g}'
        )


def _is_near(ratio: float, factor: float) -> bool:
    return 1 / factor <= ratio <= factor


def _check_values(file: Path, stored: NDArray[np.generic], sample: Sample) -> None:
    """Refuse a prediction of another size than its picture, or with values that are no numbers."""
    if stored.shape != sample.depth.shape:
        sizes = ['x'.join(map(str, shape[::-1])) for shape in (stored.shape, sample.depth.shape)]
        raise DataError(
            f'{file} is {sizes[0]}, its picture {sizes[1]}: resize the prediction to the picture'
        )
    odd = ~np.isfinite(stored.astype(np.float32))
    if odd.any():
        row, column = np.argwhere(odd)[0]
        raise DataError(
            f'{file} is NaN or infinite in {int(odd.sum())} of {odd.size} pixels, the first in row '
            f'{row}, column {column}: write a number for every pixel'
        )
