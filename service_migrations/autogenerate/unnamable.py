"""What a constraint has that no model can name: it is the database's own, as a storage parameter is."""

import re
from collections.abc import Iterator
from dataclasses import replace

from service_migrations.catalog.tables import NOT_VALID, Constraint, TableState

__all__ = ["with_unnamable"]

_COLUMN = r'(?:"(?:[^"]|"")*"|[^",()\s]+)'
_KEY = re.compile(rf"((?:PRIMARY KEY|UNIQUE) \((?:{_COLUMN}, )*({_COLUMN}))( WITHOUT OVERLAPS)?\)")
"""A key as the server describes it; only its last column can be one of ranges that don't overlap."""
_NO_INHERIT = " NO INHERIT"


def with_unnamable(live: TableState, target: TableState) -> TableState:
    """Return the models' table with what the database's constraints have besides: WITHOUT OVERLAPS and NO INHERIT.

    A key of the models is taken for one of the database by its kind and its last column: a plain key in its place would
    let overlapping rows in, and no foreign key with a PERIOD could refer to it. A CHECK is taken for one by its name or
    its text.
    """
    temporal, uninherited = set(_temporal(live)), set(_uninherited(live))
    if not temporal and not uninherited:
        return target
    constraints = {
        name: _uninherited_too(_temporal_too(constraint, temporal), uninherited)
        for name, constraint in target.constraints.items()
    }
    return replace(target, constraints=constraints)


def _temporal(table: TableState) -> Iterator[tuple[str, str]]:
    for key in table.constraints.values():
        match = _KEY.match(key.definition)
        if match and match[3]:
            yield key.kind, match[2]


def _temporal_too(key: Constraint, temporal: set[tuple[str, str]]) -> Constraint:
    match = _KEY.match(key.definition)
    if match is None or (key.kind, match[2]) not in temporal:
        return key
    return replace(key, definition=f"{match[1]} WITHOUT OVERLAPS){key.definition[match.end() :]}")


def _uninherited(table: TableState) -> Iterator[str]:
    for check in table.constraints.values():
        text = check.definition.removesuffix(NOT_VALID)
        if check.kind == "c" and text.endswith(_NO_INHERIT):
            yield from (check.name, text.removesuffix(_NO_INHERIT))


def _uninherited_too(check: Constraint, uninherited: set[str]) -> Constraint:
    text = check.definition.removesuffix(NOT_VALID)
    if check.kind != "c" or uninherited.isdisjoint((check.name, text)):
        return check
    return replace(check, definition=f"{text}{_NO_INHERIT}{check.definition[len(text) :]}")
