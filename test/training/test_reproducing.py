# SPDX-License-Identifier: Apache-2.0
"""docs/reproducing.md: every command on it exists, and its tables match the targets."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from benchmarks import training_speed
from depth_perception.cli.main import _parser
from depth_training import cli
from depth_training.commands import export_parser, import_weights_parser
from depth_training.recipes import RECIPES
from depth_training.recipes.targets import TARGETS

PAGE = (Path(__file__).parents[2] / 'docs/reproducing.md').read_text('utf-8')
#: Programs record their arguments instead of running.
_STUBS = """
for program in python torchrun; do
    eval "$program() { printf '%q ' \\"\\$@\\" >> calls; echo >> calls; }"
done
pip() { :; }
"""


def shown_calls(folder: Path, text: str = PAGE) -> list[list[str]]:
    """Return the commands of a text's shell blocks, with loops and variables expanded by bash."""
    blocks = re.findall(r'```bash\n(.*?)```', text, re.S)
    variables = next(
        block for block in re.findall(r'```bash\n(.*?)```', PAGE, re.S) if block.startswith('NYU=')
    )
    program = '\n'.join([_STUBS, variables, *blocks])
    done = subprocess.run(
        ['bash', '-eu'], input=program, text=True, cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [shlex.split(line) for line in (folder / 'calls').read_text().splitlines()]


@pytest.fixture(scope='module')
def calls(tmp_path_factory):
    return shown_calls(tmp_path_factory.mktemp('page'))


def commands(calls, name):
    """Return the arguments of each `depth_training NAME`."""
    for words in calls:
        if 'depth_training' in words:
            command, *rest = words[words.index('depth_training') + 1 :]
            if command == name:
                yield rest


def test_every_call_is_of_a_command_that_exists(calls):
    for words in calls:
        module, *rest = words[words.index('-m') + 1 :]
        assert module in ('depth_training', 'benchmarks.training_speed')
        assert module != 'depth_training' or rest[0] in (*cli.COMMANDS, '--help'), words


@pytest.mark.parametrize('name', ['prepare', 'train', 'evaluate', 'report'])
def test_commands_parse(calls, name):
    options = [cli.parse(name, words) for words in commands(calls, name)]
    assert options


@pytest.mark.parametrize(
    'name, parser', [('import-weights', import_weights_parser()), ('export', export_parser())]
)
def test_commands_on_files_of_others_parse(calls, name, parser):
    assert [parser.parse_args(words) for words in commands(calls, name)]


def test_predict_and_benchmark_parse(calls):
    given = [['predict', *words] for words in commands(calls, 'predict')]
    assert [_parser(words).parse_args(words) for words in given]
    benchmarks = [words[2:] for words in calls if 'benchmarks.training_speed' in words]
    assert [training_speed.arguments().parse_args(words) for words in benchmarks]


def test_every_papers_recipe_is_trained_on_the_page(calls):
    trained = [cli.parse('train', words) for words in commands(calls, 'train')]
    assert {options.recipe for options in trained} == {
        name for name in RECIPES if name.startswith('paper_')
    }
    for options in trained:
        recipe = RECIPES[options.recipe]
        assert recipe.pretrained == (options.encoder_weights is not None), options.recipe
        assert bool(recipe.perceptual_weight) == (options.perceptual_weights is not None)


def test_the_tables_hold_the_targets():
    for target in TARGETS:
        rows = [
            line
            for line in PAGE.splitlines()
            if line.startswith('|')
            and (f'| {target.recipe} |' in line or line.startswith(f'| {target.protocol} |'))
            and '.' in line
        ]
        figures = {
            float(cell)
            for row in rows
            for cell in row.strip('| ').split('|')
            if re.fullmatch(r'\s*[\d.]+(e\d)?\s*', cell)
        }
        assert {value for value in target.published if value is not None} <= figures, target.recipe
