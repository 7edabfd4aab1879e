# SPDX-License-Identifier: Apache-2.0
"""Strategies for malformed messages, and checks that must always hold.

A message starts as a good one, and some of its fields are replaced. So most messages pass the first
checks, and all checks are reached.
"""

from __future__ import annotations

import functools
import math
from array import array
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_perception.camera.model import CameraError
from depth_perception.depth.scan import LEVEL, CameraPose
from depth_perception.io.image_messages import ENCODINGS, FrameError
from depth_perception.ros.conversions.topics import (
    CONFIDENCE,
    DEPTH,
    DEPTH_PNG,
    INFO,
    OUTPUTS,
    POINTS,
    PREVIEW,
    PREVIEW_JPEG,
    SCAN,
)
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.parameters import Settings
from depth_perception.ros.node.pipeline import Pipeline, Result
from depth_perception.ros.node.scan_pose import ScanPose
from test.support.estimators import StandIn
from test.support.ros import camera_info, picture

UINT8, UINT32 = 2**8 - 1, 2**32 - 1
WORDS = st.one_of(
    st.sampled_from([*ENCODINGS, '', 'rgb', 'RGB8', '32FC1', 'jpeg', 'plumb_bob']),
    st.text(max_size=12).filter(lambda text: '\0' not in text),
)
SIZES = st.one_of(st.integers(1, 40), st.sampled_from([0, 1, 2, 3, 640, 65536, UINT32]))
FLOATS = st.one_of(
    st.floats(-1e3, 1e3),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, 1e30, math.inf, -math.inf, math.nan]),
)
MODELS = st.one_of(
    *[st.sampled_from(['plumb_bob', 'rational_polynomial', 'equidistant', ''])] * 4, WORDS
)
ANYTHING = frozenset(OUTPUTS)
TILTED = CameraPose(0.3, 0.1, 0.5)


@st.composite
def headers(draw: Any) -> Header:
    header = Header(
        frame_id=draw(
            st.one_of(st.sampled_from(['camera_optical_frame', 'camera_link', '']), WORDS)
        )
    )
    header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    header.stamp.nanosec = draw(st.integers(0, UINT32))
    return header


def noise(seed: int, count: int) -> array:
    """Return `count` random bytes, since hypothesis is slow for long ones."""
    return array('B', np.random.default_rng(seed).bytes(count))


@st.composite
def images(draw: Any) -> Image:
    encoding = draw(st.sampled_from(list(ENCODINGS)))
    layout = ENCODINGS[encoding]
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    step = width * layout.channels * layout.bits // 8 + draw(st.sampled_from([0, 0, 1, 7]))
    message = Image(
        header=draw(headers()),
        width=width,
        height=height,
        encoding=encoding,
        step=step,
        is_bigendian=draw(st.integers(0, 1)),
    )
    count = int(height * layout.rows) * step + draw(st.sampled_from([0, 0, 1, 100, -1, -step]))
    message.data = noise(draw(st.integers(0, 9)), max(0, count))
    for field, values in {
        'encoding': WORDS,
        'width': SIZES,
        'height': SIZES,
        'step': SIZES,
        'is_bigendian': st.integers(0, UINT8),
        'data': st.binary(max_size=64).map(lambda b: array('B', b)),
    }.items():
        if draw(st.integers(0, 9)) == 0:
            setattr(message, field, draw(values))
    return message


@functools.cache
def encoded(extension: str, colours: int, bits: int = 8) -> bytes:
    rgb = picture(1, 33, 21)
    if bits > 8 and extension in ('.png', '.tiff'):
        rgb = rgb.astype(np.uint16) << (bits - 8)
    return cv2.imencode(extension, rgb if colours == 3 else rgb[..., 0])[1].tobytes()


@st.composite
def compressed_images(draw: Any) -> CompressedImage:
    data = bytearray(
        encoded(
            draw(st.sampled_from(['.jpg', '.png', '.tiff', '.bmp', '.webp'])),
            draw(st.sampled_from([1, 3])),
            draw(st.sampled_from([8, 12, 16])),
        )
    )
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 4, 20]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, UINT8))
    if draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 9)) == 0:
        data = bytearray(draw(st.binary(max_size=200)))
    form = draw(
        st.one_of(
            st.sampled_from(
                [
                    'jpeg',
                    'png',
                    'rgb8; jpeg compressed bgr8',
                    '16UC1; compressedDepth png',
                    '',
                    'rgb8; jpeg compressed rgb8',
                    'bayer_rggb8; jpeg compressed ',
                    'nv24; png compressed',
                    'bayer_grbg16; png compressed ',
                    'bayer_; png compressed ',
                    'yuv422_yuy2; jpeg compressed mono8',
                ]
            ),
            WORDS,
        )
    )
    return CompressedImage(header=draw(headers()), format=form, data=array('B', bytes(data)))


