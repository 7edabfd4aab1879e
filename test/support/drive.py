# SPDX-License-Identifier: Apache-2.0
"""A simulated robot that drives by the node's cloud and scan with Nav2's rules.

Each camera frame is processed like a real one: true depth, the errors of a network, an optional
correction, and then the masks, the cloud and the scan of this package. Nav2 is `nav2_rules` with
the files of config/. The robot's odometry is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from depth_perception.camera.model import CameraModel
from depth_perception.depth.anchors import AnchoredDepth, Anchors
from depth_perception.depth.floor_anchors import floor_anchors
from depth_perception.depth.products import ProductMaker
from depth_perception.depth.scan import CameraPose
from depth_perception.depth.settings import DepthSettings
from test.support.depth_errors import IDEAL, DepthErrors
from test.support.nav2_rules import CollisionMonitor, ObstacleLayer, Points, Velocity, observations
from test.support.ray_caster import Mount, Scene, attitude, true_depth

CONFIG = Path(__file__).parents[2] / 'config'
MONITOR = yaml.safe_load((CONFIG / 'nav2_collision_monitor.yaml').read_text())['collision_monitor'][
    'ros__parameters'
]
COSTMAP = yaml.safe_load((CONFIG / 'nav2_costmap.yaml').read_text())['local_costmap'][
    'local_costmap'
]['ros__parameters']

#: As many points as 640x480 with a stride of 4, as docs/nav2.md recommends.
SMALL_CAMERA = CameraModel(160, 120, 125.0, 125.0, 79.5, 59.5)
CAMERA = CameraModel(320, 240, 250.0, 250.0, 159.5, 119.5)
POINTS_WIDTH = 160
#: Range of the network, and `max_depth` in docs/nav2.md, metres.
NETWORK_MIN_DEPTH, NETWORK_MAX_DEPTH, MAX_DEPTH = 0.1, 10.0, 6.0
#: Seconds: of Nav2's controller (20 Hz), between frames, from a frame's stamp to its outputs, from
#: a command to the wheels.
STEP, FRAME, LATENCY, WHEELS = 0.05, 0.1, 0.1, 0.05
#: The small time-of-flight sensor: zones per side, range in metres.
ZONES, ZONES_REACH = 8, 4.0
#: Metres per second squared.
ACCELERATION = 1.5
#: A slower robot (m/s, rad/s) counts as stopped.
STANDS = 0.02
#: Of the controller's own check of the costmap: seconds ahead, as
#: max_allowed_time_to_collision_up_to_carrot of Nav2's regulated pure pursuit.
LOOKS_AHEAD = 1.0
#: A stop with more free space ahead than this counts as unnecessary, metres.
FREE_WAY = 1.5

Pose = tuple[float, float, float]


@dataclass(frozen=True)
class Robot:
    """A round robot on two wheels.

    Attributes:
        radius, height: size of its body in metres.
        mount: position of its camera.
        camera: intrinsics of its camera.
        lidar: metres above the floor of a 2D lidar at the middle of the robot.
    """

    radius: float
    height: float
    mount: Mount
    camera: CameraModel = SMALL_CAMERA
    lidar: float = 0.2

    @property
    def stand(self) -> CameraPose:
        """How its camera stands."""
        return CameraPose(self.mount.pitch, height=self.mount.height)

    @property
    def footprint(self) -> Points:
        """Return Nav2's polygon for robot_radius, with footprint_padding 0.01."""
        angles = np.arange(16) * 2 * np.pi / 16
        circle = np.stack([np.cos(angles), np.sin(angles)], -1) * self.radius
        return circle + 0.01 * np.sign(np.round(circle, 9))


#: A low camera at the front: the robot passes below things above the camera.
LOW = Robot(0.22, 0.4, Mount(0.2, 0.3, math.radians(15)))
#: The camera high, looking down. Its lidar sees past the table tops that the camera sees.
TALL = Robot(0.22, 0.9, Mount(0.2, 0.8, math.radians(30)))

#: (seconds, pose) -> the velocity wanted by the plan; None at the goal.
Plan = Callable[[float, Pose], 'Velocity | None']


@dataclass(frozen=True)
class Scenario:
    """A scene with a plan.

    Attributes:
        scene: the room.
        plan: the robot's intended motion.
        passable: whether it can reach its goal.
        seconds: time limit.
    """

    scene: Scene
    plan: Plan
    passable: bool = False
    seconds: float = 12.0


