"""A change: one operation of autogenerate that knows its own way back, word for word.

Alembic derives a downgrade from what SQLAlchemy reflects, and a reflection forgets: exclusion constraints,
collations, what a CHECK says. Here both directions are given when the change is made, and the former state is
PostgreSQL's own description of it.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrateOperation

from service_migrations.sql.quoting import escaped

__all__ = ["BY_HAND", "Change", "Note", "Phase", "Step"]

BY_HAND = "Write this revision by hand (--empty): drop the view, make the change, make the view again."

_WIDTH = 96


class Phase(IntEnum):
    """When a change happens in an upgrade. A downgrade runs all of them backwards."""

    SCHEMAS_COME = 0
    LABELS = 1
    FOREIGN_KEYS_GO = 2
    TABLES_GO = 3
    INDEXES_GO = 4
    CONSTRAINTS_GO = 5
    DEFAULTS_GO = 6
    GENERATED_GO = 7
    COLUMNS_GO = 8
    TYPES_COME = 9
    TABLES_COME = 10
    COLUMNS_COME = 11
    COLUMNS_CHANGE = 12
    DEFAULTS_COME = 13
    TYPES_GO = 14
    GENERATED_COME = 15
    KEYS_COME = 16
    CONSTRAINTS_COME = 17
    INDEXES_COME = 18
    FOREIGN_KEYS_COME = 19
    COMMENTS = 20


@dataclass(frozen=True, slots=True)
class Note:
    """A comment line of the file."""

    text: str


Step = MigrateOperation | str | Note
"""An operation of Alembic's, one SQL statement, or a comment."""


@dataclass(frozen=True, eq=False)
class Change(MigrateOperation):
    """Steps forward and the same steps back.

    ``says`` is the difference as a person would say it, empty where the change only makes room for another one.
    ``refusal`` says why no file must be written. ``commits`` puts the steps into an autocommit block.
    """

    phase: Phase
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    says: str = ""
    refusal: str = ""
    commits: bool = False

    def reverse(self) -> "Change":
        """Return the way back."""
        return replace(self, forward=self.backward, backward=self.forward, commits=False)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("change", self.says)


@renderers.dispatch_for(Change)
def _render(context: AutogenContext, change: Change) -> list[str]:
    lines: list[str] = []
    for step in change.forward:
        if isinstance(step, Note):
            lines += [f"# {line}" for line in step.text.splitlines()]
        elif isinstance(step, str):
            lines.append(f"op.execute({_python(step)})")
        else:
            found = renderers.dispatch(step)(context, step)
            lines += [found] if isinstance(found, str) else found
    if change.commits and lines:
        return ["with op.get_context().autocommit_block():", *lines, ""]
    return lines


def _python(sql: str) -> str:
    """Return a statement as a Python literal, over several lines where it is long."""
    sql = escaped(sql)
    pieces, rest = [], sql
    while len(rest) > _WIDTH and " " in rest[1:]:
        cut = rest.rfind(" ", 1, _WIDTH)
        cut = cut if cut > 0 else rest.find(" ", _WIDTH)
        if cut < 0:
            break
        pieces.append(rest[: cut + 1])
        rest = rest[cut + 1 :]
    return " ".join(repr(piece) for piece in [*pieces, rest])
