# SPDX-License-Identifier: Apache-2.0
"""Start ROS in a process of this package, with one clear sentence if that is not possible.

ROS itself raises tracebacks, and does not start if it cannot create a folder for log files.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from depth_perception.errors import first_line
from depth_perception.reading import NotTextError, read_text
from depth_perception.ros.conversions.topics import INPUTS, OUTPUTS

#: Exit code for arguments or an environment that cannot be used.
WRONG_USAGE = 2
#: The largest ROS_DOMAIN_ID that every DDS vendor has ports for.
_LAST_DOMAIN = 232
_NO_LOG_FILES = '--disable-external-lib-logs'
#: Parts of rcl's error messages, and the correct syntax for each.
_HINTS = {
    '__ns:=': 'a namespace begins with / and has names of letters, digits and _ that do not begin '
    'with a digit: -r __ns:=/robot/front',
    '__node:=': 'a name has letters, digits and _ and does not begin with a digit: '
    '-r __node:=depth_node',
    'remap rule': 'a remapping is FROM:=TO with names of letters, digits, _ and /, none of which '
    'begins with a digit: -r image:=/camera/image_raw',
    'parameter override': 'a parameter is NAME:=VALUE: -p max_depth:=5.0',
    'log level': 'use debug, info, warn, error or fatal',
}


class StartError(RuntimeError):
    """ROS cannot be started; the message is one sentence."""


def enter_ros(words: Sequence[str], **options: Any) -> list[str]:
    """Call `rclpy.init` with these arguments and options, and return the arguments used.

    Expands `~` in the path of a parameter file. If log files cannot be written, logs go only to the
    console.

    Raises:
        StartError: an argument, a parameter file or the environment cannot be used.
    """
    import rclpy

    words = _checked(list(words))
    _check_domain(os.environ.get('ROS_DOMAIN_ID', ''))
    problem = '' if _NO_LOG_FILES in words else no_log_folder()
    if problem:
        sys.stderr.write(f'no log files: {problem}; logs go only to this console\n')
        words += ['--ros-args', _NO_LOG_FILES]
    try:
        rclpy.init(args=words, **options)
    except Exception as error:  # RCLError, and errors of the middleware
        raise StartError(plain(error)) from error
    return words


def _checked(words: list[str]) -> list[str]:
    """Check arguments for which ROS has no clear error, and expand paths."""
    for at, (flag, value) in enumerate(itertools.pairwise(words), 1):
        if flag == '--params-file':
            words[at] = str(Path(value).expanduser())
            parameter_sections(words[at])
        elif flag in ('-p', '--param'):
            name, assigned, given = value.partition(':=')
            if assigned and not given:
                is_topic = name in (*INPUTS, *OUTPUTS)
                raise StartError(
                    f'-p {value} has no value: '
                    + (
                        f'{name} is a topic, remapped by -r {name}:=/camera/{name}'
                        if is_topic
                        else f'for an empty text it is -p {name}:="\'\'"'
                    )
                )
    return words


def _check_domain(domain: str) -> None:
    """Check ROS_DOMAIN_ID: UDP ports limit it, and the middleware has no clear error for it."""
    if domain and not (domain.isdecimal() and int(domain) <= _LAST_DOMAIN):
        raise StartError(
            f'ROS_DOMAIN_ID must be a whole number from 0 to {_LAST_DOMAIN}, got {domain!r}'
        )


def parameter_files(words: Sequence[str]) -> list[str]:
    """Return the files named by `--params-file`."""
    return [value for flag, value in itertools.pairwise(words) if flag == '--params-file']


def parameter_sections(path: str) -> list[str]:
    """Return the node names in a parameter file, such as `/**` or `/front/depth_node`.

    Raises:
        StartError: the file is missing or not a parameter file.
    """
    import yaml

    try:
        content = yaml.safe_load(read_text(path))
    except OSError as error:
        raise StartError(f'the parameter file {path} cannot be read: {error.strerror}') from error
    except NotTextError as error:
        raise StartError(f'the parameter file {error}') from error
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark else ''
        what = getattr(error, 'problem', None) or first_line(error)
        raise StartError(f'the parameter file {path} is not YAML: {where}{what}') from error
    sections = list(_sections(content, ''))
    if not sections:
        raise StartError(
            f'the parameter file {path} has no ros__parameters: it begins with "/**:" '
            'and, indented, "ros__parameters:"'
        )
    return sections


def _sections(content: object, name: str) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key == 'ros__parameters':
                yield name or '/'
            else:
                yield from _sections(value, f'{name}/{str(key).strip("/")}')


def is_for(section: str, node: str) -> bool:
    """Return whether a section of a parameter file applies to a node with this full name."""
    parts = [
        {'**': '(/.*)?', '*': '/[^/]+'}.get(part, '/' + re.escape(part))
        for part in section.strip('/').split('/')
    ]
    return re.fullmatch(''.join(parts), node) is not None


def no_log_folder(environment: Mapping[str, str] = os.environ) -> str:
    """Return why ROS cannot write log files, or ''; create the folder, as ROS does."""
    folder = environment.get('ROS_LOG_DIR')
    if not folder:
        home = environment.get('ROS_HOME')
        if not home and not environment.get('HOME'):
            return 'there is no HOME and no ROS_LOG_DIR in the environment'
        folder = str(Path(home or Path(environment['HOME'], '.ros'), 'log'))
    path = Path(environment.get('HOME', '~') + folder[1:] if folder.startswith('~') else folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return ''
    except OSError as error:
        return f'{path} cannot be written ({error.strerror}): set ROS_LOG_DIR'


def plain(error: Exception) -> str:
    """Return rcl's message without its source files, with a hint about the correct syntax."""
    text = re.sub(r',? at [^\s,]+:\d+', '', first_line(error))
    text = re.sub('^failed to initialize rcl: |^Failed to parse ROS arguments: ', '', text)
    # Drop the token that rcl's grammar expected.
    text = re.sub(r'\. Error: (error not set|Expected lexeme.*)', '', text)
    if type(error).__name__ == 'UnknownROSArgsError':
        text = f'ROS does not know the arguments {text}'
    hint = next((hint for what, hint in _HINTS.items() if what in text), '')
    return f'{text.rstrip(".")}: {hint}' if hint else text
