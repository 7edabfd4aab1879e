# SPDX-License-Identifier: Apache-2.0
"""The depth node: lifecycle and wiring, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from depth_perception.errors import first_line, told
from depth_perception.inference.device import free_cached_memory
from depth_perception.inference.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimator
from depth_perception.ros.conversions import stamps
from depth_perception.ros.node import parameters
from depth_perception.ros.node.anchor_inputs import AnchorInputs
from depth_perception.ros.node.calibrations import Calibrations
from depth_perception.ros.node.guard import guard_services
from depth_perception.ros.node.health import Health
from depth_perception.ros.node.inputs import Inputs
from depth_perception.ros.node.lazy_images import LazyImages
from depth_perception.ros.node.library_log import library_messages
from depth_perception.ros.node.lifecycle_state import lifecycle_state
from depth_perception.ros.node.live_parameters import LiveParameters
from depth_perception.ros.node.parts import Parts
from depth_perception.ros.node.pipeline import Pipeline
from depth_perception.ros.node.publishers import DepthPublishers
from depth_perception.ros.node.receiver import Receiver
from depth_perception.ros.node.reporter import Reporter
from depth_perception.ros.node.scan_pose import ScanPoses
from depth_perception.ros.node.still_image import StillImage
from depth_perception.ros.node.unused import unused_parameters
from depth_perception.ros.node.worker import Worker

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
#: Seconds between two messages on /diagnostics.
DIAGNOSTICS_PERIOD = 1.0
#: Seconds to finish the current frame when the process ends; launch kills the process after ten.
LAST_FRAME = 5.0

EstimatorFactory = Callable[[str, str, str, str], Estimator]
#: Compiles in the background, so that no camera waits when the image size changes.
LOAD: EstimatorFactory = functools.partial(DepthEstimator.load, compile_beside=True)


class DepthNode(LifecycleNode):
    """Node that subscribes to a camera and publishes depth, cloud, scan and preview.

    Args:
        load_estimator: called with model file, device, precision and backend on configure.
        node_arguments: passed to rclpy's node.

    Raises:
        ParameterError: a parameter given at start cannot be used.
    """

    def __init__(self, load_estimator: EstimatorFactory = LOAD, **node_arguments: Any) -> None:
        try:
            super().__init__('depth_node', **node_arguments)
        except InvalidParameterTypeException as error:
            raise parameters.RosParameterError(
                'use_sim_time must be true or false, without quotes'
                if 'use_sim_time' in str(error)
                else first_line(error)
            ) from error
        self._load_estimator = load_estimator
        self._parts = Parts(self._declared_parameters())
        self._reporter = Reporter(self, self._parts)
        self.create_service(SetBool, '~/enable', self._on_enable)
        # With use_sim_time but no /clock, a timer on ROS time would stop when it is needed most.
        self.create_timer(
            DIAGNOSTICS_PERIOD, self._every_second, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        guard_services(self)
        self._reporter.unused(unused_parameters(self, qos=False))

    def _declared_parameters(self) -> LiveParameters:
        try:
            return LiveParameters(self)
        except parameters.ParameterError:
            super().destroy_node()  # the process may continue with other nodes
            raise

    def autostart(self) -> None:
        """Configure and activate if `autostart` is set; stop at the first failure."""
        if (
            self.settings.autostart
            and self._state == 'unconfigured'
            and self.trigger_configure() == SUCCESS
        ):
            self.trigger_activate()

    # Lifecycle -----------------------------------------------------------------------------

    @property
    def _state(self) -> str:
        return lifecycle_state(self)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and advertise the outputs; on error, log one sentence and fail."""
        return self._attempt(
            'configure', self._load, super().on_configure, state, FAILURE, self._free
        )

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start processing; on error, log one sentence and fail."""
        return self._attempt(
            'activate', self._start_work, super().on_activate, state, FAILURE, self._stop_work
        )

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the current frame."""
        return self._attempt('deactivate', self._stop_work, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and destroy the publishers."""
        return self._attempt('clean up', self._free, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop everything."""
        return self._attempt('shut down', self._stop_and_free, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up after a failed transition and return to unconfigured."""
        problem = self._parts.problem
        result = self._attempt('recover', self._stop_and_free, super().on_error, state)
        self._parts.problem = self._parts.problem or problem
        return result

    def _attempt(
        self,
        what: str,
        work: Callable[[], None],
        managed: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
        otherwise: TransitionCallbackReturn = TransitionCallbackReturn.ERROR,
        undo: Callable[[], None] = lambda: None,
    ) -> TransitionCallbackReturn:
        """Run the work of a transition; report errors in the log and in diagnostics.

        Args:
            what: the transition, as a verb.
            work: the work of the transition.
            managed: rclpy's callback, which handles the publishers.
            state: the state before the transition.
            otherwise: the value to return on failure.
            undo: reverts the work, which may be incomplete.
        """
        self._parts.problem = ''
        try:
            work()
            return managed(state)
        except Exception as error:  # rclpy would hide it
            self._parts.problem = f'cannot {what}: {told(error)}'
            self.get_logger().error(self._parts.problem)
            undo()
            return otherwise

    def _load(self) -> None:
        settings, parts = self.settings, self._parts
        with library_messages(self.get_logger()):
            parts.estimator = self._load_estimator(
                settings.model_file, settings.device, settings.precision, settings.backend
            )
            parts.parameters.network_loaded(parts.estimator.info)
            if settings.min_confidence > 0:
                parts.estimator.prepare_confidence()
            if settings.image_sizes:
                parts.estimator.prepare(parameters.image_sizes(settings.image_sizes))
        parts.scan_poses = ScanPoses(self, settings.base_frame)
        parts.outputs = DepthPublishers(self, parts.estimator.info.gives_confidence)
        self._reporter.network_loaded(parts.estimator)

    def _start_work(self) -> None:
        settings, parts = self.settings, self._parts
        # The state machine activates only a configured node.
        assert parts.estimator and parts.scan_poses and parts.outputs
        parts.health.reset()
        parts.inputs = Inputs(self, settings.image_transport == 'compressed', Receiver(self, parts))
        parts.still = StillImage(parts.inputs, parts.outputs)
        parts.images = LazyImages(self, parts.inputs, parts.health, self._without_need)
        parts.cameras = Calibrations(
            settings.rectify, settings.horizontal_fov_deg, parts.inputs.is_rectified, parts.inputs
        )
        if settings.anchors:
            parts.anchors = AnchorInputs(self, settings.anchors, parts.scan_poses.listener)
        pipeline = Pipeline(parts.estimator, parts.cameras, parts.scan_poses.of, parts.anchors)
        parts.worker = Worker(pipeline, parts.outputs, self)
        parts.worker.start()
        self._reporter.unused(unused_parameters(self, qos=True))

    def destroy_node(self) -> None:
        """Stop the worker before destroying the entities that it uses."""
        self._stop_work(LAST_FRAME)
        super().destroy_node()

    def _stop_work(self, patience: float | None = None) -> None:
        parts = self._parts
        entities, worker = (parts.images, parts.inputs, parts.anchors), parts.worker
        parts.images = parts.inputs = parts.cameras = parts.anchors = parts.worker = None
        parts.still = None
        for entity in entities:
            if entity is not None:
                entity.destroy()
        if worker is not None and not worker.stop(patience) and self.context.ok():
            self.get_logger().error('the frame in hand did not finish; its thread is left behind')

    def _stop_and_free(self) -> None:
        self._stop_work()
        self._free()

    def _free(self) -> None:
        parts = self._parts
        entities = parts.outputs, parts.scan_poses
        parts.outputs = parts.scan_poses = parts.estimator = None
        parts.parameters.network_gone()
        for entity in entities:
            if entity is not None:
                entity.destroy()
        free_cached_memory()

    # What the worker needs -----------------------------------------------------------------

    @property
    def health(self) -> Health:
        """The health record."""
        return self._parts.health

    @property
    def settings(self) -> parameters.Settings:
        """The parameters in effect."""
        return self._parts.parameters.settings

    def age(self, stamp: Time) -> float:
        """Return the age of a stamp by the node's clock, seconds."""
        return stamps.age(self.get_clock(), stamp)

    def on_frame_lost(self, reason: str) -> None:
        """Log a lost frame; called by the worker."""
        self._reporter.frame_lost(reason)

    def on_out_of_memory(self) -> None:
        """Stop processing frames and release the memory; called by the worker."""
        problem = 'out of memory on the device: deactivated; use a smaller network or image'
        self._parts.problem = problem
        if self.executor is not None:
            self.executor.create_task(self._deactivate_after, problem)

    def _deactivate_after(self, problem: str) -> None:
        if self._state == 'active':
            self.trigger_deactivate()
            self._parts.problem = problem
        free_cached_memory()

    # Callbacks -----------------------------------------------------------------------------

    def _without_need(self) -> str:
        """Return why no image is needed, or ''."""
        if not self._parts.enabled:
            return 'paused by ~/enable'
        outputs = self._parts.outputs
        return '' if outputs is not None and outputs.wanted() else 'nobody subscribes to an output'

    def _every_second(self) -> None:
        parts = self._parts
        if parts.images is not None:
            parts.images.check()
        if parts.inputs is not None and parts.cameras is not None:
            parts.inputs.adapt(has_info=parts.cameras.has_info)
        if parts.still is not None and parts.worker is not None:
            frame = parts.still.for_newcomers() if parts.enabled else None
            if frame is not None and not parts.worker.mailbox.waiting:
                parts.worker.put(frame)
        if parts.anchors is not None:
            parts.anchors.adapt()
        self._reporter.report()

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Enable or pause inference; `success` indicates whether the request took effect."""
        self._parts.enabled = request.data
        if self._parts.images is not None:
            self._parts.images.check()
        response.success = self._state == 'active' or not request.data
        if self._state != 'active':
            why = f' ({self._parts.problem})' if self._parts.problem else ''
            response.message = (
                f'{"no" if request.data else "paused, with no"} depth: the node is {self._state}'
                f'{why}; once it is active it {"works" if request.data else "waits"}'
            )
        else:
            response.message = 'enabled' if request.data else 'paused; the network stays loaded'
        return response

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """Set parameters like rclpy, but convert integers given for float parameters."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set all parameters, or none if one is rejected; see `set_parameters`."""
        return self._parts.parameters.change(
            self, parameter_list, self._state, super().set_parameters_atomically
        )
