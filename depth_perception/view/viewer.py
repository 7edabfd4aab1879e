# SPDX-License-Identifier: Apache-2.0
"""The page in the browser, served and updated by viser (https://viser.studio).

viser sends a changed value to a browser when the browser has received the previous one, and only
its newest state. So a slow browser gets fewer frames, and nothing piles up here.
"""

from __future__ import annotations

import contextlib
import io
import math
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import cv2
import numpy as np

from depth_perception.camera.model import CameraModel
from depth_perception.depth.perspective import View
from depth_perception.depth.settings import OPTIONS
from depth_perception.extras import remedy
from depth_perception.view import drawing
from depth_perception.view.frame import Cloud, Frame, Scan, Stand
from depth_perception.view.html import HINT, label_html, remarks_html, scale_html

if TYPE_CHECKING:
    import viser

#: Type of a part of a frame.
Part = TypeVar('Part')

#: Width in pixels of the pictures in the panel; they are not shown wider on most screens.
PICTURE_WIDTH = 480
JPEG_QUALITY = 75
PANEL_WIDTH = 350
#: Unit quaternion (w, x, y, z) of the optical frame (z forward, y down) in a level frame (x
#: forward, z up), REP-103.
OPTICAL = (0.5, -0.5, 0.5, -0.5)
#: Viewpoints: position and target, metres in the level frame.
VIEWS = {
    'Behind': ((-1.3, 0.0, 0.9), (2.0, 0.0, -0.05)),
    'Camera': ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
    'Side': ((2.0, -4.5, 1.8), (2.2, 0.0, -0.2)),
    'Above': ((2.4, 0.0, 7.0), (2.5, 0.0, 0.0)),
}
_RED, _MARKS, _FRUSTUM = (235, 40, 40), (120, 130, 145), (60, 110, 200)
_CAMERA_COLOURS, _DISTANCE = 'camera', 'distance'
_NEXT, _SAVE = 'Next', 'Save picture'


class ViewError(RuntimeError):
    """The page cannot be served; the text says why and what to do."""


