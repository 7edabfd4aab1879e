# SPDX-License-Identifier: Apache-2.0
"""Input subscriptions that match any camera: reliable first, best effort where it must be.

Reliable delivery loses no large image on Fast DDS's default transports, best effort does; but a
reliable subscription hears nothing of a best-effort camera. So: subscribe reliable, and when the
middleware reports an incompatible publisher, subscribe anew as best effort.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from depth_perception.ros.qos import pinned

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


class AdaptiveSubscription:
    """A KEEP_LAST 1 subscription that falls back from reliable to best effort by itself.

    A reliability set through `qos_overrides` to something else is kept as it is.

    Args:
        node: the owner.
        message_type: of the topic.
        topic: relative name.
        callback: called with each message.
        defer: runs a function in the executor, outside of the callback that asks for it.

    Raises:
        QosError: an override of this topic cannot be used.
    """

    def __init__(self, node: Node, message_type: type, topic: str,
                 callback: Callable[[Any], None],
                 defer: Callable[[Callable[[], None]], None]) -> None:
        self._node = node
        self._message_type = message_type
        self._topic = topic
        self._callback = callback
        self._defer = defer
        self.pinned = pinned(node, topic, 'subscription', 'reliability', ReliabilityPolicy.RELIABLE)
        self.fell_back = False
        self._subscription: Subscription | None = None
        self._subscribe(ReliabilityPolicy.RELIABLE)

    @property
    def topic(self) -> str:
        """The resolved name."""
        return self._subscription.topic_name if self._subscription else self._topic

    @property
    def reliability(self) -> str:
        """What is in use: `reliable` or `best_effort`."""
        if self._subscription is None:
            return 'none'
        return self._subscription.qos_profile.reliability.name.lower()

    @property
    def publishers(self) -> int:
        """How many publishers the topic has."""
        return self._node.count_publishers(self.topic)

    @property
    def misfit(self) -> str:
        """That all of the topic's publishers send another type; or ''."""
        others = self._node.get_publishers_info_by_topic(self.topic)
        wanted = _type_name(self._message_type)
        types = sorted({info.topic_type for info in others} - {wanted})
        if others and len(types) == len({info.topic_type for info in others}):
            return f'its publisher sends {types[0]}, not {wanted}'
        return ''

    def destroy(self) -> None:
        """Unsubscribe."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._node.destroy_subscription(subscription)

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)
        # What was given for the reliability holds no longer where the camera offers less.
        kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)
        options = QoSOverridingOptions(kinds) if self.fell_back \
            else QoSOverridingOptions.with_default_policies()
        self._subscription = self._node.create_subscription(
            self._message_type, self._topic, self._callback, profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
            qos_overriding_options=options)

    def _on_incompatible(self, _event: object) -> None:
        if not self.pinned and not self.fell_back:
            self._defer(self._fall_back)

    def _fall_back(self) -> None:
        if self._subscription is None or self.fell_back:
            return
        self.fell_back = True
        self.destroy()
        self._subscribe(ReliabilityPolicy.BEST_EFFORT)
        self._node.get_logger().warning(
            f'{self.topic}: a publisher is best effort, so the subscription is now too; large '
            'images may get lost on the way (see docs/dds.md)')


def _type_name(message_type: type) -> str:
    """As the graph has it: sensor_msgs/msg/Image."""
    package, kind, *_ = message_type.__module__.split('.')
    return f'{package}/{kind}/{message_type.__name__}'
