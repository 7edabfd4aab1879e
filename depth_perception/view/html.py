# SPDX-License-Identifier: Apache-2.0
"""HTML of the panel: status lines, and the legend of the depth colours."""

from __future__ import annotations

import html
from collections.abc import Iterable

import numpy as np

from depth_perception.depth.visualise import colourise, round_distances
from depth_perception.view.frame import Level, Remark

#: Colours of the levels that are distinguishable on white and on black.
_DOTS = {Level.OK: '#2f9e44', Level.WARN: '#e8890c', Level.ERROR: '#e03131'}
_STOPS = 24
_SMALL = 'font-size:0.8rem;line-height:1.35'
HINT = (
    f'<div style="{_SMALL};opacity:0.6;padding:0.25em 0.75em">'
    'Drag to turn, right-drag to move, wheel to zoom, click on a point for its distance.</div>'
)


def label_html(label: str) -> str:
    """Return the label of the frame as HTML."""
    return f'<div style="{_SMALL};padding:0 0.75em">{html.escape(label)}</div>'


def remarks_html(remarks: Iterable[Remark]) -> str:
    """Return the remarks as HTML, one line each, with a dot in the colour of the level."""
    lines = [
        f'<div style="display:flex;gap:0.5em"><span style="color:{_DOTS[remark.level]}">&#9679;'
        f'</span><span><b>{html.escape(remark.subject)}</b> {html.escape(remark.text)}</span></div>'
        for remark in remarks
    ]
    return f'<div style="{_SMALL};padding:0 0.75em 0.25em">{"".join(lines)}</div>'


def scale_html(depth_range: tuple[float, float] | None) -> str:
    """Return the colour scale of the depth picture, with distances below, or ''."""
    if depth_range is None:
        return ''
    near, far = depth_range
    # Colours and bar are linear in the square root of the distance.
    distances = near + (far - near) * np.linspace(0, 1, _STOPS, dtype=np.float32) ** 2
    colours = colourise(distances[None], near, far)[0, :, ::-1]
    stops = ','.join('rgb({},{},{})'.format(*colour) for colour in colours)
    ticks = ''.join(
        f'<span style="position:absolute;left:{100 * place:.1f}%;white-space:nowrap;'
        f'transform:translateX(-50%)">{distance:g} m</span>'
        for distance, place in round_distances(near, far)
    )
    return (
        f'<div style="{_SMALL};padding:0 1.5em 0.25em 0.75em">'
        f'<div style="height:0.8em;border-radius:3px;'
        f'background:linear-gradient(to right,{stops})"></div>'
        f'<div style="position:relative;height:1.4em">{ticks}</div></div>'
    )
