# SPDX-License-Identifier: Apache-2.0
"""Licences on command lines."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from depth_perception.cli.main import main
from depth_perception.licence_option import spdx
from depth_training import cli


@pytest.mark.parametrize(
    'text',
    [
        'Apache-2.0',
        'LicenseRef-unknown',
        'GPL-2.0+ WITH Classpath-exception-2.0',
        '(MIT OR CC0-1.0) AND BSD-3-Clause',
        'apple-amlr',
    ],
)
def test_spdx_expressions_are_taken(text):
    assert spdx(text) == text


@pytest.mark.parametrize(
    'text', ['CC BY 4.0', 'free for all', 'MIT\nforged: yes', 'MIT or BSD', '']
)
def test_what_no_program_could_read_is_refused(text):
    with pytest.raises(ArgumentTypeError, match='is no SPDX identifier, such as'):
        spdx(text)


def test_every_command_that_stores_a_licence_refuses_an_odd_one(tmp_path, capsys):
    out, odd = str(tmp_path / 'out.safetensors'), ('--licence', 'CC BY 4.0')
    with pytest.raises(SystemExit, match='2'):
        main(['import-model', 'folder', '--out', out, *odd])
    with pytest.raises(SystemExit, match='2'):
        cli.main(['export', 'default', '--output', out, *odd])
    with pytest.raises(SystemExit, match='2'):
        cli.main(['import-weights', 'sff', 'file', '--output', out, *odd])
    assert cli.main(['train', 'finetune', '--data', str(tmp_path), '--out', out, *odd]) == 1
    said = capsys.readouterr().err
    assert said.count("'CC BY 4.0' is no SPDX identifier, such as CC-BY-4.0") == 4
    assert not list(tmp_path.iterdir())
