# SPDX-License-Identifier: Apache-2.0
"""Generate and render many rooms; the run can be killed and restarted at any time.

Usage, with any Python 3.11 or newer (see README.md):

    python make_dataset.py --python rooms_venv/bin/python --out rooms \
        --kinds Bedroom Kitchen LivingRoom DiningRoom Bathroom --seeds 100 200 --views 60
    python make_dataset.py --python rooms_venv/bin/python --out simple_rooms \
        --generator simple --seeds 1000 1299 --views 20 --jobs 1

Below `--out`: `scenes/` (generated rooms, `<name>.log`, `<name>.failed`),
`frames/scene_<name>/` (`frames/simple_<name>/`) and `manifest.json`. The arguments determine the
rooms and the views.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import files
from simple import catalogue

HERE = Path(__file__).resolve().parent
KINDS = {  # by generator
    'infinigen': ('LivingRoom', 'Bedroom', 'DiningRoom', 'Bathroom', 'Kitchen'),
    'simple': (
        'livingroom',
        'kitchen',
        'office',
        'bedroom',
        'workshop',
        'diningroom',
        'corridor',
        'hall',
        'classroom',
        'bathroom',
        'storage',
    ),
}
CLIP_SEED = 1  # the bundled clip was recorded in Bedroom 1, which is excluded from training
VALIDATION_EVERY = 7  # rooms whose seed is a multiple are held out; coprime to the number of kinds
STOPPED = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)  # not caused by the room
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS')
NOTHING_RENDERED = 'no view could be rendered'

log = logging.getLogger('make_dataset')


@dataclass(frozen=True)
class RoomPlan:
    """A room to make: its kind and the seed that determines everything else."""

    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Short name, used for folders."""
        return f'{self.kind.lower()}_{self.seed}'

    @property
    def split(self) -> str:
        """`validation` for rooms excluded from training, else `train`."""
        return 'validation' if self.seed % VALIDATION_EVERY == 0 else 'train'


@dataclass(frozen=True)
class Settings:
    """Settings that affect the pictures, and limits of the work; recorded in the manifest."""

    views: int = 60
    generator: str = 'infinigen'
    scene_cpu_seconds: int = 1800
    render_cpu_seconds: int = 5400


@dataclass(frozen=True)
class Workshop:
    """Folder of the rooms, Python interpreter, and whether Blender scenes are kept."""

    out: Path
    python: Path
    keep_scenes: bool = True
    prefix: str = 'scene'  # of the folders with pictures

    def scene(self, room: RoomPlan) -> Path:
        """Return the folder of the generated room."""
        return self.out / 'scenes' / room.name

    def frames(self, room: RoomPlan) -> Path:
        """Return the folder of its pictures."""
        return self.out / 'frames' / f'{self.prefix}_{room.name}'

    def failure(self, room: RoomPlan) -> Path:
        """Return the file with the reason why the room could not be made."""
        return self.out / 'scenes' / f'{room.name}.failed'

    def record(self, room: RoomPlan) -> Path:
        """Return the log of the room's generator and renderer."""
        return self.out / 'scenes' / f'{room.name}.log'


def plan_rooms(kinds: list[str], first: int, last: int) -> list[RoomPlan]:
    """Return one room per seed from `first` to `last` inclusive, cycling through the kinds."""
    return [
        RoomPlan(kinds[seed % len(kinds)], seed)
        for seed in range(first, last + 1)
        if seed != CLIP_SEED
    ]


def run(shop: Workshop, room: RoomPlan, script: str, options: dict[str, object]) -> int:
    """Run a script of this folder on one thread; return its exit status."""
    options = {'--kind': room.kind, '--seed': room.seed, **options}
    words = (str(word) for pair in options.items() for word in pair)
    command = [str(shop.python), str(HERE / script), *words]
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, '1')}
    with shop.record(room).open('a') as record:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=record, stderr=record, env=environment
        )
    return ended.returncode


