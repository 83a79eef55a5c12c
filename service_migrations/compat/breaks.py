"""What was tried for a service, and what breaks: the results of ``db.compat``."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Break", "Compat"]

_WORDS = {
    "read": "the running code no longer reads it",
    "find": "the running code no longer finds rows by it",
    "insert": "the running code no longer inserts into it",
    "keep": "the running code no longer reads what it wrote",
    "change": "the running code no longer changes it",
    "empty": "the running code no longer sets it to NULL",
    "delete": "the running code no longer deletes from it",
    "hook": "the team's own try fails",
    "command": "the team's own command fails after it",
    "upgrade": "it fails on rows that the running code writes",
}
_WORDS_OF_NEW_CODE = {
    "read": "before it, the new code can't read it",
    "find": "before it, the new code can't find rows by it",
    "insert": "before it, the new code can't insert into it",
    "keep": "before it, the new code can't read what it wrote",
    "change": "before it, the new code can't change it",
    "empty": "before it, the new code can't set it to NULL",
    "delete": "before it, the new code can't delete from it",
    "hook": "the team's own try fails before it",
    "command": "the team's own command fails before it",
}


@dataclass(frozen=True, slots=True)
class Break:
    """A statement of the running code that fails since a revision, or one of the new code that fails before it.

    Attributes:
        revision: the revision, by its id.
        path: its file, from the top level.
        table: the table; empty for a hook.
        column: the column; empty where it is the whole row.
        action: ``read``, ``find``, ``insert``, ``keep``, ``change``, ``empty``, ``delete``, ``hook``, ``command`` or
            ``upgrade``.
        statement: the code's statement, with placeholders.
        sqlstate: PostgreSQL's code of the error; empty where it isn't the server's.
        why: the server's message.
        is_new_code: whether it is the new code's statement.

    """

    revision: str
    path: str
    table: str
    column: str
    action: str
    statement: str
    sqlstate: str
    why: str
    is_new_code: bool = False

    def is_same(self, other: "Break") -> bool:
        """Whether the cause is the same: one error of one table, whatever statement meets it."""
        mine, its = ((each.table, each.sqlstate, each.why) for each in (self, other))
        return mine == its

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"

    @property
    def text(self) -> str:
        """What breaks, without the file of the revision."""
        place = ".".join(part for part in (self.table, self.column) if part)
        place = f"{place}: " if place else ""
        code = f" [{self.sqlstate}]" if self.sqlstate else ""
        statement = f" Statement: {self.statement}" if self.statement else ""
        words = (_WORDS_OF_NEW_CODE if self.is_new_code else _WORDS)[self.action]
        return f"{place}{words}: {self.why.removesuffix('.')}{code}.{statement}"


@dataclass(frozen=True, slots=True)
class Compat:
    """What was tried for one service.

    Attributes:
        service: its name.
        commit: that of the running code.
        revisions: those that the running code hasn't seen, oldest first.
        tried: how many statements its database takes before them.
        breaks: those that fail after one of them.
        untried: why no row could be made, by table.
        is_new_code: whether the new code was tried on the schema of the running code.
        is_new_service: whether the running code doesn't have the service, so that nothing can break.

    """

    service: str
    commit: str
    revisions: tuple[str, ...]
    tried: int
    breaks: tuple[Break, ...]
    untried: Mapping[str, str]
    is_new_code: bool = False
    is_new_service: bool = False
