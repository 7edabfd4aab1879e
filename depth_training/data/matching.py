# SPDX-License-Identifier: Apache-2.0
"""Which depth map belongs to which picture, by name or by time; and what is left over."""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Words that tell pictures from depth maps, with what joins them to the rest of a name.
_KIND = re.compile(r'[-_. ]*(rgb|colou?rs?|images?|img|photo|depths?|dpth|aligned|raw|sync)[-_. ]*',
                   re.IGNORECASE)
_TIME = re.compile(r'\d+\.\d+')
#: Seconds by which a picture and its depth map may differ (TUM's associate.py).
LARGEST_GAP = 0.02


class Matches(NamedTuple):
    """Names that belong together, and those that belong to none."""

    pairs: list[tuple[str, str]]
    pictures: list[str]
    depths: list[str]

    def note(self) -> str:
        """What is left over, in words; empty where nothing is."""
        return left_over(self.pictures, self.depths)


def left_over(pictures: Sequence[str], depths: Sequence[str] = ()) -> str:
    """Pictures and depth maps without the other, counted."""
    parts = [f'{len(names)} {kind} (first {names[0]})' for names, kind in (
        (pictures, 'pictures without depth'), (depths, 'depth maps without picture')) if names]
    return ', '.join(parts)


def match(pictures: Sequence[str], depths: Sequence[str]) -> Matches:
    """By equal names; else by names without `rgb`, `depth` and the like; else by time.

    Names are paths without their root folder; endings do not count. Names that are times in
    seconds, such as 1305031102.175304.png, match the nearest in time.
    """
    for key in (_stem, _bare):
        found = _by_key(pictures, depths, key)
        if found.pairs:
            return found
    timed = [[(time, name) for name in names if (time := _time(name)) is not None]
             for names in (pictures, depths)]
    if len(timed[0]) == len(pictures) and len(timed[1]) == len(depths):
        return match_times(timed[0], timed[1])
    return Matches([], list(pictures), list(depths))


def match_times(pictures: Sequence[tuple[float, str]], depths: Sequence[tuple[float, str]],
                largest_gap: float = LARGEST_GAP) -> Matches:
    """The nearest in time first, each name once."""
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
    return Matches([(name, chosen[name]) for _, name in sorted(pictures) if name in chosen],
                   [name for _, name in pictures if name not in chosen],
                   [name for _, name in depths if name not in taken])


def _by_key(pictures: Sequence[str], depths: Sequence[str], key: Callable[[str], str]) -> Matches:
    by_key = {key(name): name for name in depths}
    if len(by_key) < len(depths) or len({key(name) for name in pictures}) < len(pictures):
        return Matches([], list(pictures), list(depths))
    pairs = [(name, by_key[key(name)]) for name in pictures if key(name) in by_key]
    used = {depth for _, depth in pairs}
    return Matches(pairs, [name for name in pictures if key(name) not in by_key],
                   [name for name in depths if name not in used])


def _stem(name: str) -> str:
    return name.rpartition('.')[0]


def _bare(name: str) -> str:
    folder, _, file = _stem(name).rpartition('/')
    return f'{folder}/{_KIND.sub("", file)}'


def _time(name: str) -> float | None:
    found = _TIME.fullmatch(_stem(name).rpartition('/')[2])
    return float(found.group()) if found else None
