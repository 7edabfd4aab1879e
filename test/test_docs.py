# SPDX-License-Identifier: Apache-2.0
"""The pages: their links lead somewhere, the files and tests that they name exist."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import depth_perception
from depth_perception.depth.settings import OPTIONS

ROOT = Path(__file__).parents[1]
#: Pages of the repository that are not in docs/.
OTHERS = ('README.md', 'CONTRIBUTING.md', 'examples/README.md', 'tools/rooms/README.md')
PAGES = [*(ROOT / name for name in OTHERS), *sorted((ROOT / 'docs').glob('**/*.md'))]
#: Folders of the repository whose paths may stand in the text.
FOLDERS = (
    'benchmarks',
    'config',
    'data',
    'depth_perception',
    'depth_training',
    'docs',
    'examples',
    'launch',
    'requirements',
    'rviz',
    'scripts',
    'test',
    'tools',
)
#: Fields of a recipe that are named like tests.
RECIPE_FIELDS = ('test_height', 'test_width', 'test_geometry')
LINK = re.compile(r'(\[(?P<text>[^][]*)\])\((?P<target>[^()\s]+)\)')
CODE = re.compile(r'`([^`\n]+)`')
TESTS = {path: path.read_text() for path in (ROOT / 'test').glob('**/test_*.py')}

pages = pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r'^```.*?^```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)


def headings(page: Path) -> list[str]:
    """Each heading as it is written."""
    return re.findall(r'^#+ (.*)$', prose(page), flags=re.MULTILINE)


def anchor_on_github(heading: str) -> str:
    """Lower case, hyphens for spaces, no punctuation."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def anchor_on_the_site(heading: str) -> str:
    """As Python-Markdown: the same, in ASCII and with single hyphens."""
    plain = unicodedata.normalize('NFKD', heading).encode('ascii', 'ignore').decode()
    return re.sub(r'[-\s]+', '-', re.sub(r'[^\w\s-]', '', plain).strip().lower())


def anchors(page: Path) -> set[str]:
    """What a link may name behind its `#`."""
    return {anchor_on_github(heading) for heading in headings(page)}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Text, file and anchor of each link within the repository."""
    for match in LINK.finditer(prose(page)):
        name, _, anchor = match['target'].partition('#')
        if '://' not in name and not name.startswith('mailto:'):
            yield match['text'], (page.parent / name).resolve() if name else page, anchor


def words(page: Path) -> set[str]:
    """Each word in code, in the text and in blocks."""
    blocks = re.findall(r'^```.*?\n(.*?)^```', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {
        word.rstrip('.,:;')
        for text in [*blocks, *CODE.findall(prose(page))]
        for word in text.split()
    }


@pages
def test_links_lead_to_files_and_headings(page):
    broken = [
        f'{target.name}#{anchor}'
        for _, target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert not broken


@pages
def test_headings_have_one_anchor_each_on_github_and_on_the_site(page):
    names = [anchor_on_github(heading) for heading in headings(page)]
    assert len(set(names)) == len(names), 'two headings of one name'
    linked = {anchor for other in PAGES for _, target, anchor in links(other) if target == page}
    assert not [
        heading
        for heading in headings(page)
        if anchor_on_github(heading) in linked
        and anchor_on_github(heading) != anchor_on_the_site(heading)
    ]


@pages
def test_lists_are_lists_on_the_site_too(page):
    """Python-Markdown wants an empty line before a list, and four spaces before its blocks."""
    item = r'(?:\* |\d+\. )'
    text = page.read_text()
    assert not re.findall(rf'^(?!{item}| |\n).+\n{item}.*', prose(page), flags=re.MULTILINE)
    assert not re.findall(r'^ {1,3}```', text, flags=re.MULTILINE)
    assert not re.findall(rf'\n\n(?: {{4}}.+\n)+{item}.*', prose(page))


@pages
def test_pictures_have_a_description(page):
    assert not re.findall(r'!\[\]\(|<img', prose(page))


def site_pages() -> list[str]:
    """What the navigation of the site names, in its order."""
    nav = (ROOT / 'mkdocs.yml').read_text().partition('\nnav:\n')[2]
    return re.findall(r'([\w/]+\.md)$', nav, flags=re.MULTILINE)


def test_index_and_site_have_every_page():
    docs = ROOT / 'docs'
    every = {page.relative_to(docs).as_posix() for page in docs.glob('**/*.md')}
    assert sorted(site_pages()) == sorted(every)
    index = {
        target
        for page in (docs / 'README.md', docs / 'notes' / 'README.md')
        for _, target, _ in links(page)
    }
    assert not [name for name in every - {'README.md'} if docs / name not in index]


def docstrings(path: Path) -> list[str]:
    """Every docstring of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [
        ast.get_docstring(node) or ''
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds)
    ]


