"""The history of one service, as a value: its revisions, newest first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service_migrations.errors import UsageError
from service_migrations.history import graph
from service_migrations.history.revision import Revision
from service_migrations.monorepo import Service

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

__all__ = ["History"]


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of a service, newest first.

    Attributes:
        service: the service.
        revisions: its revisions.
        load: returns Alembic's directory of them; it may import the files only then.

    """

    service: Service
    revisions: tuple[Revision, ...]
    load: Callable[[], "ScriptDirectory"] = field(repr=False, compare=False)

    @property
    def directory(self) -> "ScriptDirectory":
        """Alembic's directory of the revisions.

        Raises:
            UsageError, ConfigurationError: as of ``revisions.read``, where the files haven't been imported yet.

        """
        return self.load()

    @property
    def heads(self) -> tuple[str, ...]:
        """The ids of the revisions that no other follows; there is none in an empty history."""
        return graph.heads(self.revisions)

    @property
    def has_branches(self) -> bool:
        """Whether it has several heads, each with a branch label of its own, so that all of them are meant."""
        return len(self.heads) > 1 and not graph.clashing_heads(self.revisions)

    @property
    def branch_heads(self) -> tuple[str, ...]:
        """The heads of a history with branches, as ``--revision`` and ``--head`` name them, such as ``expand@head``."""
        labels = graph.own_labels(self.revisions)
        return tuple(sorted(f"{labels[head][0]}@head" for head in self.heads if labels[head]))

    @property
    def longest_id(self) -> int:
        """The number of characters of the longest id; 0 in an empty history."""
        return max((len(revision.revision) for revision in self.revisions), default=0)

    def path(self, revision: str) -> Path | None:
        """Return the file of a revision; None where no revision has that id."""
        path = next((known.path for known in self.revisions if known.revision == revision), None)
        return self.service.root / path if path else None

    def applied(self, current: tuple[str, ...]) -> tuple[Revision, ...]:
        """Return the database's revisions, those below them and those that they depend on, oldest first.

        Raises:
            UsageError: the database's revision isn't in this history.

        """
        applied = self._implied(current)
        return tuple(revision for revision in reversed(self.revisions) if revision.revision in applied)

    def pending(self, current: tuple[str, ...]) -> tuple[Revision, ...]:
        """Return the revisions that an upgrade to all heads would run, oldest first.

        Raises:
            UsageError: the database's revision isn't in this history.

        """
        applied = self._implied(current)
        pending = tuple(revision for revision in reversed(self.revisions) if revision.revision not in applied)
        if len(self.heads) < 2 or not pending:  # noqa: PLR2004 - without branches, there is one order
            return pending
        by_id = {revision.revision: revision for revision in pending}
        scripts = list(self.directory.iterate_revisions("heads", current or None, implicit_base=True))
        return tuple(by_id[script.revision] for script in reversed(scripts))

    def _implied(self, current: tuple[str, ...]) -> set[str]:
        try:
            return graph.implied({revision.revision: revision for revision in self.revisions}, current)
        except KeyError as error:
            raise UsageError(f"there is no revision {error.args[0]}.", service=self.service) from None

    def accepted_heads(self) -> tuple[str, ...]:
        """Return the revisions that a database has at the heads, sorted; none where the history is empty.

        Raises:
            UsageError: the history has two heads or more, and not each has a branch label of its own.

        """
        clashing = graph.clashing_heads(self.revisions)
        if clashing:
            folder = self.service.shown_locations
            has_labels = any(revision.branch_labels for revision in self.revisions)
            problem = " that have no branch label of their own" if has_labels else ""
            raise UsageError(
                f"{folder} has {len(clashing)} heads{problem}: {', '.join(clashing)}.",
                service=self.service,
                path=folder,
                hint=f"`inv db.rebase --service {self.service}` changes the down_revision of yours, `inv "
                f"db.merge --service {self.service}` joins them.",
            )
        return graph.effective_heads(self.revisions)
