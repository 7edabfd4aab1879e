# SPDX-License-Identifier: Apache-2.0
"""The depth node: lifecycle and wiring, nothing else."""
from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import Any

import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool

from depth_perception.device import free_cached_memory
from depth_perception.errors import first_line, told
from depth_perception.estimator import DepthEstimator
from depth_perception.inference.protocol import Estimator
from depth_perception.ros import inputs, parameters
from depth_perception.ros.cameras import NO_CAMERA_INFO, CameraSource
from depth_perception.ros.diagnostics import Context, diagnostic_array, silence
from depth_perception.ros.guard import guard_services
from depth_perception.ros.health import OTHER_CLOCK, Health
from depth_perception.ros.pipeline import Pipeline
from depth_perception.ros.publishers import DepthPublishers
from depth_perception.ros.scan_pose import ScanPoses
from depth_perception.ros.stamps import nanoseconds, seconds
from depth_perception.ros.subscriptions import AdaptiveSubscription
from depth_perception.ros.throttle import Throttle
from depth_perception.ros.topics import diagnostics_name
from depth_perception.ros.unused import unused_parameters
from depth_perception.ros.worker import Frame, Worker

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
#: A stamp this much before the last one is a jump back in time (seconds): less is disorder.
JUMP_BACK = 0.1
#: When a bag begins again, its first images come before the /clock that goes with them: for so many
#: seconds ages say nothing.
CLOCK_FOLLOWS = 1.0
#: Seconds that the executor leaves the interpreter to a worker that has just got a frame: until the
#: network runs, which needs no interpreter.
HAND_OVER = 0.002
#: Seconds between two messages on /diagnostics.
DIAGNOSTICS_PERIOD = 1.0

#: Seconds without an image until the log says so: a camera may start a little later.
SILENCE_LOGGED = 5.0
#: Seconds for the frame in hand when the process ends: launch kills what takes ten.
LAST_FRAME = 5.0

EstimatorFactory = Callable[[str, str, str, str], Estimator]
#: No camera waits for a network that is compiled for another size of image.
LOAD: EstimatorFactory = functools.partial(DepthEstimator.load, compile_beside=True)


