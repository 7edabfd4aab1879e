# SPDX-License-Identifier: Apache-2.0
"""Count large images that reach another process on this machine, by middleware settings.

    python benchmarks/transport.py                   Fast DDS: a camera's images
    python benchmarks/transport.py --with-cloud      the node's outputs: image and cloud
    RMW_IMPLEMENTATION=rmw_cyclonedds_cpp python benchmarks/transport.py --settings as-is

A publisher sends a 640x480 depth image (1.2 MB) fifteen times a second and, with --with-cloud, a
320x240 cloud of the same size directly after it; a subscriber in another process counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter

RATE = 15.0
#: Seconds that a subscriber waits for messages, and a publisher for its subscriber.
SILENCE = 3.0
START = 30.0
SETTINGS = {
    'as-is': 'the unchanged environment',
    'default': "the middleware's defaults",
    'shared-memory': "the node's own choice: 32 MB of shared memory (large_images.fastdds.xml)",
    'LARGE_DATA': 'FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA',
    'LARGE_DATA+': 'the same with sizes for large messages',
}
LARGE_DATA = {
    'LARGE_DATA': 'LARGE_DATA',
    'LARGE_DATA+': 'LARGE_DATA?max_msg_size=4MB&sockets_size=32MB&non_blocking=true',
}
#: Environment variables that choose a transport.
CHOICES = (
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_BUILTIN_TRANSPORTS',
)


def main() -> int:
    """Print a table, or run as one of the two processes of a measurement."""
    options = _parser().parse_args()
    if options.role:
        {'publish': publish, 'listen': listen}[options.role](options)
        return 0
    print(f'{"setting":<16}{"reliability":<14}{"images":>12}{"clouds":>12}   of {options.count}')
    for setting in options.settings:
        for reliability in ('reliable', 'best_effort'):
            images, clouds = measure(setting, reliability, options)
            print(
                f'{setting:<16}{reliability:<14}{images:>12}'
                f'{clouds if options.with_cloud else "-":>12}',
                flush=True,
            )
    return 0


def measure(setting: str, reliability: str, options: argparse.Namespace) -> list[str]:
    """Count the images and clouds that arrive from one new process in another."""
    command = [
        sys.executable,
        __file__,
        '--count',
        str(options.count),
        '--reliability',
        reliability,
        *['--with-cloud'] * options.with_cloud,
        '--role',
    ]
    environment = _environment(setting)
    with subprocess.Popen([*command, 'publish'], env=environment):
        listener = subprocess.run(
            [*command, 'listen'], env=environment, capture_output=True, text=True, check=True
        )
    return listener.stdout.split()[-2:]


def publish(options: argparse.Namespace) -> None:
    """Send everything once there is a subscriber."""
    node, profile = _node('publisher', options.reliability)
    from sensor_msgs.msg import Image, PointCloud2

    image = Image(height=480, width=640, encoding='32FC1', step=2560, data=bytes(640 * 480 * 4))
    cloud = PointCloud2(
        height=240, width=320, point_step=16, row_step=5120, data=bytes(320 * 240 * 16)
    )
    outputs = [(node.create_publisher(Image, 'bench/image', profile), image)]
    if options.with_cloud:
        outputs.append((node.create_publisher(PointCloud2, 'bench/cloud', profile), cloud))
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and not all(
        publisher.get_subscription_count() for publisher, _ in outputs
    ):
        time.sleep(0.05)
    time.sleep(1.0)
    for _ in range(options.count):
        for publisher, message in outputs:
            publisher.publish(message)
        time.sleep(1 / RATE)
    time.sleep(SILENCE)


def listen(options: argparse.Namespace) -> None:
    """Count until nothing arrives for a while; print both counts."""
    node, profile = _node('subscriber', options.reliability)
    import rclpy
    from sensor_msgs.msg import Image, PointCloud2

    count: Counter[str] = Counter()
    node.create_subscription(Image, 'bench/image', lambda _: count.update(['image']), profile)
    node.create_subscription(PointCloud2, 'bench/cloud', lambda _: count.update(['cloud']), profile)
    last, total = time.monotonic() + START, 0
    while time.monotonic() < last:
        rclpy.spin_once(node, timeout_sec=0.2)
        if count.total() > total:
            last, total = time.monotonic() + SILENCE, count.total()
    print(count['image'], count['cloud'])


def _node(name: str, reliability: str) -> tuple:
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    rclpy.init()
    return (
        rclpy.create_node(f'bench_{name}'),
        QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability.upper()]),
    )


def _environment(setting: str) -> dict[str, str]:
    if setting == 'as-is':
        return dict(os.environ)
    environment = {key: value for key, value in os.environ.items() if key not in CHOICES}
    if setting in LARGE_DATA:
        environment['FASTDDS_BUILTIN_TRANSPORTS'] = LARGE_DATA[setting]
    elif setting == 'shared-memory':
        from depth_perception.ros.transport import prefer_large_shared_memory

        prefer_large_shared_memory(environment)
    return environment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog='; '.join(f'{name}: {text}' for name, text in SETTINGS.items()),
    )
    parser.add_argument('--count', type=int, default=150, help='images to send (default 150)')
    parser.add_argument('--with-cloud', action='store_true', help='send a cloud after each image')
    parser.add_argument(
        '--settings',
        nargs='+',
        choices=SETTINGS,
        default=['default', 'shared-memory', 'LARGE_DATA', 'LARGE_DATA+'],
    )
    parser.add_argument('--role', choices=['publish', 'listen'], help=argparse.SUPPRESS)
    parser.add_argument('--reliability', help=argparse.SUPPRESS)
    return parser


if __name__ == '__main__':
    sys.exit(main())
