"""A command of Alembic's command line, and its use of the database."""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from service_migrations._alembic import command_name
from service_migrations.session.session import Session

__all__ = ["Command"]

_CHANGING = frozenset({"upgrade", "downgrade", "stamp", "ensure_version"})
_CONNECTED = _CHANGING | {"current", "check"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command, as Alembic's parser has read it from a command line.

    Attributes:
        name: such as ``upgrade``.
        connects: whether it needs the database.
        changes: whether it changes the database.
        purges: whether it empties the version table first.
        compares: whether it compares the database with the models.
        writes_revision: whether it writes a revision file from the comparison.

    """

    name: str
    connects: bool
    changes: bool
    purges: bool
    compares: bool
    writes_revision: bool

    @classmethod
    def of(cls, options: Namespace | None) -> "Command | None":
        """Return the command of parsed options; None where Alembic wasn't called by its own program."""
        name = command_name(options) if options is not None else None
        if options is None or name is None:
            return None
        autogenerate = bool(getattr(options, "autogenerate", False))
        connects = not getattr(options, "sql", False) and (
            name in _CONNECTED or autogenerate or _names_current(options)
        )
        return cls(
            name=name,
            connects=connects,
            changes=connects and name in _CHANGING,
            purges=connects and bool(getattr(options, "purge", False)),
            compares=connects and (name == "check" or autogenerate),
            writes_revision=connects and autogenerate,
        )

    @property
    def writes_file(self) -> bool:
        """Whether it writes a revision file, from the comparison or not."""
        return self.name in ("revision", "merge")

    async def attributes(self, session: Session) -> dict[str, Any]:
        """Return the attributes of the configuration for a command that only reads the database."""
        if not self.compares:
            return {"read_only": True}
        from service_migrations.ownership.survey import survey  # noqa: PLC0415 - no upgrade needs it

        return {"ownership": await survey(session), "writes_revision": self.writes_revision}


def _names_current(options: Namespace) -> bool:
    """Whether the options name the current revision, as those of ``history`` and ``show`` can."""
    if getattr(options, "indicate_current", False):
        return True
    revisions = (getattr(options, "rev_range", None), getattr(options, "rev", None))
    return any("current" in revision for revision in revisions if revision)
