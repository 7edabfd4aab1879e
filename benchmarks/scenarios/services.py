# SPDX-License-Identifier: Apache-2.0
"""Invalid service calls, and processes started with invalid arguments, files and environments."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.parameter import parameter_value_to_python
from std_srvs.srv import SetBool

from benchmarks.scenarios import Outcome, scenario
from depth_perception.io.weights import save_weights
from depth_perception.ros.conversions.topics import INPUTS, OUTPUTS
from depth_perception.ros.node.parameters import DEFAULTS, RULES
from test.support.ros import Robot, wait_until
from test.support.weights import tiny_info, tiny_network

#: Calls to each process.
CALLS = 40
#: Seconds to wait for a process to start, or to load its network.
START = 240.0
#: (state, transition) -> state, for valid transitions (design.ros2.org, "Managed nodes").
GOALS = {
    ('unconfigured', 'configure'): 'inactive',
    ('inactive', 'activate'): 'active',
    ('active', 'deactivate'): 'inactive',
    ('inactive', 'cleanup'): 'unconfigured',
    **{(state, 'shutdown'): 'finalized' for state in ('unconfigured', 'inactive', 'active')},
}
LABELS = {
    1: 'configure',
    2: 'cleanup',
    3: 'activate',
    4: 'deactivate',
    5: 'shutdown',
    6: 'shutdown',
    7: 'shutdown',
}
SHUTDOWN_FROM = {5: 'unconfigured', 6: 'inactive', 7: 'active'}
ENVIRONMENTS: tuple[dict[str, str | None], ...] = (
    {},
    {},
    {'HOME': None},
    {'HOME': '/proc'},
    {'HOME': '/nowhere/at/all'},
    {'ROS_LOG_DIR': '/dev/null/logs'},
    {'ROS_HOME': '/proc'},
    {'XDG_CACHE_HOME': '/proc'},
    {'LC_ALL': 'C'},
    {'LC_ALL': 'tr_TR.UTF-8', 'LANG': 'tr_TR.UTF-8'},
    {'LC_ALL': 'nonsense'},
    {'PYTHONIOENCODING': 'ascii'},
    {'TZ': 'Pacific/Kiritimati'},
    {'TMPDIR': '/nowhere'},
    {'RCUTILS_COLORIZED_OUTPUT': '1'},
    {'RCUTILS_COLORIZED_OUTPUT': 'maybe'},
    {'RCUTILS_CONSOLE_OUTPUT_FORMAT': '{message} {nothing}'},
    {'PATH': '/nowhere'},
    {'FASTRTPS_DEFAULT_PROFILES_FILE': '/nowhere.xml'},
    {'ROS_DOMAIN_ID': 'nine'},
    {'RMW_IMPLEMENTATION': 'rmw_nobody'},
    {'COLUMNS': '0'},
    {'TERM': ''},
)
FILES = {
    'good': '/**: {ros__parameters: {max_age: 0.0, point_stride: 3}}',
    'empty': '',
    'cut': '/**: {ros__parameters: {max_age: ',
    'tabs': '/**:\n\tros__parameters:\n\t\tx: 1\n',
    'another': 'talker: {ros__parameters: {x: 1}}',
    'typo': '/**: {ros__parameters: {max_dept: 5}}',
    'wrong': '/**: {ros__parameters: {max_depth: far}}',
    'list': '[1, 2]',
    'bytes': '\udcff',
    'nested': 'a: {b: {c: {ros__parameters: {x: {y: {z: 1}}}}}}',
    'null': '/**: null',
}


class Session:
    """A process and a client of all its services."""

    def __init__(self, chance: random.Random, folder: Path, became: Counter[str]) -> None:
        self._chance = chance
        self._folder = folder
        self._became = became
        self._robot: Robot | None = None
        self._values = dict(DEFAULTS)

    def run(self, number: int, calls: int) -> int:
        """Start a process and make the calls; return their number."""
        name = f'/fuzz_{os.getpid()}_{number}'
        several = ['--cameras', 'front'] * (self._chance.random() < 0.25)
        space = f'{name}/front' if several else name
        words = self._words(name)
        with self._process(several, words) as (process, said):
            self._robot = Robot(space)
            try:
                self._robot.watch_diagnostics()
                if not self._started(process, said, words):
                    return 1
                for _ in range(calls):
                    self._call()
                    assert process.poll() is None, 'the process ended'
                self._state_is_told()
                process.send_signal(signal.SIGINT)
                assert process.wait(START) == 0
                assert 'Traceback' not in said()
            except Exception as error:
                raise AssertionError(f'{error!r} of {said()[-6000:]}') from error
            finally:
                self._robot.close()
        return calls

    # Start -----------------------------------------------------------------------------------

    def _words(self, namespace: str) -> list[str]:
        chance, words = self._chance, ['--ros-args', '-r', f'__ns:={namespace}']
        given = {
            'model_file': str(self._folder / 'tiny.safetensors'),
            'device': 'cpu',
            'backend': 'torch',
            'autostart': str(chance.random() < 0.5).lower(),
        }
        for name in chance.sample(sorted(RULES), chance.choice((0, 0, 1, 2))):
            given[name] = str(self._value(name))
        if chance.random() < 0.4:
            topic = chance.choice((*INPUTS, *OUTPUTS, 'nothing'))
            entity = chance.choice(('publisher', 'subscription', 'nobody'))
            policy = chance.choice(('reliability', 'depth', 'history', 'durability', 'colour'))
            given[f'qos_overrides.{namespace}/{topic}.{entity}.{policy}'] = chance.choice(
                ('reliable', 'best_effort', 'besteffort', 'keep_all', '7', '-1', 'unknown', '1.5')
            )
        for name, value in given.items():
            words += ['-p', f'{name}:={value}'] if value else []
        if chance.random() < 0.4:
            kind = chance.choice([*FILES, 'missing'])
            file = self._folder / f'{kind}.yaml'
            if kind in FILES:
                file.write_bytes(FILES[kind].encode(errors='surrogateescape'))
            words += ['--params-file', str(file)]
        if chance.random() < 0.15:
            words += chance.choice(
                (
                    ['-p', 'image:='],
                    ['-r', 'image:=9/x'],
                    ['--nonsense'],
                    ['-p', 'use_sim_time:="true"'],
                    ['-p', 'use_sim_time:=true'],
                    ['--log-level', 'loud'],
                    ['-r', '__node:=9'],
                )
            )
        return words

    @contextmanager
    def _process(
        self, several: list[str], words: list[str]
    ) -> Iterator[tuple[subprocess.Popen, Callable[[], str]]]:
        change = self._chance.choice(ENVIRONMENTS)
        environment = {
            name: value for name, value in {**os.environ, **change}.items() if value is not None
        }
        environment['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, '-m', 'depth_perception.ros.node.main', *several, *words]
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

            def said() -> str:
                with open(f'/proc/self/fd/{output.fileno()}', errors='replace') as file:
                    return f'{change} {" ".join(command)}\n{file.read()}'

            try:
                yield process, said
            finally:
                process.kill()
                process.wait()

    def _started(
        self, process: subprocess.Popen, said: Callable[[], str], words: list[str]
    ) -> bool:
        """Return True if it runs; if not, it must have reported the reason in a sentence."""
        client = self._robot.node.create_client(GetState, 'depth_node/get_state')
        # A node whose services exist may still exit because of its parameters, and it configures
        # itself before it answers.
        wait_until(lambda: process.poll() is not None or client.service_is_ready(), START)
        answer = client.call_async(GetState.Request())
        wait_until(lambda: process.poll() is not None or answer.done(), START)
        self._robot.node.destroy_client(client)
        if process.poll() is None:
            self._became['processes that ran'] += 1
            for name in RULES:
                self._values[name] = self._present(name)
            return True
        sentences = {1: 'cannot start', 2: 'cannot start', 102: 'Expected RMW implementation'}
        assert sentences.get(process.returncode, '-') in said(), process.returncode  # 102: rcl's
        assert 'Traceback' not in said()
        self._became[f'refused to start with {process.returncode}'] += 1
        return False

    # Calls -----------------------------------------------------------------------------------

    def _call(self) -> None:
        kinds = (
            (self._transition, 4),
            (self._set, 4),
            (self._set_together, 2),
            (self._ask, 2),
            (self._enable, 1),
        )
        (call,) = self._chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        self._became[f'{call.__name__.strip("_")}: {call()}'] += 1

    def _answer(self, kind: type, service: str, **request: Any) -> Any:
        return self._robot.call(kind, f'depth_node/{service}', kind.Request(**request), START)

    def _state(self) -> str:
        return self._answer(GetState, 'get_state').current_state.label

    def _transition(self) -> str:
        before = self._state()
        number = self._chance.choice((1, 2, 3, 4, 0, 8, 10, 60, 99, 255))
        if self._chance.random() < 0.6:
            number = self._chance.choice(
                [
                    number
                    for number, label in LABELS.items()
                    if number < 5 and (before, label) in GOALS
                ]
                or [1]
            )
        if self._chance.random() < 0.02:
            number = self._chance.choice((5, 6, 7))
        label = LABELS.get(number, 'nonsense')
        wanted = Transition(label=label) if self._chance.random() < 0.2 else Transition(id=number)
        if not wanted.label and SHUTDOWN_FROM.get(number, before) != before:
            label = 'nonsense'
        success = self._answer(ChangeState, 'change_state', transition=wanted).success
        after = self._state()
        goal = GOALS.get((before, label))
        assert after == (goal if success else before), (before, wanted, success, after)
        assert success or goal is None or label in ('configure', 'activate'), (before, wanted)
        return 'done' if success else 'refused' if goal is None else 'failed'

    def _value(self, name: str) -> Any:
        """Return a more or less suitable value for a parameter."""
        rule, chance = RULES.get(name), self._chance
        if rule is None or chance.random() < 0.3:
            return chance.choice(
                (
                    0,
                    -1,
                    2**40,
                    1.5,
                    float('nan'),
                    float('inf'),
                    True,
                    'on',
                    'é',
                    'x' * 3000,
                    '~/none',
                    '[1, 2]',
                )
            )
        if rule.choices:
            return chance.choice(rule.choices)
        if rule.low is not None:
            value = chance.uniform(rule.low, rule.high)
            return round(value) if type(DEFAULTS[name]) is int or chance.random() < 0.3 else value
        if name == 'model_file':
            return chance.choice(
                (
                    str(self._folder / 'tiny.safetensors'),
                    '/nowhere',
                    '/',
                    str(self._folder / 'tiny.safetensors'),
                )
            )
        if name == 'device':
            return chance.choice(('cpu', 'auto', 'cuda:7', 'tpu'))
        return chance.choice((DEFAULTS[name], True, 'a_frame'))

    def _parameter(self) -> Parameter:
        names = [*sorted(RULES), 'use_sim_time', 'nothing', '', 'qos_overrides./x', 'é']
        name = self._chance.choice(names)
        if self._chance.random() < 0.1:
            return Parameter(
                name=name,
                value=ParameterValue(
                    type=self._chance.choice((0, 5, 9, 10, 77, 255)), integer_value=3
                ),
            )
        value, message = self._value(name), ParameterValue()
        kinds = {
            bool: (1, 'bool_value'),
            int: (2, 'integer_value'),
            float: (3, 'double_value'),
            str: (4, 'string_value'),
        }
        message.type, field = kinds[type(value)]
        setattr(message, field, value)
        return Parameter(name=name, value=message)

    def _set(self) -> str:
        given = self._parameter()
        (result,) = self._answer(SetParameters, 'set_parameters', parameters=[given]).results
        return self._became_of([given], result)

    def _set_together(self) -> str:
        given = [self._parameter() for _ in range(self._chance.randrange(4))]
        return self._became_of(
            given,
            self._answer(
                SetParametersAtomically, 'set_parameters_atomically', parameters=given
            ).result,
        )

    def _became_of(self, given: list[Parameter], result: Any) -> str:
        """Check that the parameters agree with the answer."""
        assert result.successful or result.reason, given
        for parameter in given:
            name = parameter.name
            if name not in RULES:
                continue
            if result.successful:
                value = parameter_value_to_python(
                    [each for each in given if each.name == name][-1].value
                )
                self._values[name] = type(DEFAULTS[name])(value)
            present = self._present(name)
            assert type(present) is type(DEFAULTS[name]), (name, present)
            assert present == self._values[name], (name, present, self._values[name], result)
        return 'done' if result.successful else 'refused'

    def _present(self, name: str) -> Any:
        (value,) = self._answer(GetParameters, 'get_parameters', names=[name]).values
        return parameter_value_to_python(value)

    def _ask(self) -> str:
        names = self._chance.sample([*sorted(RULES), 'nothing', ''], 3)
        kind, service, request = self._chance.choice(
            (
                (GetParameters, 'get_parameters', {'names': names}),
                (DescribeParameters, 'describe_parameters', {'names': names}),
                (GetParameterTypes, 'get_parameter_types', {'names': names}),
                (ListParameters, 'list_parameters', {'prefixes': names, 'depth': 2**63}),
                (GetAvailableStates, 'get_available_states', {}),
                (GetAvailableTransitions, 'get_available_transitions', {}),
                (GetAvailableTransitions, 'get_transition_graph', {}),
            )
        )
        self._answer(kind, service, **request)
        return 'answered'

    def _enable(self) -> str:
        on = self._chance.random() < 0.5
        answer = self._answer(SetBool, 'enable', data=on)
        assert answer.message and answer.success == (not on or self._state() == 'active')
        return 'done' if answer.success else 'refused'

    def _state_is_told(self) -> None:
        """Check that diagnostics agree with the state machine."""
        state = self._state()
        self._robot.diagnostics.clear()
        words = {state for pair in GOALS.items() for state in (pair[0][0], pair[1])}

        def agrees() -> bool:
            status = self._robot.status('inference')
            said = status.message if status else ''
            return status is not None and (
                said == state
                or said.startswith('cannot ')
                or (state == 'active' and said not in words - {'active'})
            )

        wait_until(
            agrees,
            what=f'diagnostics to say {state}, not '
            f'{getattr(self._robot.status("inference"), "message", None)}',
        )


_TINY_SHARED_MEMORY = (
    'unshare',
    '--mount',
    'sh',
    '-c',
    'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"',
    'sh',
)


@scenario(full=200, short=40)
def tiny_shared_memory(calls: int) -> Outcome:
    """As fuzz_services, with a /dev/shm of one megabyte for all processes; needs root."""
    words = [
        *_TINY_SHARED_MEMORY,
        sys.executable,
        '-m',
        'benchmarks.faults',
        'fuzz_services',
        '--inside',
        '--count',
        str(calls),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.strip(), done.stderr[-3000:]
    row = json.loads(done.stdout.splitlines()[-1])
    assert row['served_next_frame'], row['said']
    return Outcome(row['done'], '', row['figures'])


@scenario(full=2000, short=40)
def fuzz_services(calls: int) -> Outcome:
    """Transitions, parameters, QoS overrides, parameter files and environments are fuzzed."""
    chance, became, failures = random.Random(calls), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder) / 'tiny.safetensors', tiny_network(), tiny_info())
        made = number = 0
        while made < calls:
            session = Session(chance, Path(folder), became)
            try:
                made += session.run(number, min(CALLS, calls - made))
            except AssertionError as error:
                failures.append(str(error))
                made += 1
            number += 1
            sys.stderr.write(f'{made} of {calls} calls, {number} processes\n')
    assert not failures, f'{len(failures)} of {number} processes failed, the first: {failures[0]}'
    return Outcome(
        f'{made} calls and starts, {number} processes with odd arguments, files and environments',
        '',
        {'processes': number, **dict(sorted(became.items()))},
    )