class Viewer:
    """Serve the page at `url` and show frames in all browsers that have it open.

    Args:
        host: address to listen at; 127.0.0.1 allows only browsers on this machine.
        port: TCP port; 0 for any free one.
        most_points: largest number of points of the cloud; larger clouds are thinned.

    Raises:
        ViewError: viser is not installed, or the address or port is not available.
    """

    def __init__(self, host: str = '127.0.0.1', port: int = 0, most_points: int = 50_000) -> None:
        self._most_points = most_points
        self._lock = threading.Lock()
        self._shown = Frame()
        self._switches: dict[str, Any] = {}
        self._cloud_style: tuple[Any, ...] = ()
        self._changed = threading.Event()
        self._ray: tuple[Any, Any] | None = None
        self._picked: Any = None
        self._steps = 0
        self._server = _serve(host, port)
        self.url = f'http://{_url_host(host)}:{self._server.get_port()}'
        self._server.on_client_connect(self._note_change)
        self._server.on_client_disconnect(self._note_change)
        self._build_scene()
        self._build_panel()

    @property
    def watchers(self) -> int:
        """Number of browsers that have the page open."""
        return len(self._server.get_clients())

    def wait_for_watchers(self, timeout: float) -> bool:
        """Return whether a browser has the page open, now or within the timeout (seconds)."""
        self._changed.clear()
        return bool(self.watchers or (self._changed.wait(timeout) and self.watchers))

    def may_go_on(self) -> bool:
        """Return whether to show the next frame: not paused, or one more frame was requested."""
        if not self._pause.value:
            self._steps = 0
            return True
        if self._steps > 0:
            self._steps -= 1
            return True
        return False

    def offer_stand(self, stand: Stand, change: Callable[[Stand], Frame]) -> None:
        """Add sliders for the pose of the camera; `change` returns the frame for a new pose."""
        gui = self._server.gui
        down, up = OPTIONS['camera_pitch'].limits, OPTIONS['camera_height'].limits
        pitch = gui.add_slider(
            'Camera looks down',
            *down,
            0.5,
            float(np.clip(math.degrees(stand.pitch), *down)),
            hint='degrees',
        )
        height = gui.add_slider(
            'Camera height',
            *up,
            0.01,
            float(np.clip(stand.height or 0, *up)),
            hint='metres above the floor; 0 means unknown',
        )

        def apply(_event: Any) -> None:
            self.show(change(Stand(math.radians(pitch.value), stand.roll, height.value or None)))

        for control in (pitch, height):
            control.on_update(apply)

    def show(self, frame: Frame) -> None:
        """Show what changed since the last frame; parts that are None keep their last state."""
        with self._lock, self._server.atomic():
            before, self._shown = self._shown, frame
            if _is_new(frame.image, before.image):
                self._image.image = drawing.shrunk(frame.image, PICTURE_WIDTH)
            if _is_new(frame.depth, before.depth):
                self._depth.image = drawing.shrunk(frame.depth, PICTURE_WIDTH)
            if frame.depth_range != before.depth_range:
                self._scale.content = scale_html(frame.depth_range)
            self._remarks.content = remarks_html(frame.remarks)
            if frame.label != before.label:
                self._label.content = label_html(frame.label)
            if frame.stand != before.stand:
                self._stand(frame.stand)
            if frame.camera is not None and (frame.camera, frame.depth_range) != (
                before.camera,
                before.depth_range,
            ):
                self._draw_camera(frame.camera, (frame.depth_range or (0.0, 10.0))[1])
            if _is_new(frame.cloud, before.cloud) or self._cloud_style != self._wanted_style():
                self._draw_cloud(frame.cloud)
            if _is_new(frame.scan, before.scan):
                self._draw_scan(frame.scan)
            if self._ray is not None:
                self._pick()

    def close(self) -> None:
        """Disconnect the browsers and free the port."""
        with _quiet():
            self._server.stop()

    async def _note_change(self, _client: viser.ClientHandle) -> None:
        """Wake `wait_for_watchers`; runs in viser's event loop."""
        self._changed.set()

    # The page ------------------------------------------------------------------------------

    def _build_scene(self) -> None:
        scene, empty = self._server.scene, np.zeros((0, 2, 3), np.float32)
        self._server.initial_camera.position, self._server.initial_camera.look_at = VIEWS['Behind']
        self._camera = scene.add_frame(
            '/camera', wxyz=OPTICAL, axes_length=0.12, axes_radius=0.006, origin_radius=0.012
        )
        self._floor = scene.add_grid(
            '/floor',
            10.0,
            10.0,
            cell_color=(70, 75, 85),
            section_color=(90, 95, 105),
            visible=False,
        )
        self._marks = scene.add_line_segments(
            '/marks', empty, _MARKS, thickness=1.0, thickness_units='screen'
        )
        self._labels: list[Any] = []
        self._lines = scene.add_line_segments(
            '/scan/lines', empty, _RED, thickness=3.0, thickness_units='screen'
        )
        self._hits = scene.add_point_cloud(
            '/scan/hits',
            empty[:, 0],
            _RED,
            point_size=0.02,
            point_shape='circle',
            precision='float32',
            point_shading='flat',
        )

    def _build_panel(self) -> None:
        gui, blank = self._server.gui, np.full((3, 4, 3), 40, np.uint8)
        gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(PANEL_WIDTH)
        self._remarks = gui.add_html('')
        self._label = gui.add_html('')
        self._image = gui.add_image(blank, label='Camera', format='jpeg', jpeg_quality=JPEG_QUALITY)
        self._depth = gui.add_image(blank, label='Depth', format='jpeg', jpeg_quality=JPEG_QUALITY)
        self._scale = gui.add_html('')
        self._pause = gui.add_checkbox('Pause', False)
        frame = gui.add_button_group(
            'Frame',
            (_NEXT, _SAVE),
            hint='the next one while paused; '
            'camera, depth and cloud as you see them as one picture',
        )
        frame.on_click(
            lambda event: self._step() if event.target.value == _NEXT else self._save(event.client)
        )
        views = gui.add_button_group('View from', tuple(VIEWS))
        views.on_click(lambda event: _look(event.client, *VIEWS[event.target.value]))
        self._colours = gui.add_dropdown('Cloud colours', (_CAMERA_COLOURS, _DISTANCE))
        self._point_size = gui.add_slider('Point size', 0.002, 0.06, 0.002, 0.016)
        for control in (self._colours, self._point_size):
            control.on_update(lambda _event: self.show(self._shown))
        self._add_switch('Cloud', '/camera/cloud')
        self._add_switch('Scan (red)', '/scan/lines', '/scan/hits')
        self._add_switch('Distance marks', '/marks')
        gui.add_html(HINT)
        self._server.scene.on_click()(self._on_click)

    def _add_switch(self, label: str, *names: str) -> None:
        """Add a checkbox that shows and hides parts of the scene."""
        box = self._server.gui.add_checkbox(label, True)

        def apply(_event: Any) -> None:
            for name in names:
                node = self._server.scene.get_handle_by_name(name)
                if node is not None:
                    node.visible = box.value

        box.on_update(apply)
        self._switches.update(dict.fromkeys(names, box))

    def _step(self) -> None:
        self._steps = min(self._steps + 1, 3)

    def _save(self, client: viser.ClientHandle | None) -> None:
        """Send a PNG to the browser that asked for it."""
        with self._lock:
            frame = self._shown
        if client is None:
            return
        picture = drawing.still(frame, self._view_of(client), self._most_points)
        if picture is not None:
            name = f'{frame.label or "depth"}.png'.replace(' ', '_').replace(',', '')
            content = cv2.imencode('.png', np.ascontiguousarray(picture[..., ::-1]))[1]
            client.send_file_download(name, content.tobytes(), save_immediately=True)

    def _view_of(self, client: viser.ClientHandle) -> View:
        """Return the viewpoint of a browser in the optical frame."""
        eye, target = (
            self._optical(np.array(place))
            for place in (client.camera.position, client.camera.look_at)
        )
        return View(tuple(eye), tuple(target), math.degrees(client.camera.fov))

    def _optical(self, level: Any) -> Any:
        """Convert a position or direction from the level frame to the optical frame."""
        from viser.transforms import SO3

        return SO3(np.array(self._camera.wxyz)).inverse() @ level

    def _on_click(self, event: Any) -> None:
        """Store the clicked ray: its distance is updated until the next click."""
        with self._lock, self._server.atomic():
            self._ray = (np.array(event.ray_origin), np.array(event.ray_direction))
            if not self._pick():
                self._ray = None

    def _pick(self) -> bool:
        """Label the nearest point on the ray with its distance; return False if there is none."""
        cloud, point = self._shown.cloud, None
        if cloud is not None and self._ray is not None:
            points, _ = drawing.thinned(cloud, self._most_points)
            point = drawing.point_on_ray(points, *map(self._optical, self._ray))
        if point is None:
            if self._picked is not None:
                self._picked.remove()
                self._picked = None
            return False
        text = f'{np.linalg.norm(point):.2f} m away, depth {point[2]:.2f} m'
        position = (float(point[0]), float(point[1]), float(point[2]))
        if self._picked is None:
            self._picked = self._server.scene.add_label('/camera/picked', text, position=position)
        self._picked.text, self._picked.position = text, position
        return True

    # Parts of the scene --------------------------------------------------------------------

    def _wanted_style(self) -> tuple[Any, ...]:
        return self._colours.value, self._point_size.value, self._shown.depth_range

    def _draw_cloud(self, cloud: Cloud | None) -> None:
        """Send points and colours in one message, so that a browser never skips only one."""
        if cloud is None:
            return
        self._cloud_style = self._wanted_style()
        points, colours = drawing.thinned(cloud, self._most_points)
        if self._colours.value == _DISTANCE and self._shown.depth_range:
            colours = drawing.by_distance(points, *self._shown.depth_range)
        self._server.scene.add_point_cloud(
            '/camera/cloud',
            points,
            colours,
            point_size=self._point_size.value,
            point_shape='circle',
            point_shading='flat',
            visible=self._switches['/camera/cloud'].value,
        )

    def _stand(self, stand: Stand) -> None:
        """Rotate the camera and its data to the pose, and place the floor if it is known."""
        from viser.transforms import SO3

        level = SO3.from_rpy_radians(stand.roll, stand.pitch, 0.0)
        self._camera.wxyz = (level @ SO3(np.array(OPTICAL))).wxyz
        self._floor.visible = stand.height is not None
        self._floor.position = (5.0, 0.0, -(stand.height or 0.0))

    def _draw_scan(self, scan: Scan) -> None:
        self._lines.points = drawing.scan_lines(scan)
        self._hits.points = drawing.scan_points(scan)

    def _draw_camera(self, camera: CameraModel, far: float) -> None:
        """Draw the camera's frustum, and arcs at round distances."""
        self._server.scene.add_camera_frustum(
            '/camera/view',
            fov=2 * math.atan(camera.height / 2 / camera.fy),
            aspect=camera.width / camera.height,
            scale=0.25,
            color=_FRUSTUM,
            thickness=2.0,
            thickness_units='screen',
        )
        distances, self._marks.points = drawing.distance_marks(camera, far)
        for label in self._labels:
            label.remove()
        side = -math.atan2(camera.width - camera.cx, camera.fx)
        self._labels = [
            self._server.scene.add_label(
                f'/marks/{distance:g}',
                f'{distance:g} m',
                position=(distance * math.cos(side), distance * math.sin(side), 0.0),
            )
            for distance in distances
        ]


