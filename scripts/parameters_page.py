# SPDX-License-Identifier: Apache-2.0
"""Write docs/parameters.md from the table of parameters; needs ROS 2 (scripts/test installs it).

python scripts/parameters_page.py            writes the page
python scripts/parameters_page.py --check    exits with 1 if the page is out of date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that the command also works if the package is not installed

from depth_perception.ros.node.parameters import DEFAULTS, RULES  # noqa: E402

PAGE = ROOT / 'docs' / 'parameters.md'
COMMAND = 'python scripts/parameters_page.py'
HEAD = f"""\
<!-- Written by `{COMMAND}`: change depth_perception/ros/node/parameters.py
     or depth_perception/depth/settings.py instead. -->
# Parameters of `depth_node`

[config/depth.yaml](../config/depth.yaml) lists all of them with their defaults. Copy it and pass
the copy to the launch file:

```bash
ros2 launch depth_perception depth.launch.py image:=/camera/image_raw params_file:=my.yaml
ros2 run depth_perception depth_node --ros-args --params-file my.yaml -p max_depth:=5.0
ros2 param describe /depth_node edge_threshold    # prints the same as this page
```

A value of the wrong type or outside its range is refused with one sentence: at start the process
exits with code 1; while the node runs it keeps the old value. Integers are accepted for floats.
"""
CHANGEABLE = """
## Changeable while the node runs

A change takes effect on the next frame: `ros2 param set /depth_node max_depth 5.0`. Parameters
that belong together, such as `scan_min_height` and `scan_max_height`, may be set one after the
other: while they contradict each other, the node uses the old values of both, and diagnostics says
so.
"""
AT_CONFIGURE = """
## Read when the node is configured

Set them in the parameter file, on the command line, or while the node is unconfigured, for example
after a failed configure: `ros2 param set /depth_node model_file /new/net.safetensors`, then
`ros2 lifecycle set /depth_node configure`. A configured node refuses a change.
"""
AT_START = """
## Read at start
"""
TAIL = """
## From ROS itself

| Parameter | Default | Meaning |
|---|---|---|
| `use_sim_time` | `false` | use the time of `/clock`; `depth.launch.py` sets it for a bag |
| `qos_overrides./TOPIC.subscription.reliability` and other policies | as in \
[Interface](interface.md) | quality of service of a topic, by its full name; read at start. A \
reliability other than `reliable` is kept: the node does not adapt it |
"""


def page() -> str:
    """Return the whole page."""
    changeable = [name for name, rule in RULES.items() if rule.configured and not rule.read_only]
    at_configure = [name for name, rule in RULES.items() if not rule.configured]
    at_start = [name for name, rule in RULES.items() if rule.read_only]
    return ''.join(
        [
            HEAD,
            CHANGEABLE,
            _table(changeable),
            AT_CONFIGURE,
            _table(at_configure),
            AT_START,
            _table(at_start),
            TAIL,
        ]
    )


def _table(names: list[str]) -> str:
    lines = ['', '| Parameter | Default | Accepts | Meaning |', '|---|---|---|---|']
    for name in names:
        cells = [f'`{name}`', _value(DEFAULTS[name]), _accepted(name), _cell(RULES[name].text)]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join([*lines, ''])


def _value(value: object) -> str:
    """Format a value as in YAML."""
    if isinstance(value, bool):
        return f'`{str(value).lower()}`'
    return "`''`" if value == '' else f'`{value}`'


def _accepted(name: str) -> str:
    rule = RULES[name]
    if rule.choices:
        return ', '.join(f'`{choice}`' for choice in rule.choices)
    if rule.low is not None:
        return f'{rule.low:g} to {rule.high:g}'
    return {bool: '`true`, `false`', str: 'text'}[type(DEFAULTS[name])]


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('*', '\\*')


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    parser = argparse.ArgumentParser(description='Write docs/parameters.md.')
    parser.add_argument('--check', action='store_true', help='only check if it is out of date')
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding='utf-8')
        return 0
    if PAGE.read_text(encoding='utf-8') == page():
        return 0
    sys.stderr.write(f'{PAGE} is out of date: run {COMMAND}\n')
    return 1


if __name__ == '__main__':
    sys.exit(main())
