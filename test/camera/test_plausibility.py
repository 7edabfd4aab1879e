# SPDX-License-Identifier: Apache-2.0
"""Implausible calibrations are reported with value and cause; usual ones are not.

The cases come from bug reports of camera drivers.
"""

from __future__ import annotations

import dataclasses

import pytest

from depth_perception.camera.distortion import understood
from depth_perception.camera.file import CameraFile, RegionOfInterest
from depth_perception.camera.model import CameraError
from depth_perception.camera.plausibility import doubts


def info(width=640, height=480, fx=500.0, fy=None, cx=None, cy=None, skew=0.0, p=None, **fields):
    cx, cy = (width - 1) / 2 if cx is None else cx, (height - 1) / 2 if cy is None else cy
    fields = {'p': p, **fields} if p else fields
    return CameraFile(width, height, (fx, skew, cx, 0.0, fy or fx, cy, 0.0, 0.0, 1.0), **fields)


@pytest.mark.parametrize(
    'camera',
    [
        info(),
        info(fx=2000 / 2.2),
        info(fx=150.0),
        info(fy=540.0),
        info(cx=200.0, cy=330.0),
        info(binning_x=2, binning_y=2, roi=RegionOfInterest(160, 120, 320, 240)),
        info(roi=RegionOfInterest(0, 240, 640, 240)),
        info(skew=0.01),
        info(width=0, height=0),
        info(p=(430.0, 0.0, 300.0, -42.6, 0.0, 430.0, 250.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
        info(516, 384, 299.5, cx=254.1, cy=183.9),
    ],
)
def test_usual_cameras_have_no_findings(camera):
    assert doubts(camera) == ()


CASES = {
    'K of the binned image': (
        info(2064, 1544, 299.5, cx=254.1, cy=183.9, binning_x=4, binning_y=4),
        ('(254.1, 183.9)', 'of the binned image'),
    ),
    'principal point relative': (info(cx=0.5, cy=0.5), ('(0.5, 0.5)', 'relative to the size')),
    'focal length in millimetres': (info(fx=3.6), ('3.6', 'millimetres')),
    'focal length relative': (info(fx=0.8), ('0.8', 'relative to the size')),
    'of a larger image': (info(fx=4000.0), ('4000', 'degrees', 'larger image')),
    'of a larger image, centre': (info(cx=959.5, cy=539.5), ('(959.5, 539.5)', 'larger image')),
    'region larger than the image': (
        info(roi=RegionOfInterest(0, 0, 1280, 960)),
        ('1280x960', '640x480'),
    ),
    'size of the region': (
        info(320, 240, cx=319.5, cy=239.5, roi=RegionOfInterest(160, 120, 320, 240)),
        ('320x240 at (160, 120)', 'full'),
    ),
    'region without a size': (info(roi=RegionOfInterest(16, 8, 0, 0)), ('(16, 8)',)),
    'skew': (info(skew=4.26), ('skew of 4.26',)),
    'pixels that are not square': (info(fy=1000.0), ('500 and 1000', 'stretched')),
    'P of another image': (
        info(p=(500.0, 0.0, 40.0, 0.0, 0.0, 500.0, 30.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
        ('P has its principal point at (40, 30)',),
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_implausible_camera_gives_one_finding_with_value_and_cause(case):
    camera, words = CASES[case]
    found = doubts(camera)
    assert len(found) == 1 and all(word in found[0] for word in words), found


def test_invalid_numbers_are_not_reported_here():
    assert doubts(info(fx=float('nan'))) == () and doubts(info(fy=-500.0)) == ()
    assert doubts(CameraFile(640, 480)) == ()


# Names and coefficients of distortion.


@pytest.mark.parametrize(
    'name, d, model, coefficients',
    [
        ('plumb_bob', (0.1, -0.1, 0, 0, 0), 'plumb_bob', (0.1, -0.1, 0, 0, 0)),
        ('radtan', (0.1, -0.1, 0, 0), 'plumb_bob', (0.1, -0.1, 0, 0)),
        ('Brown Conrady', (0.1, -0.1, 0, 0, 0), 'plumb_bob', (0.1, -0.1, 0, 0, 0)),
        ('distortion.brown_conrady', (0.1,), 'plumb_bob', (0.1, 0, 0, 0)),
        ('plumb_bob', (0.1, -0.1, 0), 'plumb_bob', (0.1, -0.1, 0, 0)),
        ('plumb_bob', (0.1, 0, 0, 0, 0, 0.2), 'plumb_bob', (0.1, 0, 0, 0, 0, 0.2, 0, 0)),
        ('rational_polynomial', (0.1,) * 5, 'rational_polynomial', (0.1,) * 5),
        ('fisheye', (0.1,) * 4, 'equidistant', (0.1,) * 4),
        ('kannala_brandt4', (0.1, 0.2, 0.3, 0.4, 0), 'equidistant', (0.1, 0.2, 0.3, 0.4)),
        ('equidistant', (0.1, 0.2, 0.3), 'equidistant', (0.1, 0.2, 0.3, 0)),
        ('', (0.1,) * 5, '', (0.1,) * 5),
        ('None', (), '', ()),
        ('anything', (0.0,) * 5, '', ()),
    ],
)
def test_model_names_and_numbers_of_coefficients_are_recognised(name, d, model, coefficients):
    lens = understood(name, d)
    assert (lens.model, lens.coefficients, lens.remark) == (model, coefficients, '')


@pytest.mark.parametrize(
    'name, d',
    [
        ('Inverse Brown Conrady', (0.1,) * 5),
        ('thin_prism', (0.1,) * 4),
        ('None', (0.1,) * 4),
        ('plumb_bob', (0.1, 0.1, 0.1)),
        ('plumb_bob', (0.1,) * 15),
        ('equidistant', (0.1,) * 5),
    ],
)
def test_error_names_an_unknown_distortion_model(name, d):
    with pytest.raises(CameraError) as caught:
        understood(name, d)
    assert repr(name) in str(caught.value) and str(len(d)) in str(caught.value)


def test_four_unnamed_coefficients_of_a_wide_lens_are_fisheye_with_a_remark():
    d = (0.175, -0.03, 0.0003, -0.0007)
    wide = dataclasses.replace(info(fx=250.0), d=d).calibration(640, 480)
    assert wide.model == 'equidistant' and '104 degrees' in wide.doubts[0]
    narrow = dataclasses.replace(info(), d=d).calibration(640, 480)
    assert narrow.model == '' and not narrow.doubts
