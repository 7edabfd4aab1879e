# SPDX-License-Identifier: Apache-2.0
"""A malformed command line of an installed program: exit code 2, one sentence, no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')
pytest.importorskip('rosbags', reason='the package rosbags is not installed')

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    name: (module, function)
    for name, module, function in re.findall(
        r"'([\w-]+) = ([\w.]+):(\w+)'", (ROOT / 'setup.py').read_text()
    )
}
BAG = 'data/clip_bag'
#: Words of each program, and what it says. Together in one process: it imports for seconds.
LINES = {
    'depth_node': [
        ('nonsense', 'unrecognized arguments: nonsense'),
        ('--cameras', 'expected one argument'),
        ('--cameras 7', 'not a valid name for a camera'),
        ('--ros-args -p', 'NAME:=VALUE'),
        ('--ros-args -r image', 'FROM:=TO'),
        ('--ros-args --params-file no.yaml', 'no.yaml'),
        ('--ros-args -r __ns:=7', 'a namespace begins with /'),
        ('--ros-args --x', '--x'),
    ],
    'replay_bag': [
        ('', 'required: bag'),
        (f'{BAG} --rate 0', '0 is not above 0'),
        (f'{BAG} --rate fast', "'fast' is no number: it must be above 0"),
        (f'{BAG} --loop x', "'x' is no whole number: it must be 1 or more"),
        (f'{BAG} --clock nan', 'nan is not above 0'),
        (f'{BAG} --wait-for-subscribers inf', 'inf is not 0 or more'),
        (f'{BAG} --lockstep /camera/image_raw/compressed /c:d', '--lockstep: Invalid topic name'),
        (f'{BAG} --ros-args -r', 'FROM:=TO'),
        (f'{BAG} --nonsense', 'unrecognized'),
    ],
    'process_bag': [
        ('', 'required: IN, OUT'),
        (f'{BAG} out --outputs x', "invalid choice: 'x'"),
        (f'{BAG} out --frames-per-file x', 'no whole number'),
        (f'{BAG} out -p x', 'NAME:=VALUE'),
        (f'{BAG} out --ros-args -r x', 'FROM:=TO'),
        ('nothing out', 'there is no bag nothing'),
    ],
    'replay_check': [
        ('', 'required: bag'),
        (f'{BAG} --expect 1.5', '1.5 is neither a count nor "all"'),
        (f'{BAG} --ros-args -p x', 'NAME:=VALUE'),
        (f'{BAG} --nonsense', 'unrecognized'),
    ],
    'depth-perception': [
        ('', 'required: COMMAND'),
        ('nonsense', "invalid choice: 'nonsense'"),
        ('predict a.png', 'required: --out'),
        ('predict a --out o --every x', 'no whole number'),
        ('predict a.png --out o --max-depth x', 'max_depth must be of type float'),
        ('view --port x', "'x' is no whole number: it must be 0 to 65535"),
        ('view --rate 0', '0 is not above 0 and at most 60'),
        ('view nothing', 'there is no'),
        ('compile --image-sizes 640', 'must be WIDTHxHEIGHT in pixels, such as 640x480, got 640'),
        ('compile --backend torch', 'nothing to compile for'),
        ('compile --model no.safetensors', 'there is no such file'),
        ('import-model a/b', 'required: --out'),
        ('import-model a/b --out b.pt', 'name a file *.safetensors'),
        ('import-model none --out b.safetensors', 'there is no folder or ONNX file none'),
        ('models nothing', 'no known network is named nothing'),
    ],
}


def test_every_installed_program_is_here():
    assert LINES.keys() == PROGRAMS.keys()


@pytest.mark.parametrize('program', LINES)
def test_a_malformed_command_line_is_one_sentence(program):
    code = f"""
import importlib, os, sys
lines = {[line.split() for line, _ in LINES[program]]!r}
main = importlib.import_module({PROGRAMS[program][0]!r}).main
for words in lines:
    sys.argv = [{program!r}, *words]
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    os.write(2, f"\\n=== {{code}}\\n".encode())
os._exit(0)
"""
    result = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    parts = re.split(r'\n=== (.*)\n', result.stderr)
    assert result.returncode == 0, result.stderr
    for (words, said), text, ended in zip(LINES[program], parts[::2], parts[1::2]):
        assert 'Traceback' not in text and ended == '2', (words, text, ended)
        assert said in text.strip().splitlines()[-1], (words, text)


@pytest.mark.parametrize(
    ('module', 'program'),
    [('depth_perception.ros.node', 'depth_node'), ('depth_perception.cli', 'depth-perception')],
)
def test_a_program_is_also_run_by_the_name_of_its_package(module, program):
    result = subprocess.run(
        [sys.executable, '-m', module, '--version'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (result.returncode, result.stdout.split()[0]) == (0, program), result.stderr
