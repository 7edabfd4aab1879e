# SPDX-License-Identifier: Apache-2.0
"""The command `depth-perception`: depth of files, a browser view, and networks of others.

Exit codes: 0 everything succeeded, 1 some images failed but the others succeeded, 2 nothing could
be done, 130 ended by SIGINT, 143 by SIGTERM, 129 by a closed terminal (SIGHUP).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from depth_perception import __version__
from depth_perception.errors import UsageError, refuse_empty, refusing_odd_paths
from depth_perception.extras import explains_missing
from depth_perception.termination import exit_code, terminable

#: Silence OpenCV's and FFmpeg's messages about files; this program prints its own. Let
#: huggingface_hub ask for nothing but what is downloaded.
_QUIET = {
    'OPENCV_LOG_LEVEL': 'SILENT',
    'OPENCV_FFMPEG_LOGLEVEL': '-8',
    'HF_HUB_DISABLE_TELEMETRY': '1',
}
#: name: (module with add_arguments and run, one line of help); modules are imported when used.
_COMMANDS = {
    'predict': (
        'depth_perception.cli.predict',
        'write depth images, pictures and point clouds of images and videos',
    ),
    'view': ('depth_perception.cli.view', 'show camera, depth, cloud and scan live in a browser'),
    'compile': (
        'depth_perception.cli.compile_model',
        'compile a network for image sizes ahead of time, for a quick start of the node',
    ),
    'import-model': (
        'depth_perception.cli.import_model',
        'make a weights file of a depth network of others',
    ),
    'models': (
        'depth_perception.cli.models',
        'list depth networks of others that import-model takes',
    ),
}


@explains_missing('depth-perception', code=2)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    for name, value in _QUIET.items():  # read at the import of both, by cv2 also for each video
        os.environ.setdefault(name, value)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with terminable(), refusing_odd_paths():
            refuse_empty(words)
            options = _parser(words).parse_args(words)
            return int(options.run(options))
    except UsageError as error:
        sys.stderr.write(f'depth-perception: {error}\n')
        return 2
    except KeyboardInterrupt as error:
        sys.stderr.write('depth-perception: interrupted; files already written are complete\n')
        return exit_code(error)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser with all commands, and the options of the command in `words`."""
    parser = argparse.ArgumentParser(
        prog='depth-perception', description='Metric depth from one colour camera.'
    )
    parser.add_argument('--version', action='version', version=f'depth-perception {__version__}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    wanted = next((word for word in words if not word.startswith('-')), None)
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f'{text.capitalize()}.')
        if name == wanted:
            chosen = import_module(module)
            chosen.add_arguments(command)
            command.set_defaults(run=chosen.run)
    return parser


if __name__ == '__main__':
    sys.exit(main())