@dataclass
class Outcome:
    """Result of a drive.

    Attributes:
        collided: whether the robot hit something.
        arrived: whether it reached the goal.
        stops_for_nothing: number of stops without anything in its way within FREE_WAY.
        gap: final distance to the object ahead in metres; None if moving or at the goal.
        track: rows of seconds, x, y, heading, speed.
        seen: last cloud and scan, points in the world, for drawings.
        reasons: the polygons (or 'costmap') that stopped it.
    """

    collided: bool = False
    arrived: bool = False
    stops_for_nothing: int = 0
    gap: float | None = None
    track: list[tuple[float, ...]] = field(default_factory=list)
    seen: dict[str, Points] = field(default_factory=dict)
    reasons: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Observation:
    """One frame's outputs as received by Nav2, by the source names of config/.

    Attributes:
        stamp, arrival: seconds.
        pose: the robot's pose at the stamp.
        points: (n, 3) by source in the base frame of the stamp.
    """

    stamp: float
    arrival: float
    pose: Pose
    points: dict[str, Points]


def to_world(points: Points, pose: Pose) -> Points:
    """Transform points (n, 3) from a base frame to the odom frame."""
    x, y, heading = pose
    cos, sin = math.cos(heading), math.sin(heading)
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + (x, y, 0)


def to_base(points: Points, pose: Pose) -> Points:
    """Transform points (n, 3) from the odom frame to a base frame."""
    x, y, heading = pose
    cos, sin = math.cos(heading), math.sin(heading)
    return (points - (x, y, 0)) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def settings(robot: Robot, floor_model: bool = True) -> DepthSettings:
    """The node's parameters for a robot, otherwise the defaults."""
    mount = robot.mount
    return DepthSettings(
        max_depth=MAX_DEPTH,
        point_stride=robot.camera.width // POINTS_WIDTH,
        scan_max_height=robot.height - mount.height,
        camera_height=mount.height,
        camera_pitch=math.degrees(mount.pitch),
        floor_model=floor_model,
    )


def outputs(
    depth: NDArray[np.float32],
    robot: Robot,
    make: ProductMaker,
    floor_model: bool = True,
    anchored: bool = False,
    time: float | None = None,
) -> dict[str, Points]:
    """The cloud's and the scan's points in the base frame, as the node makes them of depth."""
    products = make(None, robot.camera, depth, settings(robot, floor_model), time=time)
    if anchored:
        products = products.with_metric(products.metric, anchored=True)
    cloud = products.points.reshape(-1, 3).astype(float)
    mount = robot.mount
    return {
        'depth_points': mount.to_base(cloud[np.isfinite(cloud[:, 2])]),
        **observations(products.scan(), (mount.forward, 0, mount.height)),
    }


def lidar_row(
    scene: Scene, robot: Robot, pose: Pose, seconds: float, random: np.random.Generator
) -> Anchors:
    """What a 2D lidar sees, projected into the image; noise of 1 cm."""
    x, y, heading = pose
    angles = np.radians(np.arange(-60, 60.1, 0.5))
    beams = np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1)
    z, slope = scene.ground(x)
    turn = attitude(heading, slope)
    ranges = scene.cast(turn @ (0, 0, robot.lidar) + (x, y, z), beams @ turn.T, seconds)
    ranges = ranges + random.normal(0, 0.01, len(ranges))
    seen = np.isfinite(ranges)
    base = ranges[seen, None] * beams[seen] + (0, 0, robot.lidar)
    x, y, depth = robot.mount.to_optical(base).T
    x, y, depth = (values[depth > 0] for values in (x, y, depth))
    camera = robot.camera
    return Anchors.of(camera.cx + camera.fx * x / depth, camera.cy + camera.fy * y / depth, depth)


def zones(truth: NDArray[np.float32], robot: Robot, random: np.random.Generator) -> Anchors:
    """What a sensor of 8x8 zones over 45 degrees sees at the camera: the mean of each zone.

    Within 4 m, with noise of 3 % and 2 cm.
    """
    camera = robot.camera
    side = 2 * camera.fx * math.tan(math.radians(45 / 2)) / ZONES
    centres = (np.arange(ZONES) - (ZONES - 1) / 2) * side
    v, u = (
        grid.reshape(-1)
        for grid in np.meshgrid(camera.cy + centres, camera.cx + centres, indexing='ij')
    )
    half = side / 2
    depth = np.array(
        [
            truth[
                max(0, round(y - half)) : round(y + half) + 1,
                max(0, round(x - half)) : round(x + half) + 1,
            ].mean()
            for x, y in zip(u, v)
        ]
    )
    depth = depth * random.normal(1, 0.03, len(depth)) + random.normal(0, 0.02, len(depth))
    near = depth < ZONES_REACH
    return Anchors.of(u[near], v[near], depth[near], radius=half)


