# SPDX-License-Identifier: Apache-2.0
"""`depth-perception view`: the command line, and the loop that shows frames on the web page."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from depth_perception.cli.options import (
    add_depth_arguments,
    add_network_arguments,
    check_limits,
    depth_settings,
)
from depth_perception.depth.settings import OPTIONS
from depth_perception.errors import UsageError
from depth_perception.number_options import number
from depth_perception.view.ending import Ending

if TYPE_CHECKING:
    from depth_perception.view.frame import Source
    from depth_perception.view.viewer import Viewer

PORT = 8088
#: Largest number of frames shown per second.
RATE = 10.0
#: Options that have no effect if a running node is shown.
OF_FOOTAGE = (
    'once',
    'model',
    'device',
    'precision',
    'backend',
    'camera',
    'horizontal_fov_deg',
    'rectified',
    *OPTIONS,
)
#: Seconds between checks for connected browsers.
PATIENCE = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `depth-perception view`."""
    parser.add_argument(
        'source',
        nargs='?',
        metavar='SOURCE',
        help='a video, an image, a folder of images, a rosbag2 folder, its .mcap '
        'or .db3 file, or the number of a webcam: the network runs here; '
        'without it: a running depth_node, over ROS 2',
    )
    parser.add_argument(
        '--image',
        metavar='TOPIC',
        help='topic of the camera, live or in the bag (default: the one that the '
        'node uses; the one of the bag that looks most like a camera)',
    )
    parser.add_argument('--once', action='store_true', help='play SOURCE only once')
    page = parser.add_argument_group('the page')
    page.add_argument(
        '--host',
        default='127.0.0.1',
        metavar='ADDRESS',
        help='address to listen at; 0.0.0.0 lets other machines in, without a '
        'password (default: %(default)s, this machine alone)',
    )
    page.add_argument(
        '--port', type=number(int, 0, 65535), default=PORT, help='(default: %(default)s)'
    )
    page.add_argument(
        '--rate',
        type=number(float, 0, 60, above=True),
        default=RATE,
        metavar='HZ',
        help='show at most so many frames a second (default: %(default)g)',
    )
    page.add_argument(
        '--points',
        type=number(int, 1),
        default=50_000,
        metavar='N',
        help='show at most so many points of the cloud (default: %(default)s)',
    )
    live = parser.add_argument_group('without SOURCE')
    live.add_argument('--namespace', default='/', metavar='NS', help='of the node (default: /)')
    add_network_arguments(parser.add_argument_group('with SOURCE'))
    add_depth_arguments(
        parser.add_argument_group(
            'depth, cloud and scan, with SOURCE', "the node's parameters of these names"
        )
    )


def run(options: argparse.Namespace) -> int:
    """Show frames until SIGINT or SIGTERM, then return 0.

    Raises:
        UsageError: the page cannot be served, or there is nothing to show.
    """
    with suppress(KeyboardInterrupt):
        _run(options)
    return 0


def _refuse_without_effect(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    usual = vars(parser.parse_args([]))
    is_live = options.source is None
    given = [
        '--' + name.replace('_', '-')
        for name in (OF_FOOTAGE if is_live else ('namespace',))
        if getattr(options, name) != usual[name]
    ]
    if given and is_live:
        raise UsageError(
            f'{", ".join(given)}: only with SOURCE, where the network runs here; a '
            'running depth_node has parameters of its own'
        )
    if given:
        raise UsageError(f'{given[0]}: only without SOURCE, for a running depth_node')


def _run(options: argparse.Namespace) -> None:
    from depth_perception.view.frame import Standing
    from depth_perception.view.viewer import Viewer, ViewError

    _refuse_without_effect(options)
    try:
        viewer = Viewer(options.host, options.port, options.points)
    except ViewError as error:
        raise UsageError(str(error)) from error
    with closing(viewer), closing(_source(options)) as source:
        if isinstance(source, Standing):  # a running node already knows the pose of its camera
            viewer.offer_stand(source.stand, source.restand)
        _say(f'open {viewer.url} in a browser; Ctrl-C ends')
        with Ending() as ending:
            play(source, viewer, options.rate, ending)


def play(source: Source, viewer: Viewer, rate: float, ending: Ending) -> None:
    """Show frames while a browser has the page open, until a signal arrives."""
    while not ending.asked:
        if not viewer.wait_for_watchers(PATIENCE):
            source.rest()
            continue
        if not viewer.may_go_on():
            source.rest()
            ending.sleep_until(time.monotonic() + 0.1)
            continue
        start = time.monotonic()
        frame = source.next(PATIENCE)
        if frame is not None:
            viewer.show(frame)
        ending.sleep_until(start + 1 / rate)


def _source(options: argparse.Namespace) -> Source:
    if options.source is None:
        return _live(options)
    from depth_perception.camera.source import camera_source
    from depth_perception.cli.predict import load_network
    from depth_perception.io.bag import BagError
    from depth_perception.view.footage import open_footage
    from depth_perception.view.predicted import PredictedSource

    settings = depth_settings(options)
    cameras = camera_source(options.camera, options.horizontal_fov_deg, options.rectified)
    try:
        footage = open_footage(options.source, options.image, cameras)
    except BagError as error:
        raise UsageError(str(error)) from error
    estimator = load_network(options)
    check_limits(settings, estimator.info)
    return PredictedSource(footage, estimator, not options.once, settings)


def _live(options: argparse.Namespace) -> Source:
    try:
        from depth_perception.view.ros_source import LiveSource
    except ImportError as error:
        raise UsageError(
            f'a running depth_node can be seen only with ROS 2 ({error}): source its setup.bash, '
            'or name a video, folder, bag or webcam'
        ) from error
    return LiveSource(options.namespace, options.image)


def _say(text: str) -> None:
    sys.stderr.write(f'{text}\n')
    sys.stderr.flush()
