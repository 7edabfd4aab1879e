# SPDX-License-Identifier: Apache-2.0
"""Input subscriptions that adapt to the QoS offered by the publishers.

On Fast DDS's default transports, best-effort delivery loses large images and reliable delivery does
not. However, a reliable subscription receives nothing from a best-effort camera. A volatile
subscription does not receive messages latched earlier (published once, transient local), and a
transient-local subscription receives nothing from a volatile publisher. Therefore, subscribe as
reliable and volatile, adapt when the middleware reports an incompatible publisher, and check once a
second whether another QoS fits better. If only some publishers latch, a second subscription
receives what they have latched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from depth_perception.ros.node.qos import pinned

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
VOLATILE, TRANSIENT_LOCAL = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL


class AdaptiveSubscription:
    """A KEEP_LAST subscription whose reliability and durability follow the topic's publishers.

    A policy that `qos_overrides` sets to a non-default value is never changed.

    Args:
        node: the owner.
        message_type: message type of the topic.
        topic: name of the topic.
        callback: called with each message.
        lost: called with the number of messages that the middleware reports as lost.
        depth: largest number of messages that wait for the executor.
        latched: whether to receive latched messages even if other publishers do not latch; then a
            message of a latching publisher may arrive twice.

    Attributes:
        topic: the resolved name.
        pinned: overrides that keep it from adapting, or ''.
        counts_losses: whether the middleware reports lost messages.

    Raises:
        QosError: a QoS override of this topic cannot be used.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        lost: Callable[[int], None] = lambda _: None,
        depth: int = 1,
        latched: bool = False,
    ) -> None:
        self._node = node
        self._message_type = message_type
        self._topic = topic
        self.topic = str(node.resolve_topic_name(topic))
        self._callback = callback
        self._lost = lost
        self._depth = depth
        self._wants_latched = latched
        self._latched: Subscription | None = None
        self._pins = {
            policy: pinned(node, topic, 'subscription', policy, default)
            for policy, default in (('reliability', RELIABLE), ('durability', VOLATILE))
        }
        self.pinned = ', '.join(filter(None, self._pins.values()))
        self.counts_losses = True
        self._fit = RELIABLE, VOLATILE
        self._subscription: Subscription | None = None
        self._subscribe()

    @property
    def reliability(self) -> str:
        """The current reliability: `reliable` or `best_effort`; `none` while unsubscribed."""
        if self._subscription is None:
            return 'none'
        return str(self._subscription.qos_profile.reliability.name).lower()

    @property
    def is_latched(self) -> bool:
        """Whether it receives what was published before it existed (transient local)."""
        return (
            self._subscription is not None
            and self._subscription.qos_profile.durability == TRANSIENT_LOCAL
        )

    @property
    def fell_back(self) -> bool:
        """Whether it is best effort because a publisher offers only best effort."""
        return self._fit[0] == BEST_EFFORT

    @property
    def publishers(self) -> int:
        """The number of publishers of the topic."""
        return self._node.count_publishers(self.topic)

    @property
    def misfit(self) -> str:
        """A text if all publishers of the topic send another type, otherwise ''."""
        others = self._node.get_publishers_info_by_topic(self.topic)
        wanted = _type_name(self._message_type)
        types = sorted({info.topic_type for info in others} - {wanted})
        if others and len(types) == len({info.topic_type for info in others}):
            return f'its publisher sends {types[0]}, not {wanted}'
        return ''

    def destroy(self) -> None:
        """Unsubscribe."""
        self._unsubscribe()
        self._receive_latched(False)

    def resume(self) -> None:
        """Subscribe again after `destroy`, with the QoS that fits the current publishers."""
        if self._subscription is None:
            self._take(self._fitting(self._offers()))
            self._subscribe()

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._node.destroy_subscription(subscription)

    def adapt(self) -> None:
        """Adapt to the current publishers; cheap enough for a timer if nothing changed."""
        if self._subscription is not None:
            offers = self._offers()
            self._take(self._fitting(offers))
            self._receive_latched(
                self._wants_latched
                and self._fit[1] == VOLATILE
                and not self._pins['durability']
                and any(
                    offer.durability == TRANSIENT_LOCAL and offer.reliability == RELIABLE
                    for offer in offers
                )
            )

    def _receive_latched(self, wanted: bool) -> None:
        """Have a second subscription for latched messages, or none."""
        if wanted and self._latched is None:
            profile = QoSProfile(depth=self._depth, durability=TRANSIENT_LOCAL)
            # The volatile publishers do not fit it, which is no fault.
            events = SubscriptionEventCallbacks(use_default_callbacks=False)
            self._latched = self._node.create_subscription(
                self._message_type, self._topic, self._callback, profile, event_callbacks=events
            )
        elif not wanted and self._latched is not None:
            self._node.destroy_subscription(self._latched)
            self._latched = None

    def _offers(self) -> list[QoSProfile]:
        wanted = _type_name(self._message_type)
        return [
            info.qos_profile
            for info in self._node.get_publishers_info_by_topic(self.topic)
            if info.topic_type == wanted
        ]

    def _fitting(self, offers: list[QoSProfile]) -> tuple[ReliabilityPolicy, DurabilityPolicy]:
        """Return the QoS that matches all publishers with least loss; without any, the current."""
        reliability, durability = self._fit
        if offers:
            reliability = (
                BEST_EFFORT
                if any(offer.reliability == BEST_EFFORT for offer in offers)
                else RELIABLE
            )
            is_latched = reliability == RELIABLE and all(
                offer.durability == TRANSIENT_LOCAL for offer in offers
            )
            durability = TRANSIENT_LOCAL if is_latched else VOLATILE
        return reliability, durability

    def _take(self, fit: tuple[ReliabilityPolicy, DurabilityPolicy]) -> None:
        """Subscribe again with the matching QoS, except for overridden policies."""
        reliability, durability = fit
        before = self._fit
        self._fit = (
            RELIABLE if self._pins['reliability'] else reliability,
            VOLATILE if self._pins['durability'] else durability,
        )
        if self._subscription is None or self._fit == before:
            return
        self._unsubscribe()
        self._subscribe()
        if self._fit[0] != before[0]:
            self._tell()

    def _tell(self) -> None:
        if self.fell_back:
            self._node.get_logger().warning(
                f'{self.topic}: a publisher is best effort, so the subscription is now too; large '
                'images may get lost on the way (see docs/dds.md)'
            )
        else:
            self._node.get_logger().info(
                f'{self.topic}: all publishers are reliable, so the subscription is now too'
            )

    def _subscribe(self) -> None:
        reliability, durability = self._fit
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self._depth,
            reliability=reliability,
            durability=durability,
        )
        # The override of a policy no longer applies once the subscription adapts that policy.
        kinds = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH]
        kinds += [QoSPolicyKind.RELIABILITY] if reliability == RELIABLE else []
        kinds += [QoSPolicyKind.DURABILITY] if durability == VOLATILE else []
        events: dict[str, Any] = {
            'incompatible_qos': self._on_incompatible,
            'message_lost': self._on_lost,
        }
        try:
            self._subscription = self._created(profile, kinds, events)
        except UnsupportedEventTypeError:
            self.counts_losses = False
            del events['message_lost']
            self._subscription = self._created(profile, kinds, events)

    def _created(
        self, profile: QoSProfile, kinds: list[QoSPolicyKind], events: dict[str, Any]
    ) -> Subscription:
        return self._node.create_subscription(
            self._message_type,
            self._topic,
            self._callback,
            profile,
            event_callbacks=SubscriptionEventCallbacks(**events),
            qos_overriding_options=QoSOverridingOptions(kinds),
        )

    def _on_incompatible(self, event: Any) -> None:
        # The ROS graph may not yet contain the publisher that the middleware just discovered.
        reliability, durability = self._fit
        if event.last_policy_kind == QoSPolicyKind.RELIABILITY:
            reliability = BEST_EFFORT
        elif event.last_policy_kind == QoSPolicyKind.DURABILITY:
            durability = VOLATILE
        # Do not replace the subscription in its own callback.
        executor = self._node.executor
        if executor is not None:
            executor.create_task(lambda: self._take((reliability, durability)))

    def _on_lost(self, event: Any) -> None:
        self._lost(event.total_count_change)


def _type_name(message_type: type) -> str:
    """Return the name of a type as in the ROS graph, such as sensor_msgs/msg/Image."""
    package, kind, *_ = message_type.__module__.split('.')
    return f'{package}/{kind}/{message_type.__name__}'
