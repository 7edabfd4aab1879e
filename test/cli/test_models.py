# SPDX-License-Identifier: Apache-2.0
"""`depth-perception models`: its list, and the page with the same table."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from depth_perception.cli import import_model
from depth_perception.cli.main import main
from depth_perception.cli.models import TRIED, known_networks, markdown
from depth_perception.io.hub import is_hub_name
from depth_perception.io.hugging_face import check_configuration, output_of
from depth_perception.io.weights import OUTPUTS
from depth_perception.networks.transformers_network import MODEL_TYPES, configuration, quiet
from test.support.published_networks import PUBLISHED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'networks.md'
NETWORKS = known_networks()
TEXTS = ('name', 'what', 'family', 'output', 'parameters', 'download', 'licence', 'input', 'import')

each = pytest.mark.parametrize('one', NETWORKS, ids=lambda one: one['name'])


def parsed(command: str) -> argparse.Namespace:
    """What `depth-perception import-model` is told by a command; a wrong option fails."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ('depth-perception', 'import-model')
    parser = argparse.ArgumentParser(exit_on_error=False)
    import_model.add_arguments(parser)
    return parser.parse_args(words)


def test_there_are_at_most_ten_of_every_family():
    names = [one['name'] for one in NETWORKS]
    assert len(names) == len(set(names)) <= 10
    # Prompt Depth Anything is made for a lidar's depth as a second input: no first choice without.
    assert {one['family'] for one in NETWORKS} == {*MODEL_TYPES} - {'prompt_depth_anything'}


@each
def test_everything_is_said_of_each(one):
    assert all(isinstance(one[key], str) and one[key] for key in TEXTS)
    assert is_hub_name(one['name']) and one['output'] in OUTPUTS
    for score in one['scores']:
        assert all(score[key] for key in ('data', 'figures', 'protocol', 'source'))
        assert 'https://' in score['source']
    assert one['scores'] or one['scores_note']
    assert set(one) <= {*TEXTS, 'scores', 'scores_note', 'licence_note'}


@each
def test_the_command_imports_it(one):
    options = parsed(one['import'])
    assert options.source == one['name'] and options.out.suffix == '.safetensors'
    assert options.licence in (None, one['licence'])


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_configurations_are_read_and_have_as_many_parameters(name, tmp_path):
    transformers = pytest.importorskip('transformers')
    for file, values in zip(('config.json', 'preprocessor_config.json'), PUBLISHED[name]):
        (tmp_path / file).write_text(json.dumps(values))
    config, processed = check_configuration(tmp_path)
    with torch.device('meta'), quiet(transformers):  # no memory for the weights
        settings = configuration(transformers, config)
        network = transformers.AutoModelForDepthEstimation.from_config(settings)
    listed = next(one for one in NETWORKS if one['name'] == name)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert listed['parameters'] == f'{millions:#.3g} M'.replace('. M', ' M')
    assert listed['output'] == output_of(config)[0]
    assert (
        str(processed['input_width']) in listed['input'] or processed['preparation'].size == 'own'
    )


def test_depth_anything_is_labelled_by_size():
    for one in NETWORKS:
        if one['name'].startswith('depth-anything/Depth-Anything-V2'):
            small = '-Small-' in one['name']
            assert one['licence'] == ('Apache-2.0' if small else 'CC-BY-NC-4.0')


def test_the_page_has_this_table():
    said = f'write it with "depth-perception models --markdown" into {PAGE}'
    assert markdown(NETWORKS) in PAGE.read_text(), said


@pytest.mark.parametrize('page', ['README.md', 'docs/networks.md'])
def test_import_commands_of_the_pages_are_understood(page):
    text = re.sub(r'\\\n\s*', ' ', (ROOT / page).read_text())
    commands = re.findall(r'^depth-perception import-model .*$', text, re.MULTILINE)
    assert commands and all(parsed(command.partition(' #')[0]) for command in commands)


def test_it_prints_them(capsys):
    assert main(['models']) == 0
    text = capsys.readouterr().out
    assert all(one['name'] in text and one['import'] in text for one in NETWORKS)
    assert TRIED.split()[-1] in text
    assert main(['models', 'GLPN', '--json']) == 0
    assert [one['family'] for one in json.loads(capsys.readouterr().out)] == ['glpn']
    assert main(['models', 'nothing']) == 2
    assert 'no known network is named nothing' in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    child = subprocess.Popen(
        [sys.executable, '-m', 'depth_perception.cli', 'models'],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stdout.close()
    assert child.stderr.read() == '' and child.wait(timeout=120) == 0