def _serve(host: str, port: int) -> viser.ViserServer:
    try:
        import viser
    except ImportError as error:
        raise ViewError(remedy(error) or f'viser cannot be imported: {error}') from error

    class Server(viser.ViserServer):
        def request_share_url(self, verbose: bool = True) -> None:
            """Do nothing: a browser must not open a public tunnel to this machine."""

    _check_address(host, port)
    with _quiet():
        server = Server(host=host, port=port, label='Depth perception', verbose=False)
    if port and server.get_port() != port:  # it was taken meanwhile, and viser used another one
        server.stop()
        raise ViewError(_busy(port))
    return server


def _check_address(host: str, port: int) -> None:
    """Raise ViewError if the address or port is not available."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family):
            pass
    except OSError as error:
        if error.errno is not None and 'in use' in str(error):
            raise ViewError(_busy(port)) from error
        raise ViewError(
            f'cannot listen at {host} port {port}: {error.strerror or error}'
        ) from error


def _busy(port: int) -> str:
    return f'port {port} is in use: choose another one with --port, or 0 for any free one'


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep viser's messages out of stdout; the command prints its own."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _url_host(host: str) -> str:
    if host in ('0.0.0.0', '::'):
        return socket.gethostname()
    return f'[{host}]' if ':' in host else host


def _is_new(value: Part | None, before: Part | None) -> TypeGuard[Part]:
    return value is not None and value is not before


def _look(client: Any, position: tuple[float, ...], target: tuple[float, ...]) -> None:
    """Move the viewpoint of one browser."""
    if client is not None:
        with client.atomic():
            client.camera.position, client.camera.look_at = position, target
