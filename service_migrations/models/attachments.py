"""What a revision file attaches to the tables of models while it is imported.

``CheckConstraint(Order.amount > 0)`` or ``Index("ix", Order.amount)`` at the top of a revision adds itself to the table
of the model, which then differs from what the models' own files say.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from sqlalchemy import Constraint, Index, MetaData, Table, event

__all__ = ["tables_kept"]


@contextmanager
def tables_kept(folders: Iterable[str]) -> Iterator[None]:
    """Keep the tables of models as they are while revision files are imported.

    A table that a revision makes for itself keeps what it gets there.

    Args:
        folders: those of the revisions.

    """
    prefixes = tuple(f"{folder.rstrip('/')}/" for folder in folders)
    own: set[int] = set()
    attached: list[tuple[Constraint | Index, Table]] = []

    def note_table(table: Table, _: MetaData) -> None:
        if _is_by_revision(sys._getframe(1), prefixes):  # noqa: SLF001 - the documented way to a caller's file
            own.add(id(table))

    def note_part(part: Constraint | Index, parent: Any) -> None:
        if isinstance(parent, Table) and id(parent) not in own and _is_by_revision(sys._getframe(1), prefixes):  # noqa: SLF001
            attached.append((part, parent))

    listeners: list[tuple[Any, str, Any]] = [
        (Table, "before_parent_attach", note_table),
        (Constraint, "after_parent_attach", note_part),
        (Index, "after_parent_attach", note_part),
    ]
    for listener in listeners:
        event.listen(*listener)
    try:
        yield
    finally:
        for listener in listeners:
            event.remove(*listener)
        for part, table in attached:
            (table.indexes if isinstance(part, Index) else table.constraints).discard(part)
            for element in getattr(part, "elements", ()):
                table.foreign_keys.discard(element)
                element.parent.foreign_keys.discard(element)


def _is_by_revision(frame: FrameType | None, prefixes: tuple[str, ...]) -> bool:
    """Whether the first frame outside of SQLAlchemy is one of a revision file."""
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "sqlalchemy":
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(prefixes)
