# SPDX-License-Identifier: Apache-2.0
"""Who imports whom: no circles, nothing back up, ROS and PyTorch where they belong."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ('depth_perception', 'depth_training', 'benchmarks')
#: Folders from the bottom up: each may import itself and those before it.
RUNTIME = (
    'errors',
    'extras',
    'reading',
    'number_options',
    'licence_option',
    'progress',
    'termination',
    'networks',
    'camera',
    'depth',
    'io',
    'inference',
    'ros.conversions',
    'ros',
    'ros.replay',
    'ros.node',
    'ros.offline',
    'view',
    'demo',
    'cli',
)
TRAINING = (
    'failures',
    'ranges',
    'options',
    'optional_values',
    'data',
    'losses',
    'augment',
    'evaluate',
    'recipes',
    'convert',
    'train',
    'report',
    'check_data',
    'commands',
    'evaluate_command',
    'cli',
    '__main__',
)
#: Folders that may import ROS when they are imported, or in a function.
ROS = ('depth_perception/ros/', 'depth_perception/demo/', 'depth_perception/view/ros_source.py')
ROS_MODULES = {
    'rclpy',
    'sensor_msgs',
    'std_msgs',
    'geometry_msgs',
    'diagnostic_msgs',
    'tf2_ros',
    'tf2_msgs',
    'rcl_interfaces',
    'builtin_interfaces',
    'rosgraph_msgs',
    'std_srvs',
    'lifecycle_msgs',
}


def name_of(file: Path) -> str:
    return '.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


FILES = {
    name_of(file): file for package in PACKAGES for file in sorted((ROOT / package).rglob('*.py'))
}


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, in functions too, but not for annotations alone."""
    tree = ast.parse(file.read_text(encoding='utf-8'))
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                whole = f'{node.module}.{alias.name}'
                yield whole if whole in FILES else node.module


GRAPH = {name: set(imported(file)) - {name} for name, file in FILES.items()}


def test_no_module_imports_itself_by_way_of_others():
    def reachable(name: str) -> set[str]:
        seen, waiting = set(), [name]
        while waiting:
            new = GRAPH.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    assert [name for name in GRAPH if name in reachable(name)] == []


@pytest.mark.parametrize(
    ('package', 'layers'), [('depth_perception', RUNTIME), ('depth_training', TRAINING)]
)
def test_nothing_imports_back_up(package, layers):
    def layer(module: str) -> int:
        name = module.partition('.')[2]
        longest = max((known for known in layers if f'{name}.'.startswith(f'{known}.')), key=len)
        return layers.index(longest)

    back = [
        f'{module} -> {target}'
        for module, targets in GRAPH.items()
        for target in targets
        if module.startswith(f'{package}.')
        and target.startswith(f'{package}.')
        and layer(target) > layer(module)
    ]
    assert back == []


def test_the_runtime_imports_neither_training_nor_benchmarks():
    assert [
        f'{module} -> {target}'
        for module, targets in GRAPH.items()
        for target in targets
        if module.startswith('depth_perception')
        and not target.startswith('depth_perception')
        and target.partition('.')[0] in PACKAGES
    ] == []


def test_ros_is_imported_where_ros_is_the_subject():
    assert [
        f'{module} -> {target}'
        for module, targets in GRAPH.items()
        for target in targets
        if target.partition('.')[0] in ROS_MODULES
        and not module.startswith('benchmarks')
        and not str(FILES[module].relative_to(ROOT)).startswith(ROS)
    ] == []


def test_conversions_import_neither_torch_nor_rosbags():
    heavy = {'torch', 'rosbags', 'timm', 'torchvision'}
    assert [
        f'{module} -> {target}'
        for module, targets in GRAPH.items()
        for target in targets
        if module.startswith('depth_perception.ros.conversions')
        and target.partition('.')[0] in heavy
    ] == []


@pytest.mark.parametrize('package', PACKAGES[:2])
def test_a_class_has_a_name_of_its_own(package):
    names = Counter(
        node.name
        for module, file in FILES.items()
        if module.startswith(package)
        for node in ast.parse(file.read_text(encoding='utf-8')).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith('_')
    )
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_functions_are_short():
    """Of code, without docstrings: at most 50 lines; half of them have at most eight."""
    lengths = sorted(
        (_lines_of_code(node), f'{module}:{node.name}')
        for module, file in FILES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    print(
        'functions:',
        len(lengths),
        'median:',
        lengths[len(lengths) // 2][0],
        'longest:',
        lengths[-3:],
    )
    assert lengths[-1][0] <= 50, lengths[-1]
    assert lengths[len(lengths) // 2][0] <= 8


def _lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_the_architecture_page_names_files_that_are_there_and_every_folder():
    text = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    paths = re.findall(r'`([\w./]+(?:/|\.py))`', text)
    missing = [
        path
        for path in paths
        if not any(
            (folder / path).exists()
            for folder in (
                ROOT,
                ROOT / 'depth_perception',
                *(ROOT / 'depth_perception' / 'ros').iterdir(),
                *(folder for folder in (ROOT / 'depth_training').iterdir() if folder.is_dir()),
                *(folder for folder in (ROOT / 'depth_perception').iterdir() if folder.is_dir()),
            )
        )
    ]
    assert missing == []
    folders = [
        folder
        for package in PACKAGES[:2]
        for folder in (ROOT / package).iterdir()
        if (folder / '__init__.py').exists()
    ]
    assert [str(folder) for folder in folders if str(folder.relative_to(ROOT)) not in text] == []
