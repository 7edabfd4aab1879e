# SPDX-License-Identifier: Apache-2.0
"""Camera files of each calibration program give the same camera as in the node."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from depth_perception.camera.file import read_camera, read_camera_file
from depth_perception.camera.model import CameraError, CameraModel

CAMERA = CameraModel(128, 96, 90.0, 91.0, 64.0, 48.0)
D = (-0.3, 0.1, 0.001, -0.002)
CALIBRATION = """image_width: 128
image_height: 96
camera_name: narrow
camera_matrix: {rows: 3, cols: 3, data: [90.0, 0., 64.0, 0., 91.0, 48.0, 0., 0., 1.]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0.001, -0.002, 0.]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [80, 0, 63, 0, 0, 81, 47, 0, 0, 0, 1, 0]}
"""
OST = """# oST version 5.0 parameters


[image]

width
128

height
96

[narrow_stereo]

camera matrix
90.000000 0.000000 64.000000
0.000000 91.000000 48.000000
0.000000 0.000000 1.000000

distortion
-0.300000 0.100000 0.001000 -0.002000 0.000000

rectification
1.000000 0.000000 0.000000
0.000000 1.000000 0.000000
0.000000 0.000000 1.000000

projection
80.000000 0.000000 63.000000 0.000000
0.000000 81.000000 47.000000 0.000000
0.000000 0.000000 1.000000 0.000000
"""
ECHOED = """header:
  stamp: {sec: 1, nanosec: 0}
  frame_id: camera
