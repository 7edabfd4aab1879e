# SPDX-License-Identifier: Apache-2.0
"""Pictures of the bundled network, and what pages say of its input, are of what is bundled."""

from __future__ import annotations

import re
from pathlib import Path

from depth_perception.inference.estimator import network_size
from depth_perception.io.weights import check_weights, load_weights
from depth_training.report.network_pictures import record, recorded

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / 'docs' / 'images'
#: Pictures of something else.
OTHERS = {'soak.png', 'architecture.svg', 'closed_loop.png'}


def test_every_picture_of_the_network_shows_the_one_that_is_bundled():
    """After new weights: python scripts/network_pictures.py, and the model card."""
    checksum = load_weights().checksum
    old = [name for name, of in recorded(IMAGES).items() if of != checksum]
    assert not old, 'made with another network, see scripts/network_pictures.py'
    assert not [name for name in recorded(IMAGES) if not (IMAGES / name).exists()]


def test_the_pages_name_the_input_size_of_the_network_that_is_bundled():
    info = check_weights(None).info
    own = f'{info.input_width}x{info.input_height}'
    rows, columns = network_size(info, 720, 1280)
    wide = f'1280x720 (network input {columns}x{rows})'
    pages = ('model_card', 'interface')
    card, interface = ((ROOT / 'docs' / f'{name}.md').read_text() for name in pages)
    assert f'| Input | {own} for a camera with a {info.horizontal_fov_deg:.0f} degree' in card
    for message in (
        f'compiling for {wide}: until then fed at {own}',
        f'compiling for 640x480 with confidence (network input {own})',
        f'cannot compile for {wide}, fed at {own}: ...',
    ):
        assert f'`{message}`' in interface, message


def test_every_picture_in_the_pages_is_known():
    pages = [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]
    shown = {name for page in pages for name in re.findall(r'images/([\w.]+)\)', page.read_text())}
    assert shown <= recorded(IMAGES).keys() | OTHERS


def test_the_note_keeps_what_is_known_of_others(tmp_path):
    record(tmp_path, 'b.png', '1')
    record(tmp_path, 'a.png', '2')
    record(tmp_path, 'b.png', '3')
    assert recorded(tmp_path) == {'a.png': '2', 'b.png': '3'}
