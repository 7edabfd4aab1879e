# SPDX-License-Identifier: Apache-2.0
"""What the package says of itself agrees with what it has."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import depth_perception

ROOT = Path(__file__).parents[1]
SETUP = (ROOT / 'setup.py').read_text()


def test_package_xml_and_setup_agree_on_name_and_version():
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert package.findtext('name') == re.search(r"NAME = '(.*)'", SETUP)[1]
    assert package.findtext('version') == depth_perception.__version__


def test_commands_exist():
    commands = re.findall(r"'[\w-]+ = ([\w.]+):(\w+)'", SETUP)
    assert len(commands) == 5
    for module, function in commands:
        assert callable(getattr(import_module(module), function))