class DepthNode(LifecycleNode):
    """Subscribes to a camera, publishes depth, cloud, scan and preview.

    Args:
        load_estimator: called with model file, device, precision and backend when configuring.
        node_arguments: passed on to rclpy's node.

    Raises:
        ParameterError: a parameter given at start cannot be used.
    """

    def __init__(self, load_estimator: EstimatorFactory = LOAD,
                 **node_arguments: Any) -> None:
        try:
            super().__init__('depth_node', **node_arguments)
        except InvalidParameterTypeException as error:
            raise parameters.RosParameterError(
                'use_sim_time must be true or false, without quotes'
                if 'use_sim_time' in str(error) else first_line(error)) from error
        self._load_estimator = load_estimator
        self._settings = self._asked = self._given_settings()
        self._misfit = ''
        self.health = Health()
        self._throttle = Throttle()
        self._said: set[str] = set()
        self._told: set[str] = set()
        self._silent = False
        self._estimator: Estimator | None = None
        self._outputs: DepthPublishers | None = None
        self._cameras: CameraSource | None = None
        self._scan_poses: ScanPoses | None = None
        self._worker: Worker | None = None
        self._image: AdaptiveSubscription | None = None
        self._info: AdaptiveSubscription | None = None
        self._problem = ''
        self._enabled = True
        self._activated = 0.0
        self._last_stamp: float | None = None
        self._jumped_back = float('-inf')
        self.create_service(SetBool, '~/enable', self._on_enable)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # A timer on ROS time stops under use_sim_time without /clock, just when it is needed.
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        guard_services(self)
        self._tell_unused(unused_parameters(self, qos=False))

    def _given_settings(self) -> parameters.Settings:
        try:
            parameters.declare(self)
            return parameters.read(self)
        except parameters.ParameterError:
            super().destroy_node()  # the process may go on with other nodes
            raise

    def autostart(self) -> None:
        """Configure and activate, if the parameter says so; a failure leaves the node waiting."""
        if self._settings.autostart and self._state == 'unconfigured' \
                and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    # Lifecycle -----------------------------------------------------------------------------

    @property
    def _state(self) -> str:
        """The state machine's own state: whatever a transition raised, there is no other."""
        return self._state_machine.current_state[1]  # rclpy has no public way to ask

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and advertise the outputs; FAILURE with one sentence if it cannot."""
        return self._attempt(
            'configure', self._load, super().on_configure, state, FAILURE, self._free)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start working; FAILURE with one sentence if it cannot."""
        return self._attempt(
            'activate', self._start_work, super().on_activate, state, FAILURE, self._stop_work)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and finish the frame in hand."""
        return self._attempt('deactivate', self._stop_work, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and take the outputs down."""
        return self._attempt('clean up', self._free, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop whatever runs."""
        return self._attempt('shut down', self._stop_and_free, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that left things half done: begin anew, unconfigured."""
        problem = self._problem
        result = self._attempt('recover', self._stop_and_free, super().on_error, state)
        self._problem = self._problem or problem
        return result

    def _attempt(self, what: str, work: Callable[[], None],
                 managed: Callable[[LifecycleState], TransitionCallbackReturn],
                 state: LifecycleState,
                 otherwise: TransitionCallbackReturn = TransitionCallbackReturn.ERROR,
                 undo: Callable[[], None] = lambda: None) -> TransitionCallbackReturn:
        """Do a transition's work; what goes wrong is told in the log and in diagnostics.

        Args:
            what: the transition, as a verb.
            work: what it does.
            managed: what rclpy does with the publishers.
            state: the one before.
            otherwise: what the transition returns where that fails.
            undo: what there may be of it.
        """
        self._problem = ''
        try:
            work()
            return managed(state)
        except Exception as error:  # rclpy would keep it to itself
            self._problem = f'cannot {what}: {told(error)}'
            self.get_logger().error(self._problem)
            undo()
            return otherwise

    def _load(self) -> None:
        settings = self._settings
        self._estimator = self._load_estimator(
            settings.model_file, settings.device, settings.precision, settings.backend)
        if settings.image_sizes:
            self._estimator.prepare(parameters.image_sizes(settings.image_sizes))
        self._scan_poses = ScanPoses(self, settings.base_frame)
        self._outputs = DepthPublishers(self)
        self._log_model()

    def _start_work(self) -> None:
        self.health.reset()
        self._last_stamp = None
        self._activated = time.monotonic()
        # Before the image: of messages that have come together rclpy takes them in this order.
        compressed = self._settings.image_transport == 'compressed'
        self._info = self._subscribe_info(inputs.camera_info_topic(self, compressed))
        self._image = self._subscribe(
            CompressedImage if compressed else Image, inputs.image_topic(self, compressed),
            self._on_image, lost=self.health.lost)
        self._cameras = CameraSource(
            self._settings.rectify, self._settings.horizontal_fov_deg,
            _is_rectified_topic(self._image.topic))
        pipeline = Pipeline(
            self._estimator, self._cameras, self._scan_poses.of, self._info_is_expected)
        self._worker = Worker(
            pipeline, self._outputs, self.health, lambda: self._settings, self._age,
            self._log_lost_frame, self._on_out_of_memory)
        self._worker.start()
        self._tell_unused(unused_parameters(self, qos=True))

    def destroy_node(self) -> None:
        """Stop the worker before the entities that it uses go."""
        self._stop_work(LAST_FRAME)
        super().destroy_node()

    def _stop_work(self, patience: float | None = None) -> None:
        subscriptions, worker = (self._image, self._info), self._worker
        self._image = self._info = self._worker = None
        for subscription in subscriptions:
            if subscription is not None:
                subscription.destroy()
        if worker is not None and not worker.stop(patience) and self.context.ok():
            self.get_logger().error('the frame in hand did not finish; its thread is left behind')

    def _stop_and_free(self) -> None:
        self._stop_work()
        self._free()

    def _free(self) -> None:
        entities = self._outputs, self._scan_poses
        self._outputs = self._scan_poses = self._estimator = self._cameras = None
        for entity in entities:
            if entity is not None:
                entity.destroy()
        free_cached_memory()

    # Inputs --------------------------------------------------------------------------------

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None],
                   **options: Any) -> AdaptiveSubscription:
        return AdaptiveSubscription(self, kind, topic, callback, self._defer, **options)

    def _subscribe_info(self, topic: str) -> AdaptiveSubscription:
        # Several wait: the one with the image's own stamp need not be the newest.
        return self._subscribe(CameraInfo, topic, self._on_camera_info, depth=10)

    def _adapt_inputs(self) -> None:
        for subscription in (self._image, self._info):
            if subscription is not None:
                subscription.adapt()
        if self._info is not None and not self._cameras.has_info:
            self._look_for_info()

    def _look_for_info(self) -> None:
        """Take camera_info by its own name where nobody publishes it beside the images."""
        own, beside = self.resolve_topic_name(inputs.INFO), self._info.topic
        if own == beside or self._info.publishers or not self.count_publishers(own):
            return
        self.get_logger().info(f'nobody publishes {beside}, so {own} is taken')
        self._info.destroy()
        self._info = self._subscribe_info(inputs.INFO)

    def _defer(self, function: Callable[[], None]) -> None:
        """Run a function in the executor, after the callback at hand."""
        self.executor.create_task(function)

    def _on_image(self, message: Image | CompressedImage) -> None:
        if self._worker is None:
            return
        stamp = seconds(message.header.stamp)
        self._watch_time(stamp)
        self.health.image_received(
            stamp, self._age(message.header.stamp),
            _image_facts(message, self._settings.optical_frame))
        if self._enabled:
            now = time.monotonic()
            self._hand_over(Frame(message, now, now - self._jumped_back > CLOCK_FOLLOWS))
        else:
            self.health.count('paused')

    def _hand_over(self, frame: Frame) -> None:
        """Leave a frame to the worker, and the interpreter too, if it has been waiting for one.

        What rclpy does after a callback is Python, and goes on until it waits for a message.
        """
        idle = self._worker.busy_for == 0
        self._worker.put(frame)
        if idle:
            time.sleep(HAND_OVER)

    def _watch_time(self, stamp: float) -> None:
        """Start anew where a bag begins again, a clock was set or a simulation reset."""
        last, self._last_stamp = self._last_stamp, stamp
        if last is not None and stamp < last - JUMP_BACK:
            text = f'time went back by {last - stamp:.1f} s: counters start anew'
            self.health.start_anew()
            self._scan_poses.reset()
            self._jumped_back = time.monotonic()
        elif last is not None and stamp > last + OTHER_CLOCK:
            text = f'stamps went ahead by {stamp - last:.1f} s'
        else:
            return
        self.get_logger().info(text)
        self.health.error('time', text)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.health.info_received()
        if self._cameras is not None:
            self._cameras.update(message)

    def _info_is_expected(self) -> bool:
        return self._info is not None and self._info.publishers > 0

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Success says whether the node now does as it was told."""
        self._enabled = request.data
        response.success = self._state == 'active' or not request.data
        if self._state != 'active':
            why = f' ({self._problem})' if self._problem else ''
            response.message = (
                f'{"no" if request.data else "paused, with no"} depth: the node is {self._state}'
                f'{why}; once it is active it {"works" if request.data else "waits"}')
        else:
            response.message = 'enabled' if request.data else 'paused; the network stays loaded'
        return response

    def set_parameters(self, parameter_list: list[Parameter]) -> list[SetParametersResult]:
        """As rclpy's, but each parameter keeps its type: a whole number does for a real one."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's, see `set_parameters`. All of them change or, where one is refused, none."""
        unknown = [p.name for p in parameter_list if not self.has_parameter(p.name)]
        if unknown:
            return parameters.refusal(f'there is no parameter {unknown[0]!r}')
        try:
            typed = parameters.typed(parameter_list)
            asked = parameters.changed(self._asked, typed, self._state)
        except parameters.ParameterError as error:
            return parameters.refusal(str(error))
        result = super().set_parameters_atomically(typed)
        if result.successful:
            self._asked = asked
            self._settings, self._misfit = parameters.in_effect(asked, self._settings)
        return result

    # Health --------------------------------------------------------------------------------

    def _age(self, stamp: Time) -> float:
        """Seconds from a stamp to the node's clock."""
        return (self.get_clock().now().nanoseconds - nanoseconds(stamp)) / 1e9

    def _log_lost_frame(self, text: str) -> None:
        # After a signal nothing can be published any more; that is no news.
        if self.context.ok() and self._throttle.allows(text):
            self.get_logger().error(text)

    def _on_out_of_memory(self) -> None:
        """Called by the worker: stop taking frames and give the memory back."""
        self._problem = 'out of memory on the device: deactivated; use a smaller network or image'
        self._defer(self._deactivate_after_out_of_memory)

    def _deactivate_after_out_of_memory(self) -> None:
        if self._state == 'active':
            problem = self._problem
            self.trigger_deactivate()
            self._problem = problem
        free_cached_memory()

    def _publish_diagnostics(self) -> None:
        self._adapt_inputs()
        self._log_warnings()
        health, context = self.health.snapshot(), self._diagnostics_context()
        self._log_silence(silence(health, context, SILENCE_LOGGED))
        message = diagnostic_array(
            diagnostics_name(self.get_namespace(), self.get_name()), self._hardware(),
            health, context)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _log_silence(self, text: str) -> None:
        """Once for each time that no image comes: whoever starts a node reads its log first."""
        if text and not self._silent:
            self.get_logger().warning(text)
        elif self._silent and not text and self._state == 'active':
            self.get_logger().info(f'images come on {self._image.topic}')
        self._silent = bool(text)

    def _hardware(self) -> str:
        device = self._estimator.device if self._estimator else None
        if device is not None and device.type == 'cuda':
            return torch.cuda.get_device_name(device)
        return str(device or 'none')

    def _diagnostics_context(self) -> Context:
        image, info = self._image, self._info
        return Context(
            active=self._state == 'active', state=self._state, problem=self._problem,
            since=self._activated,
            image_topic=image.topic if image else '', info_topic=info.topic if info else '',
            publishers=image.publishers if image else 0,
            elsewhere=self._images_elsewhere(),
            reliability=image.reliability if image else 'none',
            fell_back=image.fell_back if image else False,
            counts_losses=image.counts_losses if image else True,
            misfit=inputs.advised(image.misfit, image.topic) if image else '',
            info_misfit=info.misfit if info else '',
            pinned=self._pinned(),
            camera_problem=self._camera_problem(), input_remarks=self._input_remarks(),
            scan_problem=self._scan_problem(),
            busy_for=self._worker.busy_for if self._worker else 0.0,
            sharing=self._sharing(),
            rivals=self._outputs.rivals() if self._outputs else (),
            paused=not self._enabled, rate_limited=self._settings.max_rate > 0,
            model=self._model_facts(), warnings=self._warnings(),
            focal=(('depth_scale', f'{self._settings.depth_scale:g}'), *self._depth_range()))

    def _images_elsewhere(self) -> str:
        """Where there are images while nobody publishes those of this node; or ''."""
        if self._image is None or self._image.publishers:
            return ''
        return inputs.images_elsewhere(self, self._image.topic)

    def _pinned(self) -> str:
        """The overrides that keep an input from adapting itself; or ''."""
        inputs = (self._image, self._info)
        return ', '.join(entity.pinned for entity in inputs if entity and entity.pinned)

    def _camera_problem(self) -> str:
        if self._cameras is None or self._worker is None:
            return ''
        if not self._cameras.has_info:
            return '' if self._settings.horizontal_fov_deg > 0 else NO_CAMERA_INFO
        last = self._worker.last_result
        problem = last.camera_problem if last else ''
        return '' if problem == NO_CAMERA_INFO else problem

    def _input_remarks(self) -> tuple[str, ...]:
        last = self._worker.last_result if self._worker else None
        return last.input_remarks if last else ()

    def _no_camera(self) -> str:
        """Why an image that was served had no cloud and no scan; or ''."""
        if self._worker is None or self._worker.last_result is None:
            return ''
        problem = self._camera_problem()
        where = f' on {self._info.topic}' if problem == NO_CAMERA_INFO and self._info else ''
        return f'no cloud and no scan: {problem}{where}' if problem else ''

    def _scan_problem(self) -> str:
        last = self._worker.last_result if self._worker else None
        return last.scan_problem if last else ''

    def _model_facts(self) -> tuple[tuple[str, str], ...]:
        estimator = self._estimator
        if estimator is None:
            return ()
        facts = [('model', estimator.info.name), ('checksum', estimator.checksum),
                 ('device', str(estimator.device)), ('precision', estimator.precision),
                 ('backend', estimator.backend)]
        if estimator.sharing:
            facts.append(('shared_by', ', '.join(estimator.sharing.users)))
        if estimator.device.type == 'cuda':
            megabytes = torch.cuda.memory_allocated(estimator.device) / 1e6
            facts.append(('gpu_memory_mb', f'{megabytes:.0f}'))
        return tuple(facts)

    def _depth_range(self) -> tuple[tuple[str, str], ...]:
        """Between which distances depth is known, and the preview's colours run."""
        if self._estimator is None:
            return ()
        far = self._settings.max_depth or self._estimator.info.max_depth
        return ('min_depth_m', f'{self._settings.min_depth:g}'), ('max_depth_m', f'{far:g}')

    def _sharing(self) -> str:
        """Who has a part in a shared network, and whose frame it is at; or ''."""
        sharing = self._estimator.sharing if self._estimator else None
        if sharing is None:
            return ''
        at = f', now at a frame of {sharing.turn}' if sharing.turn else ''
        return f'shared by {", ".join(sharing.users)}{at}'

    def _warnings(self) -> tuple[str, ...]:
        misfit = (self._misfit,) if self._misfit else ()
        if self._estimator is None:
            return misfit
        if self._settings.device == 'auto' and self._estimator.device.type == 'cpu':
            return (*misfit, 'no GPU: the network runs on the CPU', *self._estimator.remarks)
        return (*misfit, *self._estimator.remarks)

    def _log_model(self) -> None:
        estimator = self._estimator
        self.get_logger().info(
            f'network {estimator.info.name} ({estimator.info.network}) on {estimator.device}, '
            f'{estimator.backend}, {estimator.precision}')
        self._said.clear()
        self._log_warnings()

    def _tell_unused(self, text: str) -> None:
        """Once: what was given at start stays as it is."""
        if text and text not in self._told:
            self._told.add(text)
            self.get_logger().warning(text)

    def _log_warnings(self) -> None:
        """Each once, whatever its figures; some come up only with a certain image."""
        scan = (self._scan_problem(), self._no_camera())
        for warning in filter(None, (*self._warnings(), *self._input_remarks(), *scan)):
            kind = re.sub(r'\d+(\.\d+)?', '#', warning)
            if kind not in self._said:
                self._said.add(kind)
                hint = '; set device to cpu to accept that' if warning.startswith('no GPU') else ''
                self.get_logger().warning(warning + hint)


def _is_rectified_topic(topic: str) -> bool:
    return any(part.startswith('image_rect') for part in topic.split('/'))


def _image_facts(message: Image | CompressedImage, optical_frame: str) -> dict[str, str]:
    facts = {'frame_id': optical_frame or message.header.frame_id}
    if isinstance(message, Image):
        return {**facts, 'encoding': message.encoding, 'size': f'{message.width}x{message.height}'}
    return {**facts, 'encoding': message.format}
