# SPDX-License-Identifier: Apache-2.0
"""Report the state of the node on /diagnostics and in the log."""

from __future__ import annotations

import re
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode
from rclpy.utilities import get_rmw_implementation_identifier

from depth_perception.inference.protocol import Estimator
from depth_perception.ros.conversions.topics import diagnostics_name
from depth_perception.ros.node import inputs
from depth_perception.ros.node.calibrations import NO_CAMERA_INFO
from depth_perception.ros.node.diagnostics import Context, diagnostic_array, silence
from depth_perception.ros.node.lifecycle_state import lifecycle_state
from depth_perception.ros.node.parts import Parts
from depth_perception.ros.node.pipeline import Result
from depth_perception.ros.node.throttle import Throttle
from depth_perception.ros.transport import buffer_problem

#: Seconds without an image before this is logged: a camera may start a little later.
SILENCE_LOGGED = 5.0

Facts = tuple[tuple[str, str], ...]


class Reporter:
    """Publish diagnostics, and log each persistent remark once.

    Args:
        node: the reporting node.
        parts: parts of the node.
    """

    def __init__(self, node: LifecycleNode, parts: Parts) -> None:
        self._node = node
        self._parts = parts
        self._throttle = Throttle()
        self._said: set[str] = set()
        self._told: set[str] = set()
        self._silent = False
        self._middleware = get_rmw_implementation_identifier()
        self._small_buffers = buffer_problem(self._middleware)
        if self._small_buffers:
            node.get_logger().warning(f'{self._middleware}: {self._small_buffers}')
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def report(self) -> None:
        """Publish diagnostics, and log new findings."""
        self._log_remarks()
        health, context = self._parts.health.snapshot(), self._context()
        self._log_silence(silence(health, context, SILENCE_LOGGED))
        name = diagnostics_name(self._node.get_namespace(), self._node.get_name())
        message = diagnostic_array(name, self._hardware(), health, context)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def network_loaded(self, estimator: Estimator) -> None:
        """Log which network is loaded, and allow its remarks to be logged again."""
        self._node.get_logger().info(
            f'network {estimator.info.name} ({estimator.info.network}) on {estimator.device}, '
            f'{estimator.backend}, {estimator.precision}'
        )
        self._said.clear()
        self._log_remarks()

    def unused(self, text: str) -> None:
        """Log a text about arguments without effect once; ignore ''."""
        if text and text not in self._told:
            self._told.add(text)
            self._node.get_logger().warning(text)

    def frame_lost(self, text: str) -> None:
        """Log why a frame was lost; may be called from any thread."""
        # After a signal, nothing can be published; do not report this.
        if self._node.context.ok() and self._throttle.allows(text):
            self._node.get_logger().error(text)

    def _log_silence(self, text: str) -> None:
        """Log once whenever images stop arriving or return, because users read the log first."""
        if text and not self._silent:
            self._node.get_logger().warning(text)
        elif self._silent and not text and self._parts.inputs is not None:
            topic, resting = self._parts.inputs.image.topic, self._resting()
            self._node.get_logger().info(
                f'{topic} has a publisher; {resting}: no image is read'
                if resting
                else f'images come on {topic}'
            )
        self._silent = bool(text)

    def _log_remarks(self) -> None:
        """Log each remark once, even if the numbers in it change."""
        last = (self._scan_problem(), self._no_camera(), self._anchor_problem())
        for remark in filter(None, (*self._warnings(), *self._input_remarks(), *last)):
            kind = re.sub(r'\d+(\.\d+)?', '#', remark)
            if kind not in self._said:
                self._said.add(kind)
                hint = '; set device to cpu to accept that' if remark.startswith('no GPU') else ''
                self._node.get_logger().warning(remark + hint)

    def _context(self) -> Context:
        parts, state = self._parts, lifecycle_state(self._node)
        settings, worker, outputs = parts.parameters.settings, parts.worker, parts.outputs
        return Context(
            active=state == 'active',
            state=state,
            problem=parts.problem,
            since=parts.images.since if parts.images else 0.0,
            resting=self._resting(),
            middleware=self._middleware,
            small_buffers=self._small_buffers,
            **self._input_facts(),
            camera_problem=self._camera_problem(),
            input_remarks=self._input_remarks(),
            scan_problem=self._scan_problem(),
            anchor_problem=self._anchor_problem(),
            busy_for=worker.busy_for if worker else 0.0,
            sharing=self._sharing(),
            rivals=outputs.rivals() if outputs else (),
            paused=not parts.enabled,
            rate_limited=settings.max_rate > 0,
            model=self._model_facts(),
            warnings=self._warnings(),
            focal=self._depth_facts(),
        )

    def _input_facts(self) -> dict[str, Any]:
        """Return the state of the subscriptions as fields of `Context`."""
        if self._parts.inputs is None:
            return {'reliability': 'none'}
        image, info = self._parts.inputs.image, self._parts.inputs.info
        elsewhere = '' if image.publishers else inputs.images_elsewhere(self._node, image.topic)
        return {
            'image_topic': image.topic,
            'info_topic': info.topic,
            'publishers': image.publishers,
            'elsewhere': elsewhere,
            'reliability': image.reliability,
            'fell_back': image.fell_back,
            'counts_losses': image.counts_losses,
            'latched': self._parts.still is not None and self._parts.still.has_image,
            'misfit': inputs.advised(image.misfit, image.topic),
            'info_misfit': info.misfit,
            'pinned': ', '.join(filter(None, (image.pinned, info.pinned))),
        }

    def _hardware(self) -> str:
        estimator = self._parts.estimator
        if estimator is not None and estimator.device.type == 'cuda':
            import torch

            return torch.cuda.get_device_name(str(estimator.device))
        return str(estimator.device) if estimator else 'none'

    def _last(self) -> Result | None:
        """Return the result of the last processed frame."""
        return self._parts.worker.last_result if self._parts.worker else None

    def _resting(self) -> str:
        """Return why no image is read, or ''."""
        return self._parts.images.resting if self._parts.images else ''

    def _camera_problem(self) -> str:
        parts, last = self._parts, self._last()
        if parts.cameras is None or parts.worker is None:
            return ''
        if not parts.cameras.has_info:
            if self._resting() and parts.inputs and parts.inputs.has_info_publisher:
                return ''  # it is not read
            replaced = parts.parameters.settings.horizontal_fov_deg > 0
            return '' if replaced else NO_CAMERA_INFO
        problem = last.camera_problem if last else ''
        return '' if problem == NO_CAMERA_INFO else problem

    def _input_remarks(self) -> tuple[str, ...]:
        last = self._last()
        return last.input_remarks if last else ()

    def _scan_problem(self) -> str:
        last = self._last()
        return last.scan_problem if last else ''

    def _anchor_problem(self) -> str:
        last = self._last()
        return last.anchors.problem if last and last.anchors else ''

    def _no_camera(self) -> str:
        """Return why a processed image had no cloud and no scan, or ''."""
        if self._last() is None:
            return ''
        problem, inputs = self._camera_problem(), self._parts.inputs
        where = f' on {inputs.info.topic}' if inputs and problem == NO_CAMERA_INFO else ''
        return f'no cloud and no scan: {problem}{where}' if problem else ''

    def _model_facts(self) -> Facts:
        estimator = self._parts.estimator
        if estimator is None:
            return ()
        facts = [
            ('model', estimator.info.name),
            ('checksum', estimator.checksum),
            ('device', str(estimator.device)),
            ('precision', estimator.precision),
            ('backend', estimator.backend),
        ]
        if estimator.sharing:
            facts.append(('shared_by', ', '.join(estimator.sharing.users)))
        if estimator.device.type == 'cuda':
            import torch

            megabytes = torch.cuda.memory_allocated(str(estimator.device)) / 1e6
            facts.append(('gpu_memory_mb', f'{megabytes:.0f}'))
        return tuple(facts)

    def _depth_facts(self) -> Facts:
        """Return the depth scale and the distances of the preview's first and last colour."""
        settings, estimator = self._parts.parameters.settings, self._parts.estimator
        scale = ('depth_scale', f'{settings.depth_scale:g}')
        if estimator is None:
            return (scale,)
        far = settings.max_depth or estimator.info.max_depth
        return (scale, ('min_depth_m', f'{settings.min_depth:g}'), ('max_depth_m', f'{far:g}'))

    def _sharing(self) -> str:
        """Return which cameras share the network and whose frame is being processed, or ''."""
        sharing = self._parts.estimator.sharing if self._parts.estimator else None
        if sharing is None:
            return ''
        at = f', now at a frame of {sharing.turn}' if sharing.turn else ''
        return f'shared by {", ".join(sharing.users)}{at}'

    def _warnings(self) -> tuple[str, ...]:
        parameters, estimator = self._parts.parameters, self._parts.estimator
        misfit = (parameters.remark,) if parameters.remark else ()
        if estimator is None:
            return misfit
        if parameters.settings.device == 'auto' and estimator.device.type == 'cpu':
            return (*misfit, 'no GPU: the network runs on the CPU', *estimator.remarks)
        return (*misfit, *estimator.remarks)