def generate(shop: Workshop, room: RoomPlan, settings: Settings) -> None:
    """Generate the room if it is missing; record and raise a failure."""
    scene = shop.scene(room)
    if scene.exists():
        return
    part = scene.with_name(f'{room.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    options: dict[str, object] = {'--out': part, '--cpu-seconds': settings.scene_cpu_seconds}
    status = run(shop, room, 'make_room.py', options)
    if status:
        shutil.rmtree(part, ignore_errors=True)  # hundreds of them would fill the disk
    check(shop, room, status, 'generator')
    part.rename(scene)


def render(shop: Workshop, room: RoomPlan, settings: Settings) -> None:
    """Render the missing views; record and raise a failure."""
    frames = shop.frames(room)
    options: dict[str, object] = {
        '--scene': shop.scene(room) / 'scene.blend',
        '--out': frames,
        '--views': settings.views,
        '--threads': 1,
        '--cpu-seconds': settings.render_cpu_seconds,
    }
    status = run(shop, room, 'render_room.py', options)
    check(shop, room, status, 'renderer')
    if not files.read_cameras(frames):
        fail(shop, room, NOTHING_RENDERED)


def make_simple(shop: Workshop, room: RoomPlan, settings: Settings) -> None:
    """Build a simple room and render its missing views; it needs no scene file."""
    options: dict[str, object] = {
        '--out': shop.frames(room),
        '--views': settings.views,
        '--threads': 1,
        '--cpu-seconds': settings.render_cpu_seconds,
    }
    status = run(shop, room, 'make_simple_room.py', options)
    check(shop, room, status, 'generator')
    if not files.read_cameras(shop.frames(room)):
        fail(shop, room, NOTHING_RENDERED)


def check(shop: Workshop, room: RoomPlan, status: int, what: str) -> None:
    """Raise if a script failed; a script that was stopped is tried again later."""
    if -status in STOPPED:
        raise RuntimeError(f'{what} was stopped')
    if status:
        record = shop.record(room)
        said = last_line(record.read_text(errors='replace')) if record.exists() else ''
        fail(shop, room, f'{what}: exit status {status}' + f' ({said})' * bool(said))


def last_line(text: str) -> str:
    """Return the last line of what a program printed, or nothing."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), '')


def fail(shop: Workshop, room: RoomPlan, reason: str) -> None:
    """Record why the room is skipped from now on, and raise `RuntimeError`."""
    files.write_whole(shop.failure(room), f'{reason}\n'.encode())
    raise RuntimeError(reason)


def is_done(shop: Workshop, room: RoomPlan) -> bool:
    """Tell whether the room failed before or has been rendered and sealed."""
    return shop.failure(room).exists() or (shop.frames(room) / files.CHECKSUMS).exists()


def make(shop: Workshop, room: RoomPlan, settings: Settings) -> bool:
    """Generate and render one room; return whether it succeeded."""
    log.info('%s: start', room.name)
    try:
        if settings.generator == 'simple':
            make_simple(shop, room, settings)
        else:
            generate(shop, room, settings)
            log.info('%s: generated', room.name)
            render(shop, room, settings)
    except (RuntimeError, OSError) as reason:
        log.warning('%s: skipped, %s', room.name, reason)
        return False
    if not shop.keep_scenes:
        shutil.rmtree(shop.scene(room), ignore_errors=True)
    log.info('%s: %d views', room.name, len(files.read_cameras(shop.frames(room))))
    return True


def describe(shop: Workshop, room: RoomPlan) -> dict[str, object]:
    """Return the entry of a finished room in the manifest."""
    folder = shop.frames(room)
    return {
        'folder': folder.name,
        **asdict(room),
        'split': room.split,
        'views': len(files.read_cameras(folder)),
        'sha256': files.sha256(folder / files.CHECKSUMS),
    }


def versions(python: Path, generator: str = 'infinigen') -> dict[str, str]:
    """Return the versions of the packages that generate and render; end if one is missing."""
    packages = ('infinigen', 'bpy') if generator == 'infinigen' else ('numpy', 'bpy')
    code = (
        'import importlib.metadata as m, json;'
        f'print(json.dumps({{n: m.version(n) for n in {packages}}}))'
    )
    try:
        answer = subprocess.run([str(python), '-c', code], capture_output=True, text=True)
    except OSError as error:
        sys.exit(f'cannot run --python {python}: {error.strerror}; {files.INSTALL}')
    if answer.returncode:
        said = last_line(answer.stderr)
        sys.exit(f'--python {python} cannot make rooms ({said}): {files.INSTALL}')
    return json.loads(answer.stdout)


def manifest(
    shop: Workshop, rooms: list[RoomPlan], settings: Settings, generators: dict[str, str]
) -> dict[str, object]:
    """Describe everything that exists: rooms with checksums, failures, settings and versions.

    Rooms made by an earlier command remain listed.
    """
    done = [room for room in rooms if (shop.frames(room) / files.CHECKSUMS).exists()]
    failed = {
        room.name: shop.failure(room).read_text().strip()
        for room in rooms
        if shop.failure(room).exists()
    }
    entries = listed_before(shop, rooms) + [describe(shop, room) for room in done]
    return {
        'generators': generators,
        'settings': asdict(settings),
        'views': sum(int(str(entry['views'])) for entry in entries),
        'rooms': entries,
        'failed': failed,
        'attribution': attribution(shop, entries),
        **({'archives': archives()} if settings.generator == 'simple' else {}),
    }


@functools.cache
def archives() -> dict[str, str]:
    """Return the checksums of the installed archives of models."""
    found = catalogue.installed()
    return {} if found is None else found.checksums()


def attribution(shop: Workshop, entries: list[dict[str, object]]) -> list[dict[str, str]]:
    """Return name, creator and licence of every model that is in one of these rooms."""
    found = {}
    for entry in entries:
        for model in files.read_models(shop.out / 'frames' / str(entry['folder'])):
            found[model['model']] = model
    return [found[key] for key in sorted(found)]


def listed_before(shop: Workshop, rooms: list[RoomPlan]) -> list[dict[str, object]]:
    """Return the manifest's entries of finished rooms that are not among these."""
    file = shop.out / 'manifest.json'
    entries = json.loads(file.read_text())['rooms'] if file.exists() else []
    now = {shop.frames(room).name for room in rooms}
    frames = shop.out / 'frames'
    return [
        entry
        for entry in entries
        if entry['folder'] not in now and (frames / entry['folder'] / files.CHECKSUMS).exists()
    ]


def write_manifest(shop: Workshop, content: dict[str, object]) -> None:
    """Write `manifest.json`."""
    files.write_whole(shop.out / 'manifest.json', (json.dumps(content, indent=1) + '\n').encode())


def lock(out: Path) -> object:
    """Lock this folder against other runs; the lock lasts as long as the result is kept."""
    handle = (out / '.lock').open('w')
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f'another run is at work in {out}')
    return handle


