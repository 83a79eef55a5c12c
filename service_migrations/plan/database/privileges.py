"""What something new hasn't that takes the name of something which was there: privileges, triggers, a comment."""

from collections.abc import Iterator
from typing import Any

from service_migrations.connection.single_message import Row
from service_migrations.plan.classes import Class
from service_migrations.plan.database.changes import Changes
from service_migrations.plan.database.facts import Facts
from service_migrations.plan.database.names import Object, StatementPlace
from service_migrations.sql.dynamic import fits

__all__ = ["overloaded", "recreated"]


def overloaded(changes: Changes, facts: Facts) -> Iterator[tuple[StatementPlace, Class | None, str]]:
    """Yield the new functions beside one of their name that take the same calls: PostgreSQL refuses these (42725)."""
    for name, signature, place in changes.signatures:
        for row in facts.functions.get(name, ()) if name not in changes.functions.left else ():
            count = signature.meets(row.arguments, row.defaults)
            if count is not None:
                noun = "argument" if count == 1 else "arguments"
                reason = "the new one isn't in place of the one that is there, and both take them"
                yield place, Class.BREAKING, f"Calls of {name} with {count} {noun} may fail: {reason}."


def recreated(changes: Changes, facts: Facts) -> Iterator[tuple[StatementPlace, Class | None, str]]:
    """Yield what is lost with each relation and function that another one takes the place of."""
    for name, number, place in changes.relations.successors():
        if row := facts.relations.get(name):
            breaks = [*_refused(changes, name, number, row), *_unwritten(changes, name, number, row)]
            # behind a view, those of the renamed table still work
            if number not in changes.views or name not in changes.relations.held.values():
                breaks += [*_unfired(changes, name, number, row), *_unpublished(changes, facts, name, number)]
            yield from ((place, Class.BREAKING, text) for text in breaks)
            yield from ((place, None, text) for text in _others(changes, name, number, row))
    for name, number, place in changes.functions.successors():
        rows = facts.functions.get(name, [])
        if len(rows) == 1:  # of several, the text doesn't show which one it is
            yield from ((place, Class.BREAKING, text) for text in _refused(changes, name, number, rows[0]))
            if rows[0].opened and (number, "public") not in changes.revoked:
                yield place, None, f"Everybody may run the new {name}: of the former one, PUBLIC had no EXECUTE."
            yield from ((place, None, text) for text in _others(changes, name, number, rows[0]))


def _unwritten(changes: Changes, name: str, holder: int, row: Row) -> Iterator[str]:
    """Yield that a view in place of a table has neither a plain query nor triggers or rules that write for it."""
    is_written = any(kind in ("trigger", "rule") and held == holder for kind, held, _ in changes.settled)
    if row.kind in ("r", "p") and changes.views.get(holder) and not is_written:
        yield f"Statements that change {name} fail: the new view can't be written through."


def _unpublished(changes: Changes, facts: Facts, name: str, holder: Object) -> Iterator[str]:
    """Yield the publications that name a table, and not the new one; those of all tables have it too."""
    row = facts.relations[name]
    given = {publication for publication, table, _ in changes.published if table in (holder, "")}
    missing = [each for each in row.publications if each not in given and each not in facts.publishing(name)]
    if missing and row.kind in ("r", "p"):
        noun = "publication" if len(missing) == 1 else "publications"
        yield f"The new {name} isn't replicated: the {noun} {', '.join(missing)} had the former one."


def _refused(changes: Changes, name: str, holder: Object, row: Row) -> Iterator[str]:
    """Yield whose statements fail for want of a privilege that isn't granted again."""
    revoked = {role for held, role in changes.revoked if held == holder}
    of_revoked = [each for each in row.former if revoked & _own(each)]
    for lost in [*of_revoked, *(each for each in row.lost if not revoked & _own(each))]:
        roles = {*_own(lost), *lost["roles"]}
        grants = [grant for grant in changes.grants if grant.reaches(holder, row.schema)]
        missing = [each for each in lost["privileges"] if not any(grant.gives(each, roles) for grant in grants)]
        if missing:
            yield (
                f"Statements of {lost['role']} that need {', '.join(missing)} on {name} fail: "
                f"the new {name} doesn't have the privileges of the former one."
            )


def _own(lost: dict[str, Any]) -> set[str]:
    """Return who a role is, as GRANT and REVOKE name it: itself, and everybody."""
    return {"public" if lost["role"] == "PUBLIC" else lost["role"], "public"}


def _unfired(changes: Changes, name: str, holder: Object, row: Row) -> Iterator[str]:
    """Yield the triggers, rules and defaults that aren't set again."""
    for kind, former in (("trigger", row.triggers), ("rule", row.rules), ("default", row.defaults)):
        again = [own for of_kind, held, own in changes.settled if (of_kind, held) == (kind, holder)]
        missing = [each for each in former if not any(fits(each, own) for own in again)]
        if missing:
            noun = f"the default of {', '.join(missing)}" if kind == "default" else f"the {kind} {', '.join(missing)}"
            yield f"Statements that change {name} do something else, or fail: the new {name} doesn't have {noun}."


def _others(changes: Changes, name: str, holder: Object, row: Row) -> Iterator[str]:
    parts = ["its comment"] if row.comment and ("comment", holder, "") not in changes.settled else []
    if not row.own and ("owner", holder, "") not in changes.settled:
        parts.append(f"its owner {row.owner}{', whose rights it has' if getattr(row, 'definer', False) else ''}")
    if getattr(row, "secured", False) and ("security", holder, "") not in changes.settled:
        parts.append("its row level security")
    if parts:
        yield f"The new {name} loses what the former one had: {', '.join(parts)}."