def test_public_docstrings_are_read_by_the_page_of_the_api():
    """It shows nothing of `width, height: pixels`, and programs below `Examples:` alone as code."""
    for module in ('__init__', *depth_perception._MODULES):
        text = '\n'.join(docstrings(ROOT / 'depth_perception' / f'{module.replace(".", "/")}.py'))
        assert not re.findall(r'^ {4}\w+(?:, \w+)+: .*', text, flags=re.MULTILINE), module
        assert not re.findall(r'^Example:$', text, flags=re.MULTILINE), f'{module}: say Examples:'


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs', reason='pip install -r requirements/docs.txt')
    pytest.importorskip('mkdocstrings', reason='pip install -r requirements/docs.txt')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'back_project' in (tmp_path / 'api.html').read_text()
    assert 'back_project' in (tmp_path / 'search' / 'search_index.json').read_text()
    broken = [
        f'{page.name}: {target}'
        for page in tmp_path.glob('**/*.html')
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text())
        if ':' not in target
        and not (page.parent / target.lstrip('/')).exists()
        and page.name != '404.html'
    ]
    assert not broken


def test_extras_of_the_pages_exist():
    extras = (ROOT / 'setup.py').read_text().partition('extras_require')[2]
    table = re.findall(r'^\| `(\w+)` \|', (ROOT / 'docs' / 'install.md').read_text(), re.MULTILINE)
    named = [name for page in PAGES for name in re.findall(r"'\.\[(\w+)\]'", page.read_text())]
    assert len(table) > 3 and not [name for name in {*table, *named} if f"'{name}'" not in extras]


def test_the_readme_is_short():
    text = (ROOT / 'README.md').read_text()
    assert len(text.splitlines()) < 120
    assert 'images/demo.gif' in text and 'scripts/demo' in text and 'scripts/test' in text


@pages
def test_paths_in_code_exist(page):
    named = {
        word.partition('::')[0].rstrip('/')
        for word in words(page)
        if re.fullmatch(rf'({"|".join(FOLDERS)})/[\w./-]+(::\w+)?', word)
    }
    assert not [name for name in named if not (ROOT / name).exists()]


@pages
def test_named_tests_exist(page):
    for word in words(page):
        if re.fullmatch(r'test_\w+', word) and word not in RECIPE_FIELDS:
            assert any(f'def {word}(' in text for text in TESTS.values()), word
    for text, target, _ in links(page):
        if (name := text.strip('`')).startswith('test_') and not name.endswith('.py'):
            assert f'def {name}(' in TESTS[target], f'{target.name} has no {name}'


@pages
def test_tables_have_rows_of_one_width(page):
    for table in re.findall(r'(?:^\|.*\n)+', prose(page), flags=re.MULTILINE):
        widths = {len(re.findall(r'(?<!\\)\|', line)) for line in table.splitlines()}
        assert len(widths) == 1, table.splitlines()[0]


