# SPDX-License-Identifier: Apache-2.0
"""The command `python -m depth_training`: every step from data to a report.

Exit codes: 0 done, 1 failed (one sentence on standard error), 2 wrong options, 3 training reached
its time limit, 128 + signal if stopped by one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from depth_perception import __version__
from depth_perception.errors import UsageError, refuse_empty
from depth_perception.extras import explains_missing
from depth_perception.termination import exit_code
from depth_training import ranges
from depth_training.failures import explained, sentence


class Command(NamedTuple):
    """A command.

    Attributes:
        module, function: function to run, with one dataclass of options, or with the raw words.
        help: one line.
        options: module and name of that dataclass; None for raw words.
    """

    module: str
    function: str
    help: str
    options: tuple[str, str] | None = None


def _options(name: str) -> tuple[str, str]:
    return 'depth_training.options', name


#: Modules are imported when a command runs; its help only imports its options.
COMMANDS: dict[str, Command] = {
    'prepare': Command(
        'depth_training.commands',
        'prepare',
        'convert raw NYU Depth v2 or sparse KITTI to pairs',
        _options('PrepareOptions'),
    ),
    'check-data': Command(
        'depth_training.check_data',
        'check_data',
        'describe RGB-D data and draw a sheet of pairs',
        _options('CheckDataOptions'),
    ),
    'train': Command(
        'depth_training.train.trainer',
        'train',
        'train a recipe, or resume a run',
        ('depth_training.train.options', 'TrainOptions'),
    ),
    'evaluate': Command(
        'depth_training.evaluate_command',
        'evaluate',
        "evaluate networks or stored predictions by the papers' protocols",
        _options('EvaluateOptions'),
    ),
    'model-card': Command(
        'depth_training.report.model_card',
        'model_card',
        'compare weights with baselines and write their model card',
        _options('ModelCardOptions'),
    ),
    'report': Command(
        'depth_training.report.report',
        'report',
        'compare results with published ones; curves, images',
        _options('ReportOptions'),
    ),
    'import-weights': Command(
        'depth_training.commands', 'import_weights', 'convert published checkpoints'
    ),
    'export': Command(
        'depth_training.commands', 'export', 'convert weights to ONNX or a torch.export program'
    ),
    'overfit': Command(
        'depth_training.train.overfit',
        'overfit',
        'overfit a few pairs: a quick test',
        _options('OverfitOptions'),
    ),
    'predict': Command('depth_training.commands', 'predict', 'predict the depth of image files'),
}


@explains_missing('depth_training')
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ('-h', '--help'):
        sys.stdout.write(_help())
        return 0 if words else 2
    if words[0] == '--version':
        sys.stdout.write(f'depth_training {__version__}\n')
        return 0
    if words[0] not in COMMANDS:
        sys.stderr.write(f'unknown command {words[0]!r}: choose one of {", ".join(COMMANDS)}\n')
        return 2
    try:
        refuse_empty(words)
    except UsageError as error:
        sys.stderr.write(f'depth_training: {error}\n')
        return 2
    try:
        return _run(words[0], words[1:]) or 0
    except (ValueError, OSError) as error:
        sys.stderr.write(f'depth_training: {explained(error) or sentence(error)}\n')
        return 1
    except (RuntimeError, MemoryError) as error:
        if (text := explained(error)) is None:
            raise
        sys.stderr.write(f'depth_training: {text}\n')
        return 1
    except KeyboardInterrupt as error:
        return exit_code(error)


def _run(name: str, words: list[str]) -> int | None:
    command = COMMANDS[name]
    options = words if command.options is None else parse(name, words)
    return getattr(import_module(command.module), command.function)(options)


def options_type(name: str) -> type:
    """Return the dataclass of a command's options."""
    module, kind = COMMANDS[name].options or ('', '')
    return getattr(import_module(module), kind)


def parse(name: str, words: Sequence[str]) -> Any:
    """Parse the options of a command whose function takes a dataclass of them.

    Raises:
        SystemExit: 2 after an error message, or 0 after help.
    """
    import tyro

    from depth_training.optional_values import registry

    kind = options_type(name)

    def read(**default: Any) -> Any:
        return tyro.cli(
            kind,
            prog=f'python -m depth_training {name}',
            args=words,
            description=COMMANDS[name].help,
            config=(tyro.conf.OmitArgPrefixes,),
            registry=registry(),
            **default,
        )

    options = read()
    if name == 'train' and options.resume is not None:
        from depth_training.train.resume import completed

        options = completed(options, read)
    try:
        ranges.check(options, ranges.option)
    except ranges.RangeError as error:
        sys.stderr.write(f'depth_training {name}: {error}\n')
        raise SystemExit(2) from error
    return options


def _help() -> str:
    lines = [f'  {name:<16}{text}' for name, (_, _, text, _) in COMMANDS.items()]
    return (
        'usage: python -m depth_training COMMAND [OPTIONS]\n\n'
        + '\n'.join(lines)
        + '\n\npython -m depth_training COMMAND --help explains its options.\n\n'
        'A first try, with RGB-D pairs in folder DATA (see docs/own_data.md):\n'
        '  python -m depth_training check-data DATA\n'
        '  python -m depth_training train finetune --data DATA --start-from default\n'
        '  python -m depth_training evaluate --data DATA --weights '
        'runs/finetune/weights.safetensors --protocol plain\n'
    )
