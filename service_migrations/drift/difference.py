"""A difference between a database and its history, as it is printed."""

from dataclasses import dataclass, field

from service_migrations.history.baseline import digest

__all__ = ["Difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the database and the history.

    ``sql`` fixes it, with one or more statements in one line. It is None where no SQL can; then ``note`` describes what
    to do. Else ``note`` is a warning about the SQL.
    """

    kind: str
    name: str
    text: str
    sql: str | None
    note: str | None = None
    digest: str = field(default="", repr=False)
    """A hash of the object, where ``sql`` doesn't have its definition."""

    @property
    def entry(self) -> str:
        """The entry of the difference for a baseline; another one where the difference changes."""
        return f"{self.kind} {self.name} {self.text} [{digest(self.sql, self.note, self.digest)}]"

    def __str__(self) -> str:
        fix = " -- ".join(part for part in (self.sql, self.note) if part)
        return f"{self.kind} {self.name} {self.text}: {fix}"