def diagnostics_texts() -> list[str]:
    """The fixed parts of every remark that the node makes in diagnostics."""
    tree = ast.parse((ROOT / 'depth_perception' / 'ros' / 'node' / 'diagnostics.py').read_text())
    remarks = [
        node.elts[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple)
        and len(node.elts) == 2
        and isinstance(node.elts[0], ast.Name)
        and node.elts[0].id in ('OK', 'WARN', 'ERROR')
    ]
    parts = [
        part.value
        for remark in remarks
        for part in ast.walk(remark)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return [part.strip(" ;:'()%") for part in parts if len(part) > 5]


def test_every_remark_of_diagnostics_is_explained():
    assert len(diagnostics_texts()) > 10
    page = ' '.join((ROOT / 'docs' / 'interface.md').read_text().split())
    assert not [text for text in diagnostics_texts() if text not in page]


def comparison_rows(table: int) -> dict[int, list[str]]:
    """Cells of a table of the comparison by the number in its first column."""
    text = (ROOT / 'docs' / 'comparison.md').read_text()
    lines = re.findall(r'(?:^\|.*\n)+', text, flags=re.MULTILINE)[table].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return {int(row[0]): row for row in rows}


def test_every_claim_of_the_comparison_names_its_proof():
    features, proofs, complaints = (comparison_rows(table) for table in range(3))
    assert list(features) == list(proofs) == list(range(1, 43)) and len(complaints) == 15
    for number, row in features.items():
        assert row[-1] == f'**{proofs[number][1]}**' and row[-1] in ('**Y**', '**p**', '**-**')
        assert row[-1] != '**Y**' or LINK.search(proofs[number][2]), row[1]
    for row in complaints.values():
        assert row[2] != 'Y' or LINK.search(row[3]), row[1]


def test_the_comparison_agrees_with_package_xml():
    depends = (ROOT / 'package.xml').read_text()
    claimed = '`package.xml` lists cv_bridge' in comparison_rows(1)[40][2]
    assert claimed == ('<exec_depend>cv_bridge<' in depends)


def test_pages_name_as_many_rooms_as_the_manifest_lists():
    manifest = json.loads((ROOT / 'tools' / 'rooms' / 'manifest.json').read_text())
    trained = [
        room
        for lot in manifest.values()
        if isinstance(lot, dict)
        for room in lot['rooms']
        if room['split'] == 'train'
    ]
    views = sum(room['views'] for room in trained)
    card = (ROOT / 'docs' / 'model_card.md').read_text()
    assert f'{views:,} rendered views of {len(trained)} generated rooms' in card
    for page in PAGES:
        for named in re.findall(r'\b(?:on|seen) (\w+)\s+rendered\s+rooms', prose(page)):
            assert named == str(len(trained)), page.name


def test_the_readme_has_the_obstacle_figures():
    row = next(
        line
        for line in (ROOT / 'docs' / 'obstacles.md').read_text().splitlines()
        if line.startswith('| clip | floor model |')
    )
    shares = [f'{float(share):.0f} %' for share in re.findall(r'([\d.]+) %', row)[:3]]
    sentence = re.search(r'its scan (.*?)\(', (ROOT / 'README.md').read_text(), re.DOTALL)[1]
    assert re.findall(r'\d+ %', sentence) == shares


def test_the_page_of_image_files_names_every_setting_of_depth():
    options = {f'`--{name.replace("_", "-")}`' for name in OPTIONS}
    page = (ROOT / 'docs' / 'predict.md').read_text()
    assert [option for option in sorted(options) if option not in page] == []


def launch_arguments(name: str) -> set[str]:
    """What a launch file declares, or one that it takes its arguments from."""
    text = (ROOT / 'launch' / name).read_text()
    return set(re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", text))


@pages
def test_commands_use_arguments_and_parameters_that_exist(page):
    text = re.sub(r'\\\n\s*', ' ', page.read_text())
    for name, given in re.findall(r'ros2 launch depth_perception (\S+\.py)([^\n`]*)', text):
        assert set(re.findall(r'(\w+):=', given)) <= launch_arguments(name), given
    parameters = (ROOT / 'docs' / 'parameters.md').read_text()
    for name in re.findall(r'ros2 param \w+ /depth_node (\w+)', text):
        assert f'| `{name}` |' in parameters, name


@pages
def test_programs_that_are_called_exist(page):
    text = page.read_text()
    cli = (ROOT / 'depth_perception' / 'cli' / 'main.py').read_text()
    for name in re.findall(r'(?:^|`)depth-perception ([a-z-]+)', text, re.MULTILINE):
        assert f"'{name}': (" in cli, name
    for name in re.findall(r'ros2 run depth_perception (\S+)', text):
        assert f"'{name.strip('`.')} = " in (ROOT / 'setup.py').read_text(), name
    for module in re.findall(r'python -m ((?:benchmarks|depth_\w+)[\w.]*)', text):
        path = ROOT / module.rstrip('.').replace('.', '/')
        assert path.with_suffix('.py').exists() or (path / '__main__.py').exists(), module
