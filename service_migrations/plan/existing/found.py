"""What pending revisions take from what a database has, as findings of their plan."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from service_migrations.catalog.search_path import search_path
from service_migrations.history.sql.offline import Rendered
from service_migrations.plan.existing.bodies import failing, words_to_find
from service_migrations.plan.existing.course import Course, course_of
from service_migrations.plan.existing.facts import read_facts
from service_migrations.plan.existing.keys import conflicts, unidentified
from service_migrations.plan.existing.privileges import overloaded, recreated
from service_migrations.plan.review import PlanFinding

__all__ = ["existing_findings"]


async def existing_findings(
    connection: AsyncConnection, rendered: Sequence[Rendered]
) -> dict[str, tuple[PlanFinding, ...]]:
    """Return the findings of each revision, by its id. Read-only.

    The server is asked once, and not at all where nothing is dropped, renamed, published or a new function.

    Args:
        connection: with no transaction open, then and afterwards.
        rendered: the revisions in the order in which they run.

    Raises:
        SQLAlchemyError: the server can't be asked.

    """
    path = await connection.run_sync(search_path)
    course = course_of(rendered, path.default or "public")
    asked = _asked(course)
    functions = list(dict.fromkeys([*course.functions.left, *(name for name, *_ in course.signatures)]))
    if not asked and not functions and not course.bare:
        await connection.rollback()
        return {}
    try:
        facts = await read_facts(connection, path, asked, functions, words_to_find(course))
    finally:
        await connection.rollback()
    findings: dict[str, tuple[PlanFinding, ...]] = {}
    for judge in (recreated, overloaded, conflicts, unidentified, failing):
        for place, kind, message in judge(course, facts):
            finding = PlanFinding(kind or "database", message, kind, place.path, place.line, place.sql_line)
            findings[place.revision] = (*findings.get(place.revision, ()), finding)
    return findings


def _asked(course: Course) -> list[str]:
    """Return the relations that were there before and that the revisions take something from."""
    published = (table for _, table, _ in course.published if isinstance(table, str) and table)
    return list(
        dict.fromkeys(
            [
                *course.relations.left,
                *(table or name for table, name, _ in course.dropped_keys),
                *(table for table, *_ in course.dropped_columns),
                *published,
            ]
        )
    )
