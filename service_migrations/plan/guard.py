"""The guard of an upgrade or a downgrade: what it refuses on a target that isn't local."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.connection.connector import Connector
from service_migrations.errors import UsageError
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History
from service_migrations.history.sql.offline import pending, render, reverted
from service_migrations.plan.classes import Class

if TYPE_CHECKING:
    from service_migrations.plan.review import PlanFinding, PlannedRevision

__all__ = ["EDITED", "Guard", "classes"]

EDITED = "edited"
"""The value of ``--allow`` for files that were edited after they had been applied; the others are classes."""

_EFFECTS = {Class.DESTRUCTIVE: "destroy data", Class.BREAKING: "break the code that runs now"}


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

    async def check(
        self,
        history: History,
        connector: Connector,
        current: tuple[str, ...],
        connection: AsyncConnection | None = None,
    ) -> None:
        """Refuse a destructive plan, and an upgrade that breaks running code. The caller holds the process lock.

        A revision whose file has ``# allow breaking: <why>`` may break it. A downgrade isn't refused for that: its
        schema is of code that was rolled back before.

        Args:
            history: the service's.
            connector: that of the target.
            current: the revisions of the database.
            connection: to the database, with no transaction open: what breaks by what it has counts too.

        Raises:
            UsageError: the plan has such a class, the target isn't local, and the class isn't allowed.

        """
        guarded = [kind for kind in _EFFECTS if kind not in self.allowed and not (self.down and kind is Class.BREAKING)]
        if not guarded or connector.is_local:
            return
        # a local target is upgraded without the modules of the review
        from service_migrations.plan.database.findings import database_findings  # noqa: PLC0415
        from service_migrations.plan.review import judge  # noqa: PLC0415

        revisions = reverted if self.down else pending
        chosen = self.only or revisions(history, current, self.revision)
        rendered = render(history, chosen, down=self.down)
        in_database = {}
        if connection is not None and Class.BREAKING in guarded:
            in_database = await database_findings(connection, rendered, history.service.root)
        refused = [
            (revision, finding)
            for revision in judge(history, rendered, in_database)
            for finding in revision.findings
            if finding.kind in guarded and not (finding.kind == Class.BREAKING and revision.allowed)
        ]
        if refused:
            raise self._refusal(history, connector, refused)

    def _refusal(
        self, history: History, connector: Connector, refused: "list[tuple[PlannedRevision, PlanFinding]]"
    ) -> UsageError:
        service = history.service
        kinds = [kind for kind in _EFFECTS if any(finding.kind == kind for _, finding in refused)]
        first = next(finding for _, finding in refused if finding.kind == kinds[0])
        ids = dict.fromkeys(revision.revision for revision, _ in refused)
        noun = "revision" if len(ids) == 1 else "revisions"
        noun = f"the downgrade of {noun}" if self.down else noun
        direction = f" --downgrade {self.revision}" if self.down else ""
        allow = " ".join(f"--allow {kind}" for kind in kinds)
        in_file = ", or a line `# allow breaking: <why>` in the file" if kinds == [Class.BREAKING] else ""
        return UsageError(
            f"{connector.target} isn't local, and {noun} {', '.join(ids)} would "
            f"{' and '.join(_EFFECTS[kind] for kind in kinds)}: {first.message} Nothing was changed.",
            service=service,
            path=first.path,
            line=first.line if first.path and (service.root / first.path).is_file() else None,  # not in the ledger
            hint=f"Read `inv db.plan --service {service}{direction} --sql`; {allow}{in_file} runs it.",
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
