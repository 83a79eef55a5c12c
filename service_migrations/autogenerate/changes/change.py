"""A change: one operation of autogenerate with its exact reverse.

Alembic derives a downgrade from SQLAlchemy's reflection, which loses exclusion constraints, collations and the text of
CHECKs. A change has both directions from the start, and the former state as PostgreSQL deparses it.
"""

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    AddConstraintOp,
    AlterColumnOp,
    CreateIndexOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    MigrateOperation,
    ModifyTableOps,
)

from service_migrations.catalog.restoration import Restoration
from service_migrations.sql.quoting import escaped, quoted

__all__ = ["Change", "Comment", "Note", "Phase", "Step", "in_table", "steps", "with_version"]

_WIDTH = 96
_CONSTRAINT_OF_NOT_NULL = re.compile(
    r'\bADD (?:CONSTRAINT (?:"(?:[^"]|"")+"|\S+) )?NOT NULL\b|\bNOT NULL NO INHERIT\b',
)


class Phase(IntEnum):
    """The order of changes in an upgrade; a downgrade runs them in reverse.

    A name is freed before it is taken, in both directions: tables and types share one namespace.
    """

    CREATE_SCHEMAS = 0
    ADD_LABELS = 1
    RENAME = 2
    DROP_FOREIGN_KEYS = 3
    DROP_TABLES = 4
    DROP_INDEXES = 5
    DROP_CONSTRAINTS = 6
    DROP_DEFAULTS = 7
    DROP_SEQUENCES = 8
    KEEP_GENERATED = 9
    DROP_GENERATED = 10
    DROP_COLUMNS = 11
    RENAME_ASIDE = 12
    RENAME_PARTS = 13
    CREATE_TYPES = 14
    ALTER_COLUMNS = 15
    SET_DEFAULTS = 16
    DROP_TYPES = 17
    SET_OPTIONS = 18
    CREATE_TABLES = 19
    ADD_COLUMNS = 20
    ADD_GENERATED = 21
    ADD_GENERATED_OF_PLAIN = 22
    ADD_KEYS = 23
    ADD_CONSTRAINTS = 24
    CREATE_INDEXES = 25
    ADD_FOREIGN_KEYS = 26
    VALIDATE = 27
    COMMENT = 28


@dataclass(frozen=True, slots=True)
class Note:
    """A comment in the revision file."""

    text: str

    @property
    def lines(self) -> list[str]:
        """Its lines in the file."""
        return [f"# {line}" for line in self.text.splitlines()]


class Comment(MigrateOperation):
    """A note among the operations of Alembic's."""

    def __init__(self, note: Note) -> None:
        self.note = note

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the tuple that ``as_diffs()`` has."""
        return ("comment", self.note.text)


_OF_A_TABLE = (
    AddColumnOp,
    AddConstraintOp,
    AlterColumnOp,
    CreateIndexOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
)


def in_table(operation: MigrateOperation) -> MigrateOperation:
    """Return an operation inside that for its table, in which Alembic has those on columns, constraints and indexes."""
    if not isinstance(operation, _OF_A_TABLE):
        return operation
    table: Any = getattr(operation, "source_table", None) or getattr(operation, "table_name", None)
    return ModifyTableOps(table, [operation], schema=getattr(operation, "schema", None)) if table else operation


Step = MigrateOperation | str | Note
"""An operation of Alembic's, one SQL statement, or a comment."""


@dataclass(frozen=True, eq=False)
class Change(MigrateOperation):
    """The steps of a difference in both directions.

    ``description`` is a line for people, empty where the change only makes another one possible. ``refusal`` is the
    reason for which no file may be written. ``commits`` puts the steps into an autocommit block.
    """

    phase: Phase
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    description: str = ""
    refusal: str = ""
    commits: bool = False

    def reverse(self) -> "Change":
        """Return the change of the downgrade."""
        return replace(self, forward=self.backward, backward=self.forward, commits=False)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the tuple that ``alembic check`` prints."""
        return ("change", self.description)


def steps(restoration: Restoration) -> tuple[Step, ...]:
    """Return the steps that bring something back, and a warning of what doesn't come back."""
    lost = "".join(f"\n- {each}" for each in restoration.lost)
    return (
        *((Note(f"WARNING: this doesn't bring back{lost}"),) if lost else ()),
        *(step for statement in restoration.statements for step in with_version(statement)),
    )


def with_version(statement: str) -> tuple[Step, ...]:
    """Return a statement, with a note where an older server rejects it: the database may be the newest of several."""
    note = (Note("PostgreSQL 14 to 17 reject this: there NOT NULL is no constraint."),)
    return (*(note if _CONSTRAINT_OF_NOT_NULL.search(statement) else ()), statement)


@renderers.dispatch_for(Change)
def _render(context: AutogenContext, change: Change) -> list[str]:
    lines: list[str] = []
    prefix = context.opts["alembic_module_prefix"] or ""
    for step in change.forward:
        if isinstance(step, Note):
            lines += step.lines
        elif isinstance(step, str):
            lines.append(f"{prefix}execute({_python(step)})")
        else:
            operation = in_table(step) if context.opts.get("render_as_batch") else step
            rendered = renderers.dispatch(operation)(context, operation)
            rendered_lines = [rendered] if isinstance(rendered, str) else rendered
            lines += [_with_whole_schema(line, operation, context) for line in rendered_lines]
    if change.commits and lines:
        return [f"with {prefix}get_context().autocommit_block():", *lines, ""]
    return lines


def _with_whole_schema(line: str, operation: MigrateOperation, context: AutogenContext) -> str:
    """Return a rendered operation with a schema that is always quoted, where that is needed.

    Alembic takes a name with a dot for two, and SQLAlchemy leaves words such as ``time`` alone, which begin a type.
    """
    schema = getattr(operation, "schema", None)
    if not schema or not ("." in schema or (re.fullmatch("[a-z_]+", schema) and quoted(schema) != schema)):
        return line
    prefix = context.opts["sqlalchemy_module_prefix"] or ""
    whole = f"schema={prefix}quoted_name({str(schema)!r}, quote=True)"
    return re.sub(rf"(?<=[\s(])schema={re.escape(repr(str(schema)))}(?=[,)\n])", lambda _: whole, line)


@renderers.dispatch_for(Comment)
def _render_comment(_: AutogenContext, comment: Comment) -> list[str]:
    return comment.note.lines


def _python(sql: str) -> str:
    """Return a statement as a Python literal; a long one has several parts."""
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
