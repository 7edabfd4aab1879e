# SPDX-License-Identifier: Apache-2.0
"""The demo's command line; uses only the standard library, to be parsed before installation.

python -m depth_perception.demo [BAG] [--image TOPIC] [--model FILE] [--anchors] [--out FOLDER]
python -m depth_perception.demo.arguments ...    only checks the arguments
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from depth_perception import __version__
from depth_perception.errors import UsageError, refuse_empty, refusing_odd_paths
from depth_perception.extras import explains_missing
from depth_perception.termination import exit_code, terminable

#: The bundled recording, which is in the repository but not in an installed package.
CLIP_BAG = Path(__file__).parents[2] / 'data' / 'clip_bag'


@explains_missing('demo')
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: return 0 if all is written, 1 on failure, 2 for wrong usage."""
    options = parse(arguments)
    try:
        with terminable():  # before the imports, which take seconds
            import rclpy  # noqa: F401 - first, to fail early without ROS

            from depth_perception.demo import run

            return run.main(options)
    except KeyboardInterrupt as error:
        sys.stderr.write('demo: interrupted\n')
        return exit_code(error)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the options.

    Raises:
        SystemExit: 2 with an error message if they are wrong; 0 after help or version.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with refusing_odd_paths():
            refuse_empty(list(sys.argv[1:] if arguments is None else arguments))
            return _checked(parser, options)
    except UsageError as error:
        parser.error(str(error))


def _checked(parser: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with the recording filled in; exit with 2 if a file is missing."""
    if options.bag is None and not CLIP_BAG.is_dir():
        parser.error(
            'the bundled recording is part of the repository, not of an installed '
            'package: name a rosbag2 folder, or its .mcap or .db3 file'
        )
    options.bag = options.bag or CLIP_BAG
    if not options.bag.exists():
        parser.error(f'there is no {options.bag}: name a rosbag2 folder, or its .mcap or .db3 file')
    if options.model and not options.model.is_file():
        parser.error(f'--model: there is no file {options.model}')
    if options.anchors and not any((options.bag / 'truth').glob('*.png')):
        parser.error(
            f'--anchors takes distances from the true depth, and there is no '
            f'{options.bag / "truth"} with pictures of it'
        )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='demo',
        allow_abbrev=False,
        description='Metric depth, cloud and scan of a recorded camera.',
    )
    parser.add_argument('--version', action='version', version=f'depth_perception {__version__}')
    parser.add_argument(
        'bag',
        type=Path,
        nargs='?',
        help='rosbag2 folder, or its .mcap or .db3 file (default: the bundled clip)',
    )
    parser.add_argument('--image', metavar='TOPIC', help="the bag's image topic, if not obvious")
    parser.add_argument(
        '--model',
        type=Path,
        metavar='FILE',
        help='weights file, such as an imported network (default: the bundled network)',
    )
    parser.add_argument(
        '--anchors',
        action='store_true',
        help='play it a second time, with depth corrected by one row of true '
        'distances, as from a lidar; needs a recording with true depth, such '
        'as the bundled clip',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('demo_output'),
        help='folder for the results (default: demo_output)',
    )
    return parser


if __name__ == '__main__':
    parse()
    sys.exit(0)