def drive(
    scenario: Scenario,
    robot: Robot,
    errors: DepthErrors = IDEAL,
    sensor: str = '',
    guard: str = 'monitor',
    seed: int = 0,
    monitor: dict[str, Any] = MONITOR,
    costmap: dict[str, Any] = COSTMAP,
    floor_model: bool = True,
) -> Outcome:
    """Drive a scenario once.

    Args:
        scenario: where to and through what.
        robot: that drives.
        errors: of its depth.
        sensor: that corrects depth, with the floor as an anchor: 'lidar', or 'zones' for 8x8
            distances (a small time-of-flight sensor) at the camera. '' = none.
        guard: what stops it: 'monitor' (the collision monitor alone, its controller being blind) or
            'costmap' (the controller's look at the obstacle layer alone).
        seed: of the errors' randomness.
        monitor, costmap: parameters of the two.
        floor_model: as the node's parameter.
    """
    held_by = _Monitor(robot, monitor) if guard == 'monitor' else _Costmap(robot, costmap)
    return _Drive(scenario, robot, errors, sensor, seed, held_by, floor_model).run()


class _Drive:
    def __init__(
        self,
        scenario: Scenario,
        robot: Robot,
        errors: DepthErrors,
        sensor: str,
        seed: int,
        guard: _Monitor | _Costmap,
        floor_model: bool,
    ) -> None:
        self._scenario, self._robot, self._errors = scenario, robot, errors
        self._seed, self._guard, self._floor_model = seed, guard, floor_model
        self._sensor, self._anchored = sensor, AnchoredDepth() if sensor else None
        self._make = ProductMaker(NETWORK_MAX_DEPTH)
        self._random = np.random.default_rng(seed)
        self._pose: Pose = (0.0, 0.0, 0.0)
        self._speed = Velocity(0.0, 0.0)
        self._under_way: list[Observation] = []
        self._commands = [Velocity(0.0, 0.0)] * round(WHEELS / STEP)
        self._outcome = Outcome()
        self._standing = 0.0

    def run(self) -> Outcome:
        outcome = self._outcome
        for step in range(round(self._scenario.seconds / STEP)):
            seconds = step * STEP
            if step % round(FRAME / STEP) == 0:
                self._look(seconds)
            wanted = self._scenario.plan(seconds, self._pose)
            if wanted is None:
                outcome.arrived = True
                break
            self._take(seconds)
            allowed, reason = self._guard.allow(seconds, self._pose, wanted)
            self._judge(seconds, reason)
            self._move(allowed)
            outcome.track.append((seconds, *self._pose, self._speed.x))
            if self._gap(seconds) <= 0:
                outcome.collided = True
                break
        if self._standing > 1 and not outcome.arrived and not outcome.collided:
            outcome.gap = self._gap(seconds)
        return outcome

    def _look(self, seconds: float) -> None:
        """One camera frame: into the queue of those that will arrive."""
        if self._random.random() < self._errors.lost:
            return
        scene, robot = self._scenario.scene, self._robot
        truth = true_depth(scene, robot.camera, robot.mount, self._pose, seconds)
        depth = self._errors.apply(truth, seconds, self._seed)
        if self._anchored is not None:
            seen = (
                zones(truth, robot, self._random)
                if self._sensor == 'zones'
                else lidar_row(scene, robot, self._pose, seconds, self._random)
            )
            anchors = Anchors.joined([seen, floor_anchors(depth, robot.camera, robot.stand)])
            depth, _ = self._anchored(depth, anchors, seconds, NETWORK_MIN_DEPTH, NETWORK_MAX_DEPTH)
        self._under_way.append(
            Observation(
                seconds,
                seconds + LATENCY + self._errors.late,
                self._pose,
                outputs(
                    depth,
                    robot,
                    self._make,
                    self._floor_model,
                    self._anchored is not None,
                    seconds,
                ),
            )
        )

    def _take(self, seconds: float) -> None:
        while self._under_way and self._under_way[0].arrival <= seconds + 1e-9:
            observation = self._under_way.pop(0)
            self._guard.take(observation)
            self._outcome.seen = {
                name: to_world(points, observation.pose)
                for name, points in observation.points.items()
            }

    def _gap(self, seconds: float) -> float:
        return self._scenario.scene.gap(
            *self._pose[:2], self._robot.radius, self._robot.height, seconds
        )

    def _judge(self, seconds: float, reason: str) -> None:
        """Count a stop once, when it has lasted for a second."""
        if reason:
            self._outcome.reasons.add(reason)
        stands = abs(self._speed.x) < STANDS and abs(self._speed.turn) < STANDS
        before, self._standing = self._standing, self._standing + STEP if stands else 0.0
        if (
            before <= 1 < self._standing
            and self._scenario.scene.gap_ahead(
                self._pose, self._robot.radius, self._robot.height, seconds
            )
            > FREE_WAY
        ):
            self._outcome.stops_for_nothing += 1

    def _move(self, allowed: Velocity) -> None:
        """The wheels get a command late, and accelerate as they can."""
        self._commands.append(allowed)
        command = self._commands.pop(0)
        most = ACCELERATION * STEP
        speed = self._speed.x + min(max(command.x - self._speed.x, -most), most)
        self._speed = Velocity(speed, command.turn)
        x, y, heading = self._pose
        self._pose = (
            x + speed * math.cos(heading) * STEP,
            y + speed * math.sin(heading) * STEP,
            heading + command.turn * STEP,
        )


