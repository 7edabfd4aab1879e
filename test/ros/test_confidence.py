# SPDX-License-Identifier: Apache-2.0
"""depth/confidence: computed for those who ask, absent where the network has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rclpy.parameter import Parameter

from depth_perception.ros.conversions.topics import CONFIDENCE, DEPTH
from test.support.estimators import CONFIDENCE as SURE
from test.support.estimators import StandIn
from test.support.ros import image_array, running_node, wait_until


def without() -> StandIn:
    made = StandIn()
    made.info = replace(made.info, network_arguments={})
    return made


def test_it_is_computed_only_while_somebody_asks(namespace, robot):
    network = StandIn()
    with running_node(namespace, load_estimator=network, max_age=0.0) as node:
        robot.listen(DEPTH)
        robot.watch_diagnostics()
        camera = robot.camera()
        wait_until(lambda: camera.send() and robot.received[DEPTH])
        assert set(network.asked) == {(False, True)} and not network.confidence_prepared
        robot.listen(CONFIDENCE)
        wait_until(lambda: camera.send() and robot.received[CONFIDENCE])
        assert network.asked[-1] == (True, False), 'a new subscriber must not stop the depth'
        message = robot.received[CONFIDENCE][-1]
        assert message.encoding == '32FC1' and message.header.frame_id
        values = image_array(message)
        assert (values[:, :40] == np.float32(SURE[0])).all()
        assert (values[:, 40:] == np.float32(SURE[1])).all()
        assert np.isfinite(image_array(robot.received[DEPTH][-1])).all(), 'nothing is masked'
        wait_until(
            lambda: (
                camera.send()
                and (status := robot.status('depth'))
                and 'confidence_percent' in {pair.key for pair in status.values}
            )
        )
        # A mask has to wait for it.
        node.set_parameters([Parameter('min_confidence', value=0.5)])
        wait_until(lambda: camera.send() and network.asked[-1] == (True, True))
        wait_until(lambda: np.isnan(image_array(robot.received[DEPTH][-1])[:, 40:]).all())


def test_a_mask_at_start_is_prepared_for(namespace):
    network = StandIn()
    with running_node(namespace, load_estimator=network, min_confidence=0.5):
        assert network.confidence_prepared


def test_without_it_there_is_no_topic_and_a_mask_is_refused(namespace, robot):
    with running_node(namespace, load_estimator=without()) as node:
        publishers = {
            name
            for name, _ in node.get_publisher_names_and_types_by_node(
                node.get_name(), node.get_namespace()
            )
        }
        assert any(name.endswith(DEPTH) for name in publishers)
        assert not any(name.endswith(CONFIDENCE) for name in publishers)
        result = node.set_parameters([Parameter('min_confidence', value=0.5)])[0]
        assert not result.successful
        assert result.reason.startswith(
            'min_confidence 0.5 needs the confidence of the network, which stand-in does not give'
        )
        assert node.settings.min_confidence == 0


def test_configuring_with_a_mask_and_a_network_without_fails_with_one_sentence(namespace):
    with running_node(
        namespace, load_estimator=without(), autostart=False, min_confidence=0.5
    ) as node:
        node.trigger_configure()
        assert node._parts.problem == (
            'cannot configure: min_confidence 0.5 needs the confidence of the network, which '
            'stand-in does not give: set min_confidence to 0 (docs/confidence.md)'
        )
