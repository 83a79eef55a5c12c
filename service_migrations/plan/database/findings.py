"""What pending revisions take from what a database has, as findings of their plan."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import search_path
from service_migrations.history.sql.offline import Rendered
from service_migrations.plan.database.bodies import failing, words_to_find
from service_migrations.plan.database.changes import Changes
from service_migrations.plan.database.facts import read_facts
from service_migrations.plan.database.keys import conflicts, unidentified
from service_migrations.plan.database.privileges import overloaded, recreated
from service_migrations.plan.database.revisions import changes_of
from service_migrations.plan.review import PlanFinding

__all__ = ["database_findings"]

_UNSEEN = "What it takes from what the database has isn't looked for, since not all that it runs is known."


async def database_findings(
    connection: AsyncConnection, rendered: Sequence[Rendered], root: Path | None = None
) -> dict[str, tuple[PlanFinding, ...]]:
    """Return the findings of each revision, by its id. Read-only.

    The server is asked once, and not at all where nothing is dropped, renamed, published or a new function.

    Args:
        connection: with no transaction open, then and afterwards.
        rendered: the revisions in the order in which they run.
        root: the top level, below which their files are; None where there are none.

    Raises:
        SQLAlchemyError: the server can't be asked.

    """
    path = await connection.run_sync(search_path)
    changes = changes_of(rendered, path.default or "public", root)
    asked = _asked(changes)
    functions = list(dict.fromkeys([*changes.functions.left, *(name for name, *_ in changes.signatures)]))
    findings: dict[str, tuple[PlanFinding, ...]] = {
        revision: (PlanFinding("database", _UNSEEN, None, place.path, place.line or None),)
        for revision, place in changes.unseen.items()
    }
    if not asked and not functions and not changes.bare:
        await connection.rollback()
        return findings
    try:
        facts = await read_facts(connection, path, asked, functions, words_to_find(changes))
    finally:
        await connection.rollback()
    for judge in (recreated, overloaded, conflicts, unidentified, failing):
        for place, kind, message in judge(changes, facts):
            if place.revision not in changes.unseen:
                finding = PlanFinding(kind or "database", message, kind, place.path, place.line, place.sql_line)
                findings[place.revision] = (*findings.get(place.revision, ()), finding)
    return findings


def _asked(changes: Changes) -> list[str]:
    """Return the relations that were there before and that the revisions take something from."""
    published = (table for _, table, _ in changes.published if isinstance(table, str) and table)
    return list(
        dict.fromkeys(
            [
                *changes.relations.left,
                *(table or name for table, name, _ in changes.keys.lost()),
                *(table for table, *_ in changes.dropped_columns),
                *published,
            ]
        )
    )
