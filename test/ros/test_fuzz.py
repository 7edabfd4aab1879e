# SPDX-License-Identifier: Apache-2.0
"""Any message either gives outputs of the right size or is refused with one sentence.

`python -m benchmarks.faults fuzz` does the same with a hundred thousand messages.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import Image

from test.support.fuzz import camera_infos, compressed_images, images, serve
from test.support.ros import camera_info, picture, rgb_image

COUNT = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
RECTIFY = st.sampled_from(['auto', 'on', 'off'])


@COUNT
@given(images())
def test_any_image_is_served_or_refused(message):
    serve(message, camera_info(max(1, message.width % 5000), max(1, message.height % 5000)))


@COUNT
@given(compressed_images())
def test_any_compressed_image_is_served_or_refused(message):
    serve(message, camera_info(33, 21))


@COUNT
@given(camera_infos(), RECTIFY)
def test_any_camera_info_leaves_the_depth_alone(info, rectify):
    serve(rgb_image(picture(0, 40, 30)), info, rectify)


def test_the_fuzz_reaches_the_outputs():
    """Most images must pass the first check; otherwise the code after it is not tested."""
    became = []

    @COUNT
    @given(images())
    def count(message: Image) -> None:
        became.append(
            serve(message, camera_info(message.width, message.height))
            if message.width and message.height
            else 'refused'
        )

    count()
    assert became.count('all outputs') > 20 and became.count('refused') > 20
