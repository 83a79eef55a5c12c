"""The guard of an upgrade or a downgrade: it refuses to destroy data on a target that isn't local."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from service_migrations.connection.connector import Connector
from service_migrations.errors import UsageError
from service_migrations.history.offline import pending, render, reverted
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History
from service_migrations.plan.classify import Class
from service_migrations.plan.review import judge

__all__ = ["EDITED", "Guard", "classes"]

EDITED = "edited"
"""The value of ``--allow`` for files that were edited after they had been applied; the others are classes."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The refusal of classes that aren't allowed.

    It is checked under the migration lock, so that the plan starts at the same revision as the run. ``down`` says that
    the run is a downgrade. ``only`` are its revisions, where these aren't all up to a target.
    """

    revision: str
    allowed: frozenset[Class]
    down: bool = False
    only: tuple[Revision, ...] = ()

    def check(self, history: History, connector: Connector, current: tuple[str, ...]) -> None:
        """Refuse a destructive plan. The caller holds the process lock.

        Raises:
            UsageError: the plan destroys data, the target isn't local, and the class isn't allowed.

        """
        if Class.DESTRUCTIVE in self.allowed or connector.is_local:
            return
        revisions = reverted if self.down else pending
        chosen = self.only or revisions(history, current, self.revision)
        planned = judge(history, render(history, chosen, down=self.down))
        refused = [revision for revision in planned if Class.DESTRUCTIVE in revision.classes]
        if refused:
            service, ids = history.service, ", ".join(revision.revision for revision in refused)
            first = next(finding for finding in refused[0].findings if finding.kind == Class.DESTRUCTIVE)
            noun = "revision" if len(refused) == 1 else "revisions"
            noun = f"the downgrade of {noun}" if self.down else noun
            direction = f" --downgrade {self.revision}" if self.down else ""
            reading = f"`inv db.plan --service {service}{direction} --sql`"
            raise UsageError(
                f"{connector.target} isn't local, and {noun} {ids} would destroy data: {first.message} "
                "Nothing was changed.",
                service=service,
                path=first.path,
                line=first.line if first.path and (service.root / first.path).is_file() else None,  # not in the ledger
                hint=f"Read {reading}; --allow destructive runs it.",
            )


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."


def classes(names: Collection[str], *, edited: bool = True) -> frozenset[Class]:
    """Return the classes with these names.

    Args:
        names: what was allowed.
        edited: whether ``edited`` may be among them, which is no class.

    Raises:
        UsageError: a name is unknown.

    """
    known = [*(known_class.value for known_class in Class), *([EDITED] if edited else [])]
    for name in names:
        if name not in known:
            raise UsageError(f"--allow {name!r}: there is no such class.", hint=_nearest(name, known))
    return frozenset(Class(name) for name in names if name != EDITED)
