# SPDX-License-Identifier: Apache-2.0
"""Give a still image, published once on a latched topic, to subscribers that come later.

The middleware gives a latched image (transient local) to a subscriber once, and this node is one
subscriber: without this, whoever subscribes to an output after the image had no depth, ever.
"""

from __future__ import annotations

import dataclasses
import time

from depth_perception.ros.node.inputs import Inputs
from depth_perception.ros.node.publishers import DepthPublishers
from depth_perception.ros.node.worker import ReceivedImage

#: An image is still, not one of a stream, if none came for so many seconds before it.
ALONE = 1.0


class StillImage:
    """Remember the last image of a latched topic; call all methods in the executor's thread.

    Args:
        inputs: the subscriptions; only an image of a latched topic is remembered.
        outputs: knows the subscribers.
    """

    def __init__(self, inputs: Inputs, outputs: DepthPublishers) -> None:
        self._inputs = inputs
        self._subscribers = outputs.subscribers
        self._frame: ReceivedImage | None = None
        self._arrived = float('-inf')
        # Who has the outputs of the frame, or gets them; None: who is there at the next look.
        self._served: frozenset[bytes] | None = frozenset()
        self._seen: frozenset[bytes] = frozenset()

    @property
    def has_image(self) -> bool:
        """Whether there is an image for subscribers to come."""
        return self._frame is not None

    def received(self, frame: ReceivedImage, is_used: bool) -> ReceivedImage:
        """Remember an image if its topic is latched, and return it as it is to be processed.

        Args:
            frame: the image. A still one has no age: it is the newest, however old.
            is_used: whether it will be processed now.
        """
        if not self._inputs.image.is_latched:
            return frame
        is_alone = frame.arrived - self._arrived > ALONE
        self._arrived = frame.arrived
        self._frame = dataclasses.replace(frame, has_age=frame.has_age and not is_alone)
        if not is_used:
            self._served = frozenset()
        else:
            self._served = self._subscribers() if is_alone else None
        return self._frame

    def for_newcomers(self) -> ReceivedImage | None:
        """Return the image if somebody has not got its outputs; call once a second.

        A subscriber counts from the second call on, because at the first one it may not know its
        publisher yet.
        """
        if not self._inputs.image.is_latched:  # or unsubscribed: it comes again with the next one
            self._frame = None
        if self._frame is None:
            return None
        present = self._subscribers()
        settled, self._seen = present & self._seen, present
        if self._served is None:
            self._served = present
            return None
        newcomers = settled - self._served
        self._served = (self._served | settled) & present
        if not newcomers:
            return None
        return dataclasses.replace(self._frame, arrived=time.monotonic(), has_age=False)
