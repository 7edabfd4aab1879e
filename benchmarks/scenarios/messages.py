# SPDX-License-Identifier: Apache-2.0
"""Malformed messages, by the hundred thousand."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from benchmarks.scenarios import Outcome, scenario
from benchmarks.scenarios.stage import a_robot, is_served, node_process
from depth_perception.io.weights import save_weights
from test.support.fuzz import camera_infos, compressed_images, images, serve
from test.support.ros import camera_info, picture, rgb_image
from test.support.weights import tiny_info, tiny_network

#: Examples per run of hypothesis, which slows down as it remembers what it tried.
BATCH = 1000


@scenario(full=100_000, short=300)
def fuzz(messages: int) -> Outcome:
    """Every field of Image, CompressedImage and CameraInfo is fuzzed, with all outputs."""
    became: Counter[str] = Counter()
    kinds: list[tuple[str, Any, Callable[[Any], str]]] = [
        (
            'Image',
            images(),
            lambda m: serve(m, camera_info(max(1, m.width % 5000), max(1, m.height % 5000))),
        ),
        ('CompressedImage', compressed_images(), lambda m: serve(m, camera_info(33, 21))),
        (
            'CameraInfo',
            st.tuples(camera_infos(), st.sampled_from(['auto', 'on', 'off'])),
            lambda pair: serve(rgb_image(picture(0, 40, 30)), *pair),
        ),
    ]
    for name, strategy, use in kinds:
        left = messages // 3 + (messages % 3 if name == 'Image' else 0)
        while left > 0:
            _examples(
                strategy,
                min(left, BATCH),
                lambda m, name=name, use=use: became.update([f'{name}: {use(m)}']),
            )
            left -= BATCH
    total = sum(became.values())
    assert total >= 0.95 * messages, 'hypothesis made fewer messages than it was asked for'
    return Outcome(
        f'{total} fuzzed messages in process, every output asked for',
        '',
        {'messages': total, **dict(sorted(became.items()))},
    )


def _examples(strategy: Any, count: int, use: Callable[[Any], None]) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(message: Any) -> None:
        use(message)

    each()


@scenario(full=6000, short=400)
def fuzz_over_dds(messages: int) -> Outcome:
    """Fuzzed messages and damaged bytes go to a real process; a good frame after every 20."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / 'tiny.safetensors'
        save_weights(weights, tiny_network(), tiny_info())
        figures = _fuzz_topic(messages // 2, weights, 'image', Image, images())
        more = _fuzz_topic(
            messages // 2, weights, 'image/compressed', CompressedImage, compressed_images()
        )
    return Outcome(
        f'{figures["sent"] + more["sent"]} fuzzed messages over DDS to a real process, '
        f'{figures["good"] + more["good"]} good frames between them',
        figures['said'],
        {'sent': figures['sent'] + more['sent'], 'good': figures['good'] + more['good']},
    )


def _fuzz_topic(
    messages: int, weights: Path, topic: str, kind: type, strategy: Any
) -> dict[str, Any]:
    rng, figures = random.Random(0), Counter()
    with a_robot() as robot:
        compressed = kind is CompressedImage
        with node_process(
            robot,
            model_file=weights,
            max_age=0.0,
            image_transport='compressed' if compressed else 'raw',
        ) as node:
            robot.listen('depth/image', 'depth/points', 'scan')
            camera = robot.camera(topic=topic, kind=kind)
            pairs: list[tuple[Any, CameraInfo]] = []
            _examples(st.tuples(strategy, camera_infos()), messages // 2, pairs.append)
            for index, (message, info) in enumerate(pairs):
                for publisher, content in ((camera.infos, info), (camera.images, message)):
                    publisher.publish(_damaged(content, rng) if rng.random() < 0.1 else content)
                    figures['sent'] += 1
                    time.sleep(0.005)
                if index % 10 == 9:
                    _good_frame(robot, camera, compressed)
                    figures['good'] += 1
            _good_frame(robot, camera, compressed)
            said = _last_words(robot)
        assert node.exit_code == 0, node.exit_code
    return {**figures, 'said': said}


def _damaged(message: Any, rng: random.Random) -> bytes:
    """Change some bytes of a serialized message, and perhaps truncate it."""
    data = bytearray(serialize_message(message))
    for _ in range(rng.choice((1, 3, 10))):
        data[rng.randrange(4, min(len(data), 120))] = rng.randrange(256)
    return bytes(data[: rng.randrange(8, len(data))] if rng.random() < 0.5 else data)


def _good_frame(robot: Any, camera: Any, compressed: bool) -> None:
    import cv2

    header = camera.header()
    info = camera_info()
    info.header = header
    camera.infos.publish(info)
    if compressed:
        image = CompressedImage(header=header, format='png')
        image.data.frombytes(cv2.imencode('.png', picture())[1].tobytes())
    else:
        image = rgb_image(picture())
        image.header = header
    time.sleep(0.05)  # the node keeps only the newest message: let it process the previous ones
    camera.images.publish(image)
    is_served(robot, header)


def _last_words(robot: Any) -> str:
    texts = [
        status.message
        for array in robot.diagnostics
        for status in array.status
        if 'image dropped' in status.message
    ]
    assert texts, 'diagnostics said nothing of bad messages'
    return texts[-1].split(';')[0]
