# SPDX-License-Identifier: Apache-2.0
"""Every numeric option has a range; values outside are refused before anything runs."""

from __future__ import annotations

import pytest

from benchmarks import training_speed
from depth_training import cli, commands, ranges
from depth_training.recipes import Recipe

#: Arguments sufficient for parsing, except for the tested option.
REQUIRED = {
    'prepare': ['raw', 'a', 'b'],
    'train': ['paper_003', '--data', 'a'],
    'evaluate': ['--weights', 'a', '--data', 'b'],
    'model-card': ['--data', 'a'],
    'report': ['--out', 'a'],
    'overfit': ['--data', 'a'],
    'check-data': ['a'],
}
NONSENSE = ('many', '1e999', 'nan', '-1e999', '')


def by_dataclass():
    """Return command and options type of all commands with such a type."""
    for name, command in cli.COMMANDS.items():
        if command.options is not None:
            yield name, cli.options_type(name)


def numeric_options():
    return [
        (name, field, limits)
        for name, options in by_dataclass()
        for field, limits in ranges.ranges(options).items()
    ]


def test_every_number_has_a_range():
    assert len(numeric_options()) > 20
    without = [(name, field) for name, field, limits in numeric_options() if limits is None]
    without += [
        ('Recipe', field) for field, limits in ranges.ranges(Recipe).items() if limits is None
    ]
    assert not without


def refused(name, option, text, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parse(name, [*REQUIRED[name], option, text])
    said = capsys.readouterr()
    assert stop.value.code == 2 and 'Traceback' not in said.err
    return said.out + said.err


@pytest.mark.parametrize(
    'name, field, limits',
    numeric_options(),
    ids=[f'{name}-{field}' for name, field, _ in numeric_options()],
)
def test_a_number_out_of_range_is_refused(name, field, limits, capsys):
    option = ranges.option(field)
    for text in ('0', '-1'):
        if float(text) in limits:
            options = cli.parse(name, [*REQUIRED[name], option, text])
            assert getattr(options, field) == float(text)
        else:
            said = refused(name, option, text, capsys)
            assert (
                said == f'depth_training {name}: {option} {text} is out of range: give {limits}\n'
            )
    for text in NONSENSE:
        assert option in refused(name, option, text, capsys)


def numbers_of(parser):
    return [action for action in parser._actions if getattr(action.type, 'limits', None)]


@pytest.mark.parametrize(
    'parser, count', [(commands.export_parser(), 2), (commands.import_weights_parser(), 0)]
)
def test_so_do_the_options_of_export_and_import(parser, count, capsys):
    assert not [action for action in parser._actions if action.type in (int, float)]
    for action in numbers_of(parser):
        all_are_refused(parser, action, ['w', '--output', 'o'], capsys)
    assert len(numbers_of(parser)) == count


def test_so_do_those_of_the_training_benchmark(capsys):
    parser = training_speed.arguments()
    assert not [action for action in parser._actions if action.type in (int, float)]
    for action in numbers_of(parser):
        all_are_refused(parser, action, [], capsys)


def all_are_refused(parser, action, required, capsys):
    outside = [
        text
        for text in ('0', '-1', *NONSENSE)
        if text not in ('0', '-1') or float(text) not in action.type.limits
    ]
    for text in outside:
        with pytest.raises(SystemExit) as stop:
            parser.parse_args([*required, f'{action.option_strings[0]}={text}'])
        assert stop.value.code == 2
        assert 'give' in capsys.readouterr().err, text


def test_ranges_in_words():
    assert [
        str(limits)
        for limits in (
            ranges.Range(1),
            ranges.Range(0, above=True),
            ranges.Range(0, 1),
            ranges.Range(0, 1, above=True),
        )
    ] == ['1 or more', 'more than 0', '0 to 1', 'more than 0, at most 1']
