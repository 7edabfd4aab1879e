# SPDX-License-Identifier: Apache-2.0
"""Determine the camera pose from TF or parameters, and the frame of the scan."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from geometry_msgs.msg import Transform, TransformStamped
from rclpy.node import Node
from std_msgs.msg import Header

from depth_perception.depth.products import stated_pose
from depth_perception.depth.scan import CameraPose, PoseError
from depth_perception.ros.conversions.messages import level_frame, scan_frame
from depth_perception.ros.conversions.stamps import nanoseconds, seconds
from depth_perception.ros.conversions.transforms import (
    TransformBuffer,
    TransformError,
    TransformListener,
    TransformPublisher,
)
from depth_perception.ros.node.parameters import Settings

#: Largest accepted deviation of a given scan_frame, in degrees and metres.
MAX_TURN, MAX_OFFSET = 2.0, 0.05
#: Seconds that an image waits for the transform at its stamp, which may arrive later.
PATIENCE = 0.2
#: Seconds from a failed wait to the next wait, so that late TF does not delay every frame.
IN_VAIN = 1.0


@dataclass(frozen=True)
class ScanPose:
    """The camera pose and the frame of the scan.

    Attributes:
        pose: the camera pose; None if unknown, so that there is no scan.
        frame_id: frame_id of the scan.
        problem: why there is no scan, or what is wrong with its pose or frame; or ''.
    """

    pose: CameraPose | None
    frame_id: str = ''
    problem: str = ''


class ScanPoses:
    """Determine the camera pose for the images of one frame_id at a time.

    With `base_frame`, the pose is the transform at the image's stamp, or the newest transform if TF
    has none at that stamp. The level frame for the scan of a tilted camera is published as a child
    of the image's frame: it has the same origin, and a leaf does not conflict with a robot
    description. It is published on /tf_static, or on /tf at the image's stamp if the camera moves.

    Args:
        node: the node that listens to TF and publishes transforms.
        base_frame: the parameter `base_frame`.
        listener, publisher: used instead of the node's own TF listener and publisher.

    Raises:
        TransformError: base_frame is set and tf2_ros is not installed.
    """

    def __init__(
        self,
        node: Node,
        base_frame: str,
        listener: TransformBuffer | None = None,
        publisher: TransformPublisher | None = None,
    ) -> None:
        self._node = node
        self._base_frame = base_frame
        self._listener = (listener or TransformListener(node)) if base_frame else None
        self._publisher = publisher
        self._published: tuple[str, CameraPose] | None = None
        self._last: CameraPose | None = None
        self._moves = False
        self._waits_from = 0.0

    @property
    def listener(self) -> TransformBuffer | None:
        """The TF listener; None without `base_frame`."""
        return self._listener

    def of(self, image: Header, settings: Settings) -> ScanPose:
        """Return the camera pose for an image with this header; wait at most PATIENCE."""
        remark = ''
        try:
            if self._listener:
                pose, remark = self._from_tf(self._listener, image, settings)
            else:
                pose = stated_pose(settings)
        except (TransformError, PoseError) as error:
            return ScanPose(None, problem=f'no scan: {error}')
        frame_id, problem = self._frame(image, pose, settings)
        return ScanPose(pose, frame_id, '; '.join(filter(None, (remark, problem))))

    def memory(self) -> tuple[float, ...]:
        """Return the last pose from TF, for `remember`; empty if there is none."""
        last = self._last
        return () if last is None else (last.pitch, last.roll, last.height or math.nan)

    def remember(self, memory: Sequence[float]) -> None:
        """Continue from the data of another object; see `memory`."""
        if memory:
            pitch, roll, height = memory
            self._last = CameraPose(pitch, roll, None if math.isnan(height) else height)

    def reset(self) -> None:
        """Forget time-varying transforms after a jump back in time."""
        if self._listener:
            self._listener.clear()

    def destroy(self) -> None:
        """Destroy the TF listener and publisher."""
        for entity in (self._listener, self._publisher):
            if entity is not None:
                entity.destroy()

    def _from_tf(
        self, listener: TransformBuffer, image: Header, settings: Settings
    ) -> tuple[CameraPose, str]:
        """Return the pose, and a remark if it is from another time or its height is unknown."""
        stamped, remark = self._lookup(listener, self._base_frame, image.frame_id, image)
        # Static transforms have no stamp.
        self._moves = nanoseconds(stamped.header.stamp) != 0
        height = settings.camera_height or stamped.transform.translation.z
        if height <= 0:
            above = (
                f'{self._base_frame} is {-height:.2f} m above the camera, so that its height '
                'is not used: base_frame is to be on the floor'
            )
            remark = '; '.join(filter(None, (remark, above)))
        pose = CameraPose.from_up(_up(stamped.transform), height if height > 0 else None)
        if self._last is None or not pose.is_close(self._last):
            self._last = pose
        return self._last, remark

    def _lookup(
        self, listener: TransformBuffer, target: str, source: str, image: Header
    ) -> tuple[TransformStamped, str]:
        """Return the transform at the image's stamp, or the newest one with a remark.

        Raises:
            TransformError: there is no transform.
        """
        newest = listener.latest(target, source)
        if nanoseconds(newest.header.stamp) == 0:
            return newest, ''
        to_come = nanoseconds(newest.header.stamp) < nanoseconds(image.stamp)
        waits = to_come and time.monotonic() >= self._waits_from
        exact = listener.at(target, source, image.stamp, PATIENCE if waits else 0.0)
        if exact is not None:
            return exact, ''
        if waits:
            self._waits_from = time.monotonic() + IN_VAIN
        newest = listener.latest(target, source)
        age = seconds(image.stamp) - seconds(newest.header.stamp)
        return newest, (
            f'the transform from {source} to {target} is {abs(age):.2g} s '
            f'{"older" if age > 0 else "newer"} than the image'
        )

    def _frame(self, image: Header, pose: CameraPose, settings: Settings) -> tuple[str, str]:
        """Return the frame of the scan, and a remark if it is wrong, or ''."""
        if settings.scan_frame:
            return settings.scan_frame, self._misfit(settings.scan_frame, image, pose)
        if not self._listener and pose.is_level:
            return scan_frame(image.frame_id), ''
        return level_frame(image.frame_id), self._publish(image, pose)

    def _misfit(self, scan_frame: str, image: Header, pose: CameraPose) -> str:
        """Return why a frame of the robot description cannot be used for the scan, or ''."""
        if self._listener is None:
            return ''
        try:
            transform = self._lookup(self._listener, image.frame_id, scan_frame, image)[0].transform
        except TransformError as error:
            return f'scan_frame: {error}'
        q, offset = transform.rotation, transform.translation
        wanted = pose.level_frame_rotation()
        cosine = abs(sum(a * b for a, b in zip((q.x, q.y, q.z, q.w), wanted)))
        turned = math.degrees(2 * math.acos(min(1.0, cosine)))
        moved = math.hypot(offset.x, offset.y, offset.z)
        if turned < MAX_TURN and moved < MAX_OFFSET:
            return ''
        return (
            f'scan_frame {scan_frame} is not level at the camera with x along its view: it is '
            f'{turned:.0f} degrees and {moved:.2f} m away'
        )

    def _publish(self, image: Header, pose: CameraPose) -> str:
        """Publish the level frame if it is new or moves; return why this failed, or ''."""
        key = (image.frame_id, pose)
        if key == self._published and not self._moves:
            return ''
        level = level_frame(image.frame_id)
        try:
            self._publisher = self._publisher or TransformPublisher(self._node)
        except TransformError as error:
            return f'nobody publishes the frame {level} of the scan: {error}'
        moment = image.stamp if self._moves else None
        self._publisher.publish(image.frame_id, level, pose.level_frame_rotation(), moment)
        self._published = key
        return ''


def _up(transform: Transform) -> tuple[float, float, float]:
    """Return the target's z axis in the source frame: the last row of the rotation matrix."""
    q = transform.rotation
    norm = q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w
    if norm == 0:
        raise TransformError('the transform has no rotation: its quaternion is zero')
    return (
        2 * (q.x * q.z - q.w * q.y) / norm,
        2 * (q.y * q.z + q.w * q.x) / norm,
        1 - 2 * (q.x * q.x + q.y * q.y) / norm,
    )