@st.composite
def camera_infos(draw: Any, width: int = 40, height: int = 30) -> CameraInfo:
    message = camera_info(width, height, draw(st.sampled_from([None, 10.0, 500.0])))
    message.header = draw(headers())
    message.distortion_model = draw(MODELS)
    count = draw(st.sampled_from([0, 4, 5, 8, 12, 14]))
    message.d = draw(st.lists(st.floats(-1, 1), min_size=count, max_size=count))
    for name in ('k', 'p', 'r'):
        matrix = getattr(message, name)
        for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, 2, 12]))):
            matrix[draw(st.integers(0, len(matrix) - 1))] = draw(FLOATS)
    if draw(st.integers(0, 9)) == 0:
        message.d = draw(st.lists(FLOATS, max_size=20))
    for field in ('width', 'height', 'binning_x', 'binning_y'):
        if draw(st.integers(0, 19)) == 0:
            setattr(message, field, draw(SIZES))
    if draw(st.integers(0, 6)) == 0:
        for field in ('x_offset', 'y_offset', 'width', 'height'):
            setattr(message.roi, field, draw(SIZES))
        message.roi.do_rectify = draw(st.booleans())
    return message


def serve(message: Image | CompressedImage, info: CameraInfo, rectify: str = 'auto') -> str:
    """Process a message completely; return `refused` or the result.

    Raises:
        AssertionError: an output has a wrong size, or is missing without a message.
        Exception: anything but a refusal is a defect.
    """
    cameras = Calibrations(rectify)
    cameras.update(info)
    pose = ScanPose(TILTED if rectify == 'on' else LEVEL, 'camera_frame')
    pipeline = Pipeline(StandIn(lambda rgb, _: rgb[..., 0] / 25 + 0.1), cameras, lambda *_: pose)
    settings = Settings()
    try:
        result = pipeline.process(message, ANYTHING, settings)
    except (FrameError, CameraError) as error:
        assert 0 < len(str(error)) < 1000, error
        return 'refused'
    if isinstance(message, Image):
        assert result.size == (message.width, message.height)
    check_outputs(result, message.header, settings)
    return 'depth alone' if result.camera_problem else 'all outputs'


def check_outputs(result: Result, header: Header, settings: Settings) -> None:
    width, height = result.size
    pictures = {DEPTH, PREVIEW, DEPTH_PNG, PREVIEW_JPEG, CONFIDENCE}
    expected = pictures if result.camera_problem else ANYTHING
    assert set(result.outputs) == expected, (set(result.outputs), result.camera_problem)
    for topic, size in ((DEPTH, 4), (PREVIEW, 3)):
        image = result.outputs[topic]
        assert (image.width, image.height, image.step) == (width, height, size * width)
        assert len(image.data) == size * width * height and image.header == header
    if result.camera_problem:
        return
    cloud, scan, info = (result.outputs[topic] for topic in (POINTS, SCAN, INFO))
    stride = settings.point_stride
    assert (cloud.width, cloud.height) == (-(-width // stride), -(-height // stride))
    assert len(cloud.data) == cloud.row_step * cloud.height == 16 * cloud.width * cloud.height
    assert 0 < len(scan.ranges) <= 4 * width + 8 and scan.header.stamp == header.stamp
    angles = (scan.angle_min, scan.angle_max, scan.angle_increment)
    assert all(map(math.isfinite, angles)) and scan.angle_increment > 0
    last = scan.angle_min + (len(scan.ranges) - 1) * scan.angle_increment
    assert abs(last - scan.angle_max) < 1e-3 and -3.2 < scan.angle_min <= scan.angle_max < 3.2
    check_info(info, width, height)


def check_info(info: CameraInfo, width: int, height: int) -> None:
    """Check that the published calibration fits the image size, according to CameraInfo.msg."""
    roi = info.roi
    window = roi.width or info.width, roi.height or info.height
    binned = window[0] // max(1, info.binning_x), window[1] // max(1, info.binning_y)
    assert binned == (width, height), (binned, width, height)
    assert math.isfinite(info.k[0]) and info.k[0] > 0
