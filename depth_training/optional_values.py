# SPDX-License-Identifier: Apache-2.0
"""How the command line shows and reads options that may have no value.

tyro shows their form as `{None}|FLOAT` and their default as `None`: here they are `FLOAT or none`
and `none`.
"""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import Any, get_args

from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

#: What a user writes for no value; tyro's own word stays understood.
NONE, _TYRO_S = 'none', 'None'

Spec = PrimitiveConstructorSpec[Any]


def registry() -> ConstructorRegistry:
    """Return the rules for `tyro.cli`."""
    rules, at_work = ConstructorRegistry(), False

    @rules.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> Spec | UnsupportedTypeAnnotationError | None:
        nonlocal at_work
        if at_work or NoneType not in get_args(info.type):
            return None
        at_work = True  # so that tyro's own rule makes it
        try:
            spec = ConstructorRegistry.get_primitive_spec(info)
        finally:
            at_work = False
        return _plain(spec) if isinstance(spec, PrimitiveConstructorSpec) else spec

    return rules


def _plain(spec: Spec) -> Spec:
    """Return the spec of an optional value with another word for no value."""

    def read(words: list[str]) -> Any:
        return spec.instance_from_str([_TYRO_S] if words == [NONE] else words)

    def written(value: Any) -> list[str]:
        return [NONE] if value is None else spec.str_from_instance(value)

    return dataclasses.replace(
        spec,
        metavar=_form(spec.metavar),
        instance_from_str=read,
        str_from_instance=written,
        choices=None if spec.choices is None else (*spec.choices, NONE),
    )


def _form(metavar: str) -> str:
    """Return `FLOAT or none` for `{None}|FLOAT`, and `{a,b} or none` for `{None,a,b}`."""
    form = metavar.removeprefix(f'{{{_TYRO_S}}}|').replace(f'{{{_TYRO_S},', '{')
    if form.startswith('{['):  # {[PATH [PATH ...]]}
        form = form[1:-1]
    return f'{form} or {NONE}'
