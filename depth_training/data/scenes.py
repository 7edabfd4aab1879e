# SPDX-License-Identifier: Apache-2.0
"""Divide data with scenes but without an official split into training and test parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from depth_training.data.dataset import Request
from depth_training.data.sample import DataError

Item = TypeVar('Item')
#: One in this many scenes (or frames of a single scene) is held out by default.
ONE_IN = 10


def choose(scenes: Mapping[str, Sequence[Item]], request: Request) -> tuple[list[Item], str]:
    """Return the pairs of the wanted split, and a note on how the split was made.

    `hold_out` names the test scenes. By default the last tenth of the scenes (at least one) is the
    test part; of a single scene, the last tenth of the frames. Neighbouring frames look alike, so a
    random choice would test on images almost identical to the training images.

    Raises:
        DataError: a held-out scene does not exist, or no pair is left.
    """
    if request.split == 'all':
        return [item for items in scenes.values() for item in items], ''
    unknown = sorted(set(request.hold_out) - set(scenes))
    if unknown and len(scenes) == 1:
        raise DataError(
            f'{request.path} has no scene {unknown[0]!r} to hold out: it is a single '
            'scene, of which the last tenth is held out without --hold-out'
        )
    if unknown:
        raise DataError(
            f'{request.path} has no scene {unknown[0]!r} to hold out; '
            f'it has {", ".join(list(scenes)[:5])}{" ..." * (len(scenes) > 5)}'
        )
    if len(scenes) == 1 and not request.hold_out:
        return _part_of_one(next(iter(scenes.values())), request)
    held_out = request.hold_out or tuple(scenes)[-max(1, len(scenes) // ONE_IN) :]
    names = [name for name in scenes if (name in held_out) == (request.split == 'test')]
    if not names:
        raise DataError(f'{request.path}: every scene is held out, none is left for training')
    shown = ', '.join(held_out[:3]) + ' ...' * (len(held_out) > 3)
    note = f'{request.split} part, held-out scenes: {shown}'
    return [item for name in names for item in scenes[name]], note


def _part_of_one(items: Sequence[Item], request: Request) -> tuple[list[Item], str]:
    count = max(1, len(items) // ONE_IN)
    if len(items) < 2:
        raise DataError(
            f'{request.path} has a single pair, which cannot be split: give more data, '
            'or use all of it with --split all (training then needs '
            '--validation-data)'
        )
    part = items[-count:] if request.split == 'test' else items[:-count]
    return list(part), f'{request.split} part, held out: the last {count} frames of one scene'
