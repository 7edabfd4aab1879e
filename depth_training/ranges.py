# SPDX-License-Identifier: Apache-2.0
"""Ranges of numeric options: declared at each option, checked in one place."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints


class RangeError(ValueError):
    """A number out of range; the message gives its name and the range."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `above` excludes `low`."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and value <= self.high
            and (value > self.low if self.above else value >= self.low)
        )

    def __str__(self) -> str:
        if math.isfinite(self.high):
            return (
                f'more than {self.low:g}, at most {self.high:g}'
                if self.above
                else f'{self.low:g} to {self.high:g}'
            )
        return f'more than {self.low:g}' if self.above else f'{self.low:g} or more'

    def check(self, name: str, value: float) -> None:
        """Refuse a value outside the range.

        Raises:
            RangeError: it is outside; the message has the name, the value and the range.
        """
        if value not in self:
            raise RangeError(f'{name} {_plain(value)} is out of range: give {self}')


Count = Annotated[int, Range(1)]
WholeNumber = Annotated[int, Range(0)]
Pixels = Annotated[int, Range(1, 1 << 14)]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]


def check(values: Any, name: Callable[[str], str] = str) -> None:
    """Check every number with a range in a dataclass; `name` converts field names for messages.

    Raises:
        RangeError: a number is outside its range.
    """
    for field, limits in ranges(type(values)).items():
        value = getattr(values, field)
        if isinstance(value, (int, float)) and limits is not None:
            limits.check(name(field), value)


def ranges(of: type) -> dict[str, Range | None]:
    """Return the numeric fields of a dataclass with their ranges, None if none is declared."""
    hints = get_type_hints(of, include_extras=True)
    return {
        field.name: _range(hints[field.name])
        for field in fields(of)
        if {int, float} & set(_types(hints[field.name]))
    }


def option(field: str) -> str:
    """Return a field's name as an option: `log_every` -> `--log-every`."""
    return f'--{field.replace("_", "-")}'


def number(kind: type[int] | type[float], limits: Range) -> Callable[[str], float]:
    """Return the `type` of an argparse option for numbers in a range."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f'{text!r} is not a number: give {limits}') from error
        if value not in limits:
            raise argparse.ArgumentTypeError(f'{text} is out of range: give {limits}')
        return value

    parse.limits = limits  # type: ignore[attr-defined]
    return parse


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f'{value:g}'


def _types(hint: Any) -> Iterator[Any]:
    """Yield a type, or the types of a union."""
    if get_origin(hint) is Annotated:
        yield from _types(get_args(hint)[0])
    elif get_origin(hint) is not None and type(None) in get_args(hint):
        for part in get_args(hint):
            yield from _types(part)
    else:
        yield hint


def _range(hint: Any) -> Range | None:
    if get_origin(hint) is Annotated:
        found = [part for part in get_args(hint)[1:] if isinstance(part, Range)]
        return found[0] if found else _range(get_args(hint)[0])
    for part in get_args(hint):
        if (found_below := _range(part)) is not None:
            return found_below
    return None
