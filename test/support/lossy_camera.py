# SPDX-License-Identifier: Apache-2.0
"""A typical camera driver: large best-effort images, no profile for Fast DDS.

    python -m test.support.lossy_camera NAMESPACE

Most of them are lost with Fast DDS's default shared memory.
"""

from __future__ import annotations

import os
import sys
import time
from array import array

from depth_perception.ros.transport import profile_variables

#: Seconds between two images.
PERIOD = 0.1


def main() -> None:
    """Publish until killed."""
    for name in profile_variables({}):
        os.environ.pop(name, None)
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = Node('lossy_camera', namespace=sys.argv[1])
    images = node.create_publisher(
        Image, 'image', QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    image = Image(
        height=960, width=1280, encoding='rgb8', step=3840, data=array('B', bytes(3840 * 960))
    )
    image.header.frame_id = 'camera_optical_frame'
    while True:
        image.header.stamp = node.get_clock().now().to_msg()
        images.publish(image)
        time.sleep(PERIOD)


if __name__ == '__main__':
    main()
