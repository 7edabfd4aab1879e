# SPDX-License-Identifier: Apache-2.0
"""Update the pictures of the bundled network in docs/images.

    python scripts/network_pictures.py            all pictures
    python scripts/network_pictures.py view       one of demo, view, edges, obstacles

docs/images/network.json records which network each picture shows; a test compares it with the
weights. docs/model_card.md and its picture are written by `python -m depth_training model-card`.
The picture of the viewer page needs Chromium (apt install chromium).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from depth_perception.io.weights import load_weights
from depth_training.report.network_pictures import record

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / 'docs' / 'images'
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
SIZE = (1360, 1000)
#: Frame of the clip in the viewer, the camera's field of view in degrees, pitch and height.
FRAME, FOV, PITCH, HEIGHT = 6, '63.4', '7', '0.5'
#: Seconds to wait for the network and the page, and for drawing with WebGL in software.
PATIENCE, DRAWING = 120.0, 8.0


def main() -> int:
    """Run the command line; return 0 if all pictures are written."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'one of {", ".join(MAKERS)}')
    names = parser.parse_args().names or list(MAKERS)
    if unknown := [name for name in names if name not in MAKERS]:
        parser.error(f'unknown picture {unknown[0]!r}: choose from {", ".join(MAKERS)}')
    checksum = load_weights().checksum
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for file in MAKERS[name](Path(folder)):
                shutil.copyfile(file, IMAGES / file.name)
                record(IMAGES, file.name, checksum)
                print(f'{IMAGES / file.name}: network {checksum[:12]}')
    return 0


def demo(folder: Path) -> list[Path]:
    """Make demo.png and demo.gif with scripts/demo."""
    _run('depth_perception.demo', '--out', str(folder))
    names = {'montage.png': 'demo.png', 'animation.gif': 'demo.gif'}
    return [(folder / old).rename(folder / new) for old, new in names.items()]


def edges(folder: Path) -> list[Path]:
    """Make edges.png: what the filter of flying pixels removes."""
    _run('benchmarks.edges', '--out', str(folder))
    return [folder / 'edges.png']


def obstacles(folder: Path) -> list[Path]:
    """Make obstacles.png (true and predicted scan) and costmap.png (their effect in a costmap)."""
    _run('benchmarks.obstacles', '--out', str(folder))
    return [folder / 'obstacles.png', folder / 'costmap.png']


def anchors(folder: Path) -> list[Path]:
    """Make anchors.jpg: a frame corrected by a few true distances."""
    _run('benchmarks.anchors_real', '--every', '40', '--out', str(folder))
    return [folder / 'anchors.jpg']


def view(folder: Path) -> list[Path]:
    """Make view.png: the page of `depth-perception view` with a selected point of the cloud."""
    image = folder / 'clip.jpg'
    _write_frame(image)
    words = (
        'view',
        image.name,
        '--once',
        '--port',
        '0',
        '--horizontal-fov-deg',
        FOV,
        '--camera-pitch',
        PITCH,
        '--camera-height',
        HEIGHT,
        '--points',
        '200000',
    )
    with (
        _process('-m', 'depth_perception.cli.main', *words, folder=folder) as page,
        _browser() as call,
    ):
        call('Page.navigate', url=_awaited(page, r'open (http://\S+)'))
        _until(lambda: _evaluated(call, 'document.body.innerText.includes("frame 1")'))
        time.sleep(DRAWING)
        _evaluated(
            call,
            'document.querySelectorAll(".mantine-Notification-closeButton")'
            '.forEach(button => button.click())',
        )
        for kind in ('mousePressed', 'mouseReleased'):
            call(
                'Input.dispatchMouseEvent',
                type=kind,
                x=SIZE[0] * 0.36,
                y=SIZE[1] * 0.42,
                button='left',
                clickCount=1,
            )
        time.sleep(DRAWING)
        shot = call('Page.captureScreenshot', format='png')['data']
    (folder / 'view.png').write_bytes(base64.b64decode(shot))
    return [folder / 'view.png']


def _write_frame(path: Path) -> None:
    from depth_perception.io.bag import Bag

    with Bag(ROOT / 'data' / 'clip_bag') as bag:
        messages = bag.messages([bag.image_topic().name])
        message = next(message for index, message in enumerate(messages) if index == FRAME)
        path.write_bytes(bytes(bag.deserialize(message).data))


def _run(module: str, *words: str) -> None:
    subprocess.run(
        [sys.executable, '-m', module, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )


@contextlib.contextmanager
def _process(
    *words: str, program: str = sys.executable, folder: Path = ROOT
) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([program, *words], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _awaited(process: subprocess.Popen, pattern: str) -> str:
    """Wait until the pattern matches the process's output; return its group."""
    said = ''
    for line in process.stderr:
        said += line
        if found := re.search(pattern, line):
            return found[1]
    raise SystemExit(f'{process.args[0]} ended: {said}')


@contextlib.contextmanager
def _browser() -> Iterator[Callable[..., dict[str, Any]]]:
    """Start a headless browser; yield a function that calls its DevTools protocol."""
    from websockets.sync.client import connect

    program = next((name for name in BROWSERS if shutil.which(name)), None)
    if program is None:
        raise SystemExit('the picture of the page needs Chromium: apt install chromium')
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        _process(
            '--headless=new',
            '--no-sandbox',
            '--use-angle=swiftshader',
            '--hide-scrollbars',
            '--enable-unsafe-swiftshader',
            '--remote-debugging-port=0',
            f'--window-size={SIZE[0]},{SIZE[1]}',
            f'--user-data-dir={profile}',
            program=program,
        ) as process,
    ):
        port = re.search(r':(\d+)/', _awaited(process, r'listening on (ws://\S+)'))[1]
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/json') as answer:
            tabs = json.load(answer)
        target = next(tab['webSocketDebuggerUrl'] for tab in tabs if tab['type'] == 'page')
        with connect(target, max_size=None) as socket:
            yield lambda method, **values: _called(socket, method, values)


def _called(socket: Any, method: str, values: dict[str, Any]) -> dict[str, Any]:
    socket.send(json.dumps({'id': 1, 'method': method, 'params': values}))
    while 'id' not in (answer := json.loads(socket.recv(timeout=PATIENCE))):
        pass  # an event
    return answer['result']


def _evaluated(call: Callable[..., dict[str, Any]], script: str) -> Any:
    return call('Runtime.evaluate', expression=script)['result'].get('value')


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f'the page did not show the expected content within {PATIENCE:.0f} s')
        time.sleep(0.5)


MAKERS: dict[str, Callable[[Path], list[Path]]] = {
    'demo': demo,
    'view': view,
    'edges': edges,
    'obstacles': obstacles,
    'anchors': anchors,
}

if __name__ == '__main__':
    sys.exit(main())
