"""What stops an upgrade before anything is changed: a revision that destroys data, on a target that isn't local."""

from collections.abc import Collection
from dataclasses import dataclass

from service_migrations.connection.connector import Connector
from service_migrations.errors import UsageError
from service_migrations.history.offline import pending, render
from service_migrations.history.revisions import History
from service_migrations.plan.classify import Class
from service_migrations.plan.review import judge

__all__ = ["EDITED", "Guard", "classes"]

EDITED = "edited"
"""What ``--allow`` takes beside the classes: files that were edited after they had been applied."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Refuses what nobody has allowed.

    It is asked under the migration lock, when there is something to do: the revision that it judges from is the one
    that the upgrade goes on from.
    """

    revision: str
    allowed: frozenset[Class]

    def check(self, history: History, access: Connector, current: tuple[str, ...]) -> None:
        """Refuse a destructive plan. The caller holds the gate.

        Raises:
            UsageError: the plan destroys data, the target isn't local, and it wasn't allowed.

        """
        if Class.DESTRUCTIVE in self.allowed or access.is_local:
            return
        planned = judge(history, render(history, pending(history, current, self.revision)))
        refused = [one for one in planned if Class.DESTRUCTIVE in one.classes]
        if refused:
            service, ids = history.service, ", ".join(one.revision for one in refused)
            first = next(one for one in refused[0].findings if one.kind == Class.DESTRUCTIVE)
            noun = "revision" if len(refused) == 1 else "revisions"
            raise UsageError(
                f"{access.target} isn't local, and {noun} {ids} would destroy data: {first.message} "
                "Nothing was changed.",
                service=service,
                path=first.path,
                line=first.line,
                hint=f"Read `inv db.plan --service {service} --sql`; --allow destructive runs it.",
            )


def classes(names: Collection[str]) -> frozenset[Class]:
    """Return the classes of these names, among which may be ``edited``, which is none.

    Raises:
        UsageError: there is no such class.

    """
    known = [*(one.value for one in Class), EDITED]
    for name in names:
        if name not in known:
            raise UsageError(
                f"--allow {name!r}: there is no such class.", hint=f"Classes: {', '.join(known[:-1])}; and {EDITED}."
            )
    return frozenset(Class(name) for name in names if name != EDITED)
