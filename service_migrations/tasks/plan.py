"""db.plan: what an upgrade or a downgrade would do."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit

from service_migrations.errors import DifferenceError, UsageError
from service_migrations.monorepo import find
from service_migrations.tasks.support import console
from service_migrations.tasks.support.each import each, fail
from service_migrations.tasks.support.options import JSON
from service_migrations.tasks.support.task import SERVICES, selected, service_name, task

if TYPE_CHECKING:
    from service_migrations.plan.result import Plan
    from service_migrations.plan.review import PlanFinding, PlannedRevision

__all__ = ["plan", "reverted_lines"]


@task(
    runs_environment=True,
    iterable=["service"],
    help={
        "service": SERVICES,
        "revision": "Up to where: head, a revision's id or its beginning, or +1 for one step.",
        "downgrade": "Plan a downgrade instead, of one service: base, a revision's id or its beginning, or -1.",
        "exit-code": "End with 3 when something is pending.",
        "json": JSON,
        "sql": "Print the SQL of each revision too.",
    },
)
def plan(
    _: Context,
    service: list[str],
    revision: str = "head",
    downgrade: str = "",
    exit_code: bool = False,
    json: bool = False,
    sql: bool = False,
) -> None:
    """Show what an upgrade or a downgrade would do."""
    from service_migrations.plan.result import Plan
    from service_migrations.rollout.scan import scan_one
    from service_migrations.settings.model import Settings, load_many

    services = selected(service)
    if downgrade and revision != "head":
        raise UsageError("--revision says where an upgrade goes, and --downgrade where a downgrade does. Give one.")
    if (downgrade or revision != "head") and len(services) > 1:
        option = f"--downgrade {downgrade}" if downgrade else f"--revision {revision}"
        raise UsageError(f"{option} is of one service's history.", hint="Name that one with --service.")

    async def make_plan(settings: Settings) -> Plan:
        if not downgrade and revision == "head":
            async with scan_one(settings) as scanned:
                if outcome := scanned.outcome:
                    return Plan(outcome.service, outcome.target, outcome.after, (), ())
        from service_migrations.plan import plan as planning

        return await planning.plan(settings.service, downgrade or revision, down=bool(downgrade), settings=settings)

    plans_by_service, errors = each(load_many(services), make_plan, service_name)
    plans: list[Plan] = list(plans_by_service.values())
    if json:
        console.result_json([_plain(planned) for planned in plans])
    else:
        for planned in plans:
            _show(planned, sql=sql)
    fail(errors, len(services))
    if exit_code and any(planned.revisions for planned in plans):
        raise Exit("", code=DifferenceError.exit_code)


def _show(plan: "Plan", *, sql: bool) -> None:
    current = ", ".join(plan.current) or "base"
    if not plan.revisions:
        word = "pending" if plan.findings else "to do"
        console.result(f"{plan.service}: nothing {word}, {plan.target} is at {current}")
        for finding in plan.findings:
            console.result(_line(finding))
        return
    verb = "to revert" if plan.down else "pending"
    console.result(f"{plan.service}: {plan.target} is at {current}, {len(plan.revisions)} {verb}")
    rows = [
        [revision.revision, revision.message, ", ".join(revision.classes) or "unknown"] for revision in plan.revisions
    ]
    columns, measured = ["revision", "message", "classes"], [_measured(plan, revision) for revision in plan.revisions]
    if any(measured):
        columns, rows = [*columns, "measured"], [[*row, cell] for row, cell in zip(rows, measured, strict=True)]
    console.table(columns, rows)
    for finding in (*plan.findings, *(finding for revision in plan.revisions for finding in revision.findings)):
        console.result(_line(finding))
    for line in (*_allowed(plan.revisions), *(_drops(plan.revisions) if plan.down else [])):
        console.result(line)
    if sql:
        for revision in plan.revisions:
            console.result_script(
                f"\n-- {revision.revision}: {revision.message} ({revision.path})\n{revision.sql or '-- no SQL'}"
            )


def _plain(plan: "Plan") -> dict[str, Any]:
    """Return a plan as JSON has it, each revision with what was measured."""
    revisions = [{**asdict(item), "measured": _committed(plan, item)} for item in plan.revisions]
    return {**asdict(plan), "revisions": revisions}


def _committed(plan: "Plan", revision: "PlannedRevision") -> "dict[str, Any] | None":
    from service_migrations.evidence.files import read_committed

    committed = read_committed(find(plan.service), revision.revision, revision.path)
    worst = committed and committed.worst("downgrade" if plan.down else "upgrade")
    if committed is None or not worst:
        return None
    return {
        **{key: worst[1][key] for key in ("strongest", "rewrites", "readers_blocked", "writers_blocked", "error")},
        "postgres": worst[0],
        "rows": committed.rows,
        "path": committed.path,
        "is_current": committed.is_current,
    }


def _measured(plan: "Plan", revision: "PlannedRevision") -> str:
    """Return what was measured of a revision, where a file of ``db.evidence`` has it."""
    measured = _committed(plan, revision)
    if measured is None:
        return ""
    lock = measured["strongest"]
    parts = [f"{lock['mode']} on {lock['relation']} for {lock['seconds']:g} s" if lock else "no lock"]
    parts += [f"rewrites {', '.join(measured['rewrites'])}"] if measured["rewrites"] else []
    parts += [f"writers held up {measured['writers_blocked']:g} s"] if measured["writers_blocked"] else []
    parts = ["failed"] if measured["error"] else parts
    start = "" if measured["is_current"] else "outdated, the revision was edited since: "
    return f"{start}{'; '.join(parts)} (PostgreSQL {measured['postgres']}, {measured['rows']} rows)"


def reverted_lines(revisions: "Sequence[PlannedRevision]") -> list[str]:
    """Return the lines for a person who is asked about a downgrade: its revisions, and what they drop."""
    lines = []
    for revision in revisions:
        lines.append(f"  {revision.revision} ({', '.join(revision.classes) or 'unknown'}): {revision.message}")
        lines += [f"    {drop}" for drop in revision.drops]
        lines += [f"    {_line(finding)}" for finding in revision.findings if not finding.sql_line]
    return lines


def _allowed(revisions: "Sequence[PlannedRevision]") -> list[str]:
    allowed = [revision for revision in revisions if revision.allowed and "breaking" in revision.classes]
    return [
        f"{revision.path}: it is allowed to break the code that runs now: {revision.allowed}" for revision in allowed
    ]


def _drops(revisions: "Sequence[PlannedRevision]") -> list[str]:
    return [f"{revision.revision} drops: {drop}" for revision in revisions for drop in revision.drops]


def _line(finding: "PlanFinding") -> str:
    position = f"{finding.path or ''}{f':{finding.line}' if finding.line else ''}"
    if finding.path and finding.path in finding.message:
        position = ""
    sql_position = f" (line {finding.sql_line} of its SQL)" if finding.sql_line else ""
    return f"{f'{position}: ' if position else ''}{finding.rule}: {finding.message}{sql_position}"