height: 96
width: 128
distortion_model: plumb_bob
d: [-0.3, 0.1, 0.001, -0.002, 0.0]
k: [90.0, 0.0, 64.0, 0.0, 91.0, 48.0, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [80.0, 0.0, 63.0, 0.0, 0.0, 81.0, 47.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
"""
KALIBR = """cam0:
  cam_overlaps: []
  camera_model: pinhole
  distortion_coeffs: [-0.3, 0.1, 0.001, -0.002]
  distortion_model: radtan
  intrinsics: [90.0, 91.0, 64.0, 48.0]
  resolution: [128, 96]
  rostopic: /cam0/image_raw
"""
REALSENSE = {
    'width': 128,
    'height': 96,
    'ppx': 64.0,
    'ppy': 48.0,
    'fx': 90.0,
    'fy': 91.0,
    'model': 'distortion.brown_conrady',
    'coeffs': [*D, 0.0],
}
OPEN3D = {'width': 128, 'height': 96, 'intrinsic_matrix': [90, 0, 0, 0, 91, 0, 64, 48, 1]}
PLAIN = {'width': 128, 'height': 96, 'fx': 90, 'fy': 91, 'cx': 64, 'cy': 48}


def opencv_yaml() -> str:
    """Return a camera file written by cv2.FileStorage."""
    storage = cv2.FileStorage('.yaml', cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    storage.write('image_width', 128)
    storage.write('image_height', 96)
    storage.write('camera_matrix', np.array([[90.0, 0, 64], [0, 91, 48], [0, 0, 1]]))
    storage.write('distortion_coefficients', np.array([[*D, 0.0]]))
    text = storage.releaseAndGetString()
    return text if text.startswith('%YAML:') else f'%YAML:1.0\n{text}'


def read(tmp_path, text):
    (tmp_path / 'camera').write_text(text)
    return read_camera_file(tmp_path / 'camera')


@pytest.mark.parametrize(
    'text, distorted',
    [
        (json.dumps(PLAIN), False),
        (json.dumps({**PLAIN, 'poses': []}), False),
        ('width: 128\nheight: 96\nfx: 90\nfy: 91\ncx: 64\ncy: 48\n', False),
        (json.dumps({'width': 128, 'height': 96, 'K': [90, 0, 64, 0, 91, 48, 0, 0, 1]}), False),
        (
            json.dumps({'width': 128, 'height': 96, 'K': [[90, 0, 64], [0, 91, 48], [0, 0, 1]]}),
            False,
        ),
        (json.dumps(OPEN3D), False),
        (
            json.dumps(
                {
                    'class_name': 'PinholeCameraParameters',
                    'extrinsic': [1, 0, 0],
                    'intrinsic': OPEN3D,
                }
            ),
            False,
        ),
        (json.dumps(REALSENSE), True),
        (json.dumps({'color': {'intrinsics': REALSENSE}}), True),
        (CALIBRATION, True),
        (OST, True),
        (ECHOED, True),
        (KALIBR, True),
        (opencv_yaml(), True),
    ],
    ids=[
        'json',
        'more json',
        'plain yaml',
        'json K',
        'json rows',
        'open3d',
        'open3d parameters',
        'realsense',
        'realsense color',
        'camera_calibration',
        'ost.txt',
        'echoed',
        'kalibr',
        'opencv',
    ],
)
def test_every_format_gives_the_same_camera(tmp_path, text, distorted):
    calibration = read(tmp_path, text).calibration(128, 96)
    assert calibration.camera == CAMERA
    assert calibration.distortion[:4] == (D if distorted else ()) and not calibration.unknown
    assert not calibration.doubts


@pytest.mark.parametrize('text', [CALIBRATION, OST, ECHOED])
def test_rectified_images_have_the_camera_of_p(tmp_path, text):
    assert read(tmp_path, text).calibration(128, 96).rectified == CameraModel(
        128, 96, 80.0, 81.0, 63.0, 47.0
    )


def test_binning_and_region_of_interest_are_applied_as_in_the_node(tmp_path):
    camera = read(
        tmp_path,
        """height: 960
width: 1280
distortion_model: plumb_bob
d: []
k: [1000.0, 0.0, 639.5, 0.0, 1020.0, 479.5, 0.0, 0.0, 1.0]
binning_x: 2
binning_y: 2
roi: {x_offset: 320, y_offset: 240, height: 480, width: 640}
""",
    )
    assert camera.image_size == (320, 240)
    assert camera.calibration(320, 240).camera == CameraModel(
        1280, 960, 1000.0, 1020.0, 639.5, 479.5
    ).windowed(320, 240, 640, 480, 2, 2)


def test_read_camera_returns_p_if_images_must_be_rectified(tmp_path):
    read(tmp_path, CALIBRATION)
    assert read_camera(tmp_path / 'camera') == (CameraModel(128, 96, 80.0, 81.0, 63.0, 47.0), True)
    read(tmp_path, json.dumps(PLAIN))
    assert read_camera(tmp_path / 'camera') == (CAMERA, False)


def test_fisheye_models_of_kalibr_and_opencv_are_recognised(tmp_path):
    kalibr = KALIBR.replace('radtan', 'equidistant')
    assert read(tmp_path, kalibr).calibration(128, 96).model == 'equidistant'
    opencv = json.dumps({**PLAIN, 'd': D, 'fisheye_model': 1})
    assert read(tmp_path, opencv).calibration(128, 96).model == 'equidistant'


def test_one_of_several_cameras_is_selected_by_name(tmp_path):
    two = KALIBR + KALIBR.replace('cam0', 'cam1').replace('90.0', '95.0')
    with pytest.raises(CameraError, match=r'several cameras: cam0, cam1; name one as FILE:cam0'):
        read(tmp_path, two)
    assert read_camera_file(f'{tmp_path / "camera"}:cam1').k[0] == 95.0
    with pytest.raises(CameraError, match=r"no camera 'cam2'.* cam0, cam1"):
        read_camera_file(f'{tmp_path / "camera"}:cam2')


@pytest.mark.parametrize(
    'text, named',
    [
        (KALIBR.replace('pinhole', 'omni'), "'omni' with 4 intrinsics is not a pinhole camera"),
        (KALIBR.replace('64.0, 48.0]', '64.0]'), 'with 3 intrinsics'),
        ('[image]\nwidth\n4\nheight\n3\ncamera matrix\n1 2\n', 'must have 9 values, but has 2'),
        (json.dumps({**PLAIN, 'fx': 0, 'fy': 0}), 'uncalibrated'),
        (ECHOED.replace('width: 128', 'width: 0'), '0x96'),
        (opencv_yaml().replace('image_', 'x_'), 'no image size: add image_width'),
        ('%YAML:1.0\n---\nimage_width: 4\n', 'no image size or no camera matrix'),
    ],
)
def test_error_names_the_fault_of_the_file(tmp_path, text, named):
    with pytest.raises(CameraError, match=named) as caught:
        read(tmp_path, text)
    assert str(tmp_path / 'camera') in str(caught.value) and '\n' not in str(caught.value)
