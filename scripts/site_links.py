# SPDX-License-Identifier: Apache-2.0
"""A hook of mkdocs.yml for links to files that are not pages of the site.

On GitHub a page links to tests, configuration and code by relative paths. These files are not on
the site: there, such a link leads to the repository if `repo_url` is set, and otherwise becomes
plain text.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

#: A Markdown link, but not an image, that begins with `../`.
OUTWARD = re.compile(r'(?<!!)\[(?P<text>[^][]*)\]\((?P<target>\.\./[^()\s]*)\)')


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Replace the links of one page that leave the folder of the documentation."""
    folder = PurePosixPath('docs') / PurePosixPath(page.file.src_uri).parent
    return OUTWARD.sub(lambda match: _replaced(match, folder, config.repo_url), markdown)


def _replaced(match: re.Match[str], folder: PurePosixPath, repository: str | None) -> str:
    path = normpath(str(folder / match['target']))
    if path.startswith('docs/'):
        return match[0]
    return (
        f'[{match["text"]}]({repository.rstrip("/")}/blob/main/{path})'
        if repository
        else match['text']
    )