def make_all(shop: Workshop, rooms: list[RoomPlan], settings: Settings, jobs: int) -> None:
    """Make the missing rooms, `jobs` at a time; update the manifest after every room."""
    generators = versions(shop.python, settings.generator)
    todo = [room for room in rooms if not is_done(shop, room)]
    log.info('%d rooms to make of %d', len(todo), len(rooms))
    with ThreadPoolExecutor(jobs) as pool:
        for _ in as_completed([pool.submit(make, shop, room, settings) for room in todo]):
            write_manifest(shop, manifest(shop, rooms, settings, generators))
    write_manifest(shop, manifest(shop, rooms, settings, generators))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Generate and render many rooms.')
    parser.add_argument(
        '--python',
        type=Path,
        default=Path(sys.executable),
        help='Python of the environment with infinigen and bpy',
    )
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--generator', choices=tuple(KINDS), default='infinigen')
    parser.add_argument('--kinds', nargs='+', help='default: all kinds of the generator')
    parser.add_argument('--seeds', nargs=2, type=int, required=True, metavar=('FIRST', 'LAST'))
    parser.add_argument('--views', type=files.positive, default=Settings.views, help='per room')
    parser.add_argument(
        '--jobs', type=files.positive, default=2, help='parallel rooms, 3 GB of memory each'
    )
    parser.add_argument(
        '--discard-scenes',
        action='store_true',
        help='delete the Blender scene (150 MB) of each room that is rendered',
    )
    parser.add_argument(
        '--scene-cpu-seconds', type=files.positive, default=Settings.scene_cpu_seconds
    )
    parser.add_argument(
        '--render-cpu-seconds', type=files.positive, default=Settings.render_cpu_seconds
    )
    options = parser.parse_args(arguments)
    known = KINDS[options.generator]
    options.kinds = options.kinds or list(known)
    if options.seeds[0] > options.seeds[1]:
        parser.error('--seeds {} {}: the first is above the last'.format(*options.seeds))
    if unknown := set(options.kinds) - set(known):
        parser.error(f'{options.generator} cannot make {", ".join(unknown)}: choose from {known}')
    return options


def main() -> None:
    """Make the rooms of the command line."""
    options = parse_arguments()
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    out = options.out.resolve()
    (out / 'scenes').mkdir(parents=True, exist_ok=True)
    held = lock(out)
    limits = options.scene_cpu_seconds, options.render_cpu_seconds
    settings = Settings(options.views, options.generator, *limits)
    rooms = plan_rooms(options.kinds, *options.seeds)
    prefix = 'scene' if options.generator == 'infinigen' else options.generator
    shop = Workshop(out, options.python.absolute(), not options.discard_scenes, prefix)
    make_all(shop, rooms, settings, options.jobs)
    del held


if __name__ == '__main__':
    main()
