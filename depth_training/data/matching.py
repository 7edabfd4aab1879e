# SPDX-License-Identifier: Apache-2.0
"""Match images and depth maps by name or time, and list those without a match."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Words that mark an image or a depth map, with the characters that join them to the name.
_KIND = re.compile(
    r'[-_. ]*(rgb|colou?rs?|images?|img|photo|depths?|dpth|aligned|raw|sync)[-_. ]*', re.IGNORECASE
)
_TIME = re.compile(r'\d+\.\d+')
#: Largest difference in seconds between an image and its depth map (TUM's associate.py).
LARGEST_GAP = 0.02


class Matches(NamedTuple):
    """Matched names, and the names without a match."""

    pairs: list[tuple[str, str]]
    pictures: list[str]
    depths: list[str]

    def note(self) -> str:
        """Describe the names without a match; empty if there are none."""
        return left_over(self.pictures, self.depths)


def left_over(pictures: Sequence[str], depths: Sequence[str] = ()) -> str:
    """Count images without depth and depth maps without image."""
    parts = [
        f'{len(names)} {kind} (first {names[0]})'
        for names, kind in (
            (pictures, 'pictures without depth'),
            (depths, 'depth maps without picture'),
        )
        if names
    ]
    return ', '.join(parts)


def match(pictures: Sequence[str], depths: Sequence[str]) -> Matches:
    """Match by equal names, or else by names without `rgb`, `depth` and the like, or else by time.

    Names are paths relative to their root folder; suffixes are ignored. Names that are times in
    seconds, such as 1305031102.175304.png, are matched to the nearest time.
    """
    for key in (_stem, _bare):
        found = _by_key(pictures, depths, key)
        if found.pairs:
            return found
    timed = [
        [(time, name) for name in names if (time := _time(name)) is not None]
        for names in (pictures, depths)
    ]
    if len(timed[0]) == len(pictures) and len(timed[1]) == len(depths):
        return match_times(timed[0], timed[1])
    return Matches([], list(pictures), list(depths))


def match_times(
    pictures: Sequence[tuple[float, str]],
    depths: Sequence[tuple[float, str]],
    largest_gap: float = LARGEST_GAP,
) -> Matches:
    """Match by time, nearest first; each name is used once."""
    depths = sorted(depths)
    moments = [time for time, _ in depths]
    candidates = []
    for time, name in pictures:
        place = bisect_left(moments, time - largest_gap)
        while place < len(moments) and moments[place] <= time + largest_gap:
            candidates.append((abs(moments[place] - time), name, depths[place][1]))
            place += 1
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for _, name, depth in sorted(candidates):
        if name not in chosen and depth not in taken:
            chosen[name] = depth
            taken.add(depth)
    return Matches(
        [(name, chosen[name]) for _, name in sorted(pictures) if name in chosen],
        [name for _, name in pictures if name not in chosen],
        [name for _, name in depths if name not in taken],
    )


def _by_key(pictures: Sequence[str], depths: Sequence[str], key: Callable[[str], str]) -> Matches:
    by_key = {key(name): name for name in depths}
    if len(by_key) < len(depths) or len({key(name) for name in pictures}) < len(pictures):
        return Matches([], list(pictures), list(depths))
    pairs = [(name, by_key[key(name)]) for name in pictures if key(name) in by_key]
    used = {depth for _, depth in pairs}
    return Matches(
        pairs,
        [name for name in pictures if key(name) not in by_key],
        [name for name in depths if name not in used],
    )


def _stem(name: str) -> str:
    return name.rpartition('.')[0]


def _bare(name: str) -> str:
    folder, _, file = _stem(name).rpartition('/')
    return f'{folder}/{_KIND.sub("", file)}'


def _time(name: str) -> float | None:
    found = _TIME.fullmatch(_stem(name).rpartition('/')[2])
    return float(found.group()) if found else None
