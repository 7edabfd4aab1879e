# SPDX-License-Identifier: Apache-2.0
"""A page of headings, text, tables and images, as Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

Cells = Sequence[str]


@dataclass(frozen=True)
class Heading:
    """A heading; `level` 1 is the page title."""

    text: str
    level: int = 2

    def markdown(self) -> str:
        """Return the element as Markdown."""
        return f'{"#" * self.level} {self.text}'

    def html(self) -> str:
        """Return the element as HTML."""
        return f'<h{self.level}>{html.escape(self.text)}</h{self.level}>'


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str

    def markdown(self) -> str:
        """Return the element as Markdown."""
        return self.text

    def html(self) -> str:
        """Return the element as HTML."""
        return f'<p>{html.escape(self.text)}</p>'


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[str]

    def markdown(self) -> str:
        """Return the element as Markdown."""
        return '\n'.join(f'* {item}' for item in self.items)

    def html(self) -> str:
        """Return the element as HTML."""
        return f'<ul>{"".join(f"<li>{html.escape(item)}</li>" for item in self.items)}</ul>'


@dataclass(frozen=True)
class Table:
    """A header row and rows with the same number of cells."""

    head: Cells
    rows: Sequence[Cells]

    def markdown(self) -> str:
        """Return the element as Markdown."""
        lines = [self.head, ['---'] * len(self.head), *self.rows]
        return '\n'.join(
            '| ' + ' | '.join(cell.replace('|', '/') for cell in line) + ' |' for line in lines
        )

    def html(self) -> str:
        """Return the element as HTML."""
        rows = ''.join(_html_row(row, 'td') for row in self.rows)
        return f'<table>{_html_row(self.head, "th")}{rows}</table>'


@dataclass(frozen=True)
class Picture:
    """An image file next to the page."""

    file: str
    caption: str

    @property
    def alternative(self) -> str:
        """Alternative text of the image."""
        return PurePosixPath(self.file).stem.replace('_', ' ')

    def markdown(self) -> str:
        """Return the element as Markdown."""
        return f'{self.caption}\n\n![{self.alternative}]({self.file})'

    def html(self) -> str:
        """Return the element as HTML."""
        picture = f'<img alt="{html.escape(self.alternative)}" src="{html.escape(self.file)}">'
        return f'<figure>{picture}<figcaption>{html.escape(self.caption)}</figcaption></figure>'


Element = Heading | Text | Bullets | Table | Picture
_STYLE = (
    '<style>body{font-family:sans-serif;margin:2em;max-width:90em}'
    'table{border-collapse:collapse}figure{margin:1em 0}'
    'td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left}img{max-width:100%}'
    '</style>'
)


def markdown(elements: Sequence[Element]) -> str:
    """Return the page as Markdown."""
    return '\n\n'.join(element.markdown() for element in elements) + '\n'


def as_html(elements: Sequence[Element], title: str) -> str:
    """Return the page as an HTML file."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<title>{html.escape(title)}</title>{_STYLE}'
        + '\n'.join(element.html() for element in elements)
        + '</html>\n'
    )


def _html_row(cells: Cells, tag: str) -> str:
    return '<tr>' + ''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in cells) + '</tr>'
