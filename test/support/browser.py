# SPDX-License-Identifier: Apache-2.0
"""Replace a browser: talk to the page's server like viser's own page."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import cv2
import msgspec
import numpy as np
import viser
import zstandard
from websockets.sync.client import connect

CAMERA = {
    'type': 'ViewerCameraMessage',
    'wxyz': (1.0, 0.0, 0.0, 0.0),
    'position': (0.0, 0.0, 1.0),
    'fov': 1.0,
    'near': 0.1,
    'far': 100.0,
    'image_height': 600,
    'image_width': 800,
    'look_at': (0.0, 0.0, 0.0),
    'up_direction': (0.0, 0.0, 1.0),
}
#: Seconds that a busy machine may take to import the page's requirements.
ADDRESS_PATIENCE = 120.0


class Browser:
    """A connection to the page's server; a context manager.

    Args:
        url: address of the page.
        **options: options of the connection, such as the size of its buffer.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._closing = ExitStack()
        self._socket = self._closing.enter_context(
            connect(
                url.replace('http', 'ws', 1),
                subprotocols=[f'viser-v{viser.__version__}'],
                max_size=None,
                compression=None,
                **options,
            )
        )
        self._socket.send(msgspec.msgpack.encode(CAMERA))
        self.messages: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def wait_for(self, condition: Callable[[], Any], timeout: float = 60.0) -> Any:
        """Receive until the condition is true; return its value. Fail after the timeout."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            with suppress(TimeoutError):
                self.messages += _decoded(self._socket.recv(timeout=0.2))
        raise AssertionError(f'the condition is still false after {timeout:.0f} s')

    def drain(self) -> None:
        """Receive until nothing arrives for a second."""
        with suppress(TimeoutError):
            while True:
                self.messages += _decoded(self._socket.recv(timeout=1.0))

    def all_of(self, name: str) -> list[dict[str, Any]]:
        """Return the properties of a part of the scene each time it was sent."""
        return [
            message['props']
            for message in self.messages
            if message.get('name') == name and 'props' in message
        ]

    def updates(self, key: str) -> list[Any]:
        """Return the values to which a property of any part was changed."""
        return [
            message['updates'][key]
            for message in self.messages
            if key in message.get('updates', ())
        ]

    def picture(self, label: str) -> np.ndarray | None:
        """Return the newest image (H, W, 3) RGB of the panel with that label."""
        uuid = next(
            (
                message['uuid']
                for message in self.messages
                if message['type'] == 'GuiImageMessage' and message['props']['label'] == label
            ),
            None,
        )
        data = [
            message['updates']['_data']
            for message in self.messages
            if message.get('uuid') == uuid and '_data' in message.get('updates', ())
        ]
        if not data:
            return None
        return cv2.imdecode(np.frombuffer(data[-1], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def set(self, kind: str, label: str, value: Any) -> None:
        """Operate a control of the panel."""
        uuid = next(
            message['uuid']
            for message in self.messages
            if message['type'] == kind and message['props']['label'] == label
        )
        self._socket.send(
            msgspec.msgpack.encode(
                {'type': 'GuiUpdateMessage', 'uuid': uuid, 'updates': {'value': value}}
            )
        )

    def click(self, origin: tuple[float, ...], direction: tuple[float, ...]) -> None:
        """Click along a ray from the eye, in the level frame."""
        self._socket.send(
            msgspec.msgpack.encode(
                {
                    'type': 'ScenePointerMessage',
                    'event_type': 'click',
                    'ray_origin': origin,
                    'ray_direction': direction,
                    'screen_pos': ((0.5, 0.5),),
                    'modifier': None,
                }
            )
        )

    def file(self, suffix: str) -> bytes | None:
        """Return the newest completely sent download with that suffix."""
        start = next(
            (
                message
                for message in reversed(self.messages)
                if message['type'] == 'FileTransferStartDownload'
                and message['filename'].endswith(suffix)
            ),
            None,
        )
        parts = [
            message['content']
            for message in self.messages
            if start
            and message['type'] == 'FileTransferPart'
            and message['transfer_uuid'] == start['transfer_uuid']
        ]
        return b''.join(map(bytes, parts)) if start and len(parts) == start['part_count'] else None

    def text(self) -> str:
        """Return all texts sent to the panel, the newest last."""
        return '\n'.join(self.updates('content'))


def _decoded(window: bytes) -> list[dict[str, Any]]:
    """Decode viser's format: sizes, compressed msgpack, then arrays aligned to eight bytes."""
    compressed = int.from_bytes(window[8:16], 'little')
    content = msgspec.msgpack.decode(zstandard.decompress(window[16 : 16 + compressed]))
    buffers, offset = [], 16 + compressed
    for length in content['binaryBufferLengths']:
        offset += -offset % 8
        buffers.append(window[offset : offset + length])
        offset += length
    return [_with_arrays(message, buffers) for message in content['messages']]


def _with_arrays(value: Any, buffers: list[bytes]) -> Any:
    if isinstance(value, dict):
        if '__binary_index' in value:
            return np.frombuffer(buffers[value['__binary_index']], value['dtype'])
        return {key: _with_arrays(item, buffers) for key, item in value.items()}
    return value


@contextmanager
def viewing(*arguments: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run `depth-perception view`; yield the process and the address of its page."""
    words = [sys.executable, '-m', 'depth_perception.cli.main', 'view', '--port', '0', *arguments]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, _address(process)
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen) -> str:
    """Return the address that the process prints; do not wait for its end if it prints none."""
    said, deadline = '', time.monotonic() + ADDRESS_PATIENCE
    while time.monotonic() < deadline:
        if not select.select([process.stderr], [], [], 1.0)[0]:
            continue
        part = os.read(process.stderr.fileno(), 65536).decode()
        said += part
        if address := re.search(r'(http://\S+).*\n', said):
            return address[1]
        if not part:
            break
    raise AssertionError(f'no address, but: {said}')
