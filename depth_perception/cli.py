# SPDX-License-Identifier: Apache-2.0
"""The command `depth-perception`: depth of image files, and a look at depth in a browser.

Exit codes: 0 all done, 1 some images failed and the others are done, 2 nothing could be done.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from depth_perception import compile_command, predict
from depth_perception.view import command as view

#: name: (module with add_arguments and run, one line of help)
_COMMANDS = {
    'predict': (predict, 'write depth images, pictures and point clouds of image files'),
    'compile': (compile_command, 'compile a network for this machine, for backend compiled'),
    'view': (view, 'show camera, depth, cloud and scan live in a browser'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        return options.run(options)
    except predict.UsageError as error:
        sys.stderr.write(f'depth-perception: {error}\n')
        return 2
    except KeyboardInterrupt:
        sys.stderr.write('depth-perception: interrupted; files already written are complete\n')
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='depth-perception', description='Metric depth from one colour camera.')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f'{text.capitalize()}.')
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == '__main__':
    sys.exit(main())
