# SPDX-License-Identifier: Apache-2.0
"""Write the page that names the creators of all models that rooms may contain.

Usage, where the package sweethome3d-furniture is installed (see README.md):

    python tools/rooms/attribution.py docs/room_models.md
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import files
from simple import catalogue, roles

HEAD = """# Models in rendered rooms

Some of the [rendered rooms](../tools/rooms/README.md) contain furniture, people and things from the
models below. They were scaled to their true size, turned, coloured anew and rendered; the models
themselves are not part of this project. The manifest of a data set lists those in its rooms.
They come from the Debian package `{package}`, which has the full texts of the licences
[CC-BY-3.0](https://creativecommons.org/licenses/by/3.0/),
[CC-BY-3.0-US](https://creativecommons.org/licenses/by/3.0/us/) and
[CC0-1.0](https://creativecommons.org/publicdomain/zero/1.0/). Written by
`tools/rooms/attribution.py`.

| Creator | Licence | Models |
|---|---|---|
"""


def page(found: catalogue.Catalogue) -> str:
    """Return the page: one line for each creator and licence."""
    models = {model.key: model for role in roles.ROLES for model in found.named(roles.stems(role))}
    lines = defaultdict(list)
    for entry in catalogue.attribution(models.values()):
        words = f'{entry["name"]} ({entry["model"].split("#")[-1]})'
        lines[entry['creator'], entry['licence']].append(words)
    rows = [
        f'| {creator} | {licence} | {", ".join(names)} |\n'
        for (creator, licence), names in sorted(lines.items(), key=lambda line: line[0])
    ]
    return HEAD.format(package=catalogue.PACKAGE) + ''.join(rows)


def main() -> None:
    """Write the page of the command line."""
    parser = argparse.ArgumentParser(description='Name the creators of the models in rooms.')
    parser.add_argument('page', type=Path, help='file to write')
    options = parser.parse_args()
    found = catalogue.installed()
    if found is None:
        parser.exit(1)
    files.write_whole(options.page, page(found).encode())


if __name__ == '__main__':
    main()
