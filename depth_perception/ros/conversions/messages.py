# SPDX-License-Identifier: Apache-2.0
"""Convert arrays to messages: depth image, preview, cloud and scan.

Messages are filled by `array.frombytes(memoryview)`, which is about forty times faster than
assigning `ndarray.tobytes()`, because rclpy checks bytes one by one.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from depth_perception.depth.millimetres import to_millimetres
from depth_perception.depth.scan import ScanLayout
from depth_perception.io.image_encoders import compressed_depth, jpeg


def depth_message(depth: NDArray[np.float32], header: Header, encoding: str) -> Image:
    """Convert depth (H, W) in metres to 32FC1, or to 16UC1 millimetres with 0 for "no depth"."""
    values = depth if encoding == '32FC1' else to_millimetres(depth)
    return _image(values, header, encoding)


def confidence_message(confidence: NDArray[np.float32], header: Header) -> Image:
    """Convert confidence (H, W), 0 to 1, to 32FC1."""
    return _image(confidence, header, '32FC1')


def preview_message(bgr: NDArray[np.uint8], header: Header) -> Image:
    """Convert a colour image, uint8 (H, W, 3), to bgr8."""
    return _image(bgr, header, 'bgr8')


def compressed_depth_message(
    depth: NDArray[np.float32], header: Header, encoding: str, limits: tuple[float, float]
) -> CompressedImage:
    """Compress what `depth_message` returns, like compressed_depth_image_transport.

    Args:
        depth: see `depth_message`.
        header: see `depth_message`.
        encoding: see `depth_message`.
        limits: smallest and largest depth, metres.
    """
    return _compressed(
        f'{encoding}; compressedDepth png', compressed_depth(depth, encoding, limits), header
    )


def jpeg_message(bgr: NDArray[np.uint8], header: Header) -> CompressedImage:
    """Compress what `preview_message` returns, like compressed_image_transport."""
    return _compressed('bgr8; jpeg compressed bgr8', jpeg(bgr), header)


def cloud_message(cloud: NDArray[np.float32], header: Header, coloured: bool) -> PointCloud2:
    """Convert an organized cloud (h, w, 4) to PointCloud2 with point_step 16."""
    height, width = cloud.shape[:2]
    names = ('x', 'y', 'z', 'rgb') if coloured else ('x', 'y', 'z')
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(names)
    ]
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=fields,
        is_bigendian=False,
        point_step=16,
        row_step=16 * width,
        data=_bytes(cloud),
        is_dense=False,
    )


def scan_message(
    ranges: NDArray[np.float32],
    layout: ScanLayout,
    header: Header,
    min_depth: float,
    scan_time: float = 0.0,
) -> LaserScan:
    """Convert ranges (count,) in metres to LaserScan; its frame has x forward and z up.

    All beams have the same time (time_increment 0), `scan_time` seconds after the previous scan.
    """
    values = array('f')
    values.frombytes(np.ascontiguousarray(ranges, np.float32).data.cast('B'))
    return LaserScan(
        header=header,
        angle_min=layout.angle_min,
        angle_max=layout.angle_max,
        angle_increment=layout.angle_increment,
        scan_time=scan_time,
        range_min=layout.range_min(min_depth),
        range_max=layout.range_max,
        ranges=values,
    )


def scan_frame(frame_id: str) -> str:
    """Return the x-forward sibling of an optical frame: `camera_optical_frame` -> `camera_frame`.

    A scan lies in the x-y plane of its frame, which in an optical frame is the image plane
    (REP-103): in that frame, the scan would be rotated by 90 degrees. Drivers name the two frames
    alike except for the word "optical"; a frame name without it is returned unchanged.
    """
    for old, new in (
        ('_optical_frame', '_frame'),
        ('_frame_optical', '_frame'),
        ('_optical_link', '_link'),
        ('_optical', ''),
    ):
        if frame_id.endswith(old):
            return frame_id[: -len(old)] + new
    return frame_id


def level_frame(frame_id: str) -> str:
    """Return the scan frame of a tilted camera: `camera_optical_frame` -> `camera_level_frame`."""
    stem = scan_frame(frame_id)
    for ending in ('_frame', '_link'):
        if stem.endswith(ending):
            return f'{stem[: -len(ending)]}_level{ending}'
    return f'{stem}_level'


def _image(values: NDArray[Any], header: Header, encoding: str) -> Image:
    height, width = values.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=values.nbytes // height,
        data=_bytes(values),
    )


def _compressed(kind: str, content: bytes, header: Header) -> CompressedImage:
    data = array('B')
    data.frombytes(content)
    return CompressedImage(header=header, format=kind, data=data)


def _bytes(values: NDArray[Any]) -> array[int]:
    data = array('B')
    data.frombytes(np.ascontiguousarray(values).data.cast('B'))
    return data