class _Monitor:
    """The collision monitor alone."""

    def __init__(self, robot: Robot, parameters: dict[str, Any]) -> None:
        self._monitor = CollisionMonitor(parameters, robot.footprint)
        self._last: Observation | None = None

    def take(self, observation: Observation) -> None:
        self._last = observation

    def allow(self, seconds: float, pose: Pose, wanted: Velocity) -> tuple[Velocity, str]:
        if self._last is None:
            return self._monitor(wanted, {})
        last = self._last
        cloud = to_base(to_world(last.points['depth_points'], last.pose), pose)
        return self._monitor(wanted, {'depth_points': (seconds - last.stamp, cloud)})


class _Costmap:
    """A controller that stops if its path of the next second meets a lethal cell."""

    def __init__(self, robot: Robot, parameters: dict[str, Any]) -> None:
        self._robot, self._parameters = robot, parameters
        self.layer = ObstacleLayer(parameters)
        self._last: Observation | None = None
        self._updated = -math.inf

    def take(self, observation: Observation) -> None:
        self._last = observation

    def allow(self, seconds: float, pose: Pose, wanted: Velocity) -> tuple[Velocity, str]:
        if self._last is None or seconds - self._last.arrival > min(self._rates()):
            return Velocity(0, 0), 'costmap not current'
        if seconds - self._updated >= 1 / self._parameters['update_frequency'] - 1e-9:
            self._updated = seconds
            self._update(pose)
        if self._way_meets_a_cell(pose, wanted):
            return Velocity(0, 0), 'costmap'
        return wanted, ''

    def _rates(self) -> Iterator[float]:
        layer = self._parameters['obstacle_layer']
        return (
            layer[name]['expected_update_rate'] for name in layer['observation_sources'].split()
        )

    def _update(self, pose: Pose) -> None:
        last = self._last
        points = {name: to_world(points, last.pose) for name, points in last.points.items()}
        origin = to_world(np.array([[self._robot.mount.forward, 0, 0]]), last.pose)[0]
        self.layer.update(points, tuple(origin[:2]))
        self.layer.roll(pose[:2], self._robot.radius)

    def _way_meets_a_cell(self, pose: Pose, wanted: Velocity) -> bool:
        cells = self.layer.centres()
        x, y, heading = pose
        for _ in range(round(LOOKS_AHEAD / STEP)):
            x += wanted.x * math.cos(heading) * STEP
            y += wanted.x * math.sin(heading) * STEP
            heading += wanted.turn * STEP
            if (np.hypot(*(cells - (x, y)).T) < self._robot.radius).any():
                return True
        return False


def ahead(speed: float, goal: float) -> Plan:
    """Drive straight ahead to x = goal."""
    return lambda seconds, pose: None if pose[0] >= goal else Velocity(speed, 0.0)


def turn_and_leave(speed: float, rate: float, distance: float) -> Plan:
    """Turn left by 90 degrees on the spot, then drive straight ahead for a distance."""

    def plan(seconds: float, pose: Pose) -> Velocity | None:
        if pose[2] < math.pi / 2 - 0.02:
            return Velocity(0.0, rate)
        return None if pose[1] >= distance else Velocity(speed, 0.0)

    return plan
