"""The report as Markdown, for a pull request or the summary of a pipeline: what is upcoming, and what it does."""

from collections.abc import Callable, Sequence

from service_migrations.plan.review import PlanFinding, PlannedRevision
from service_migrations.report.mermaid import entity_changes
from service_migrations.report.severity import seconds_text
from service_migrations.report.upcoming import Upcoming

__all__ = ["MARKER", "markdown"]

MARKER = "<!-- service-migrations report -->"
"""The first line, by which a pipeline finds the comment that it wrote before."""

_ROOM = 65_000
"""The characters of a comment, of which GitHub takes 65,536."""
_MOST_FINDINGS = 12
_MOST_NAMES = 20
_LONGEST = 300
"""The characters of a text in a cell or a line."""
_ESCAPED = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", "#": "&#35;"}
    | {character: f"\\{character}" for character in "\\`*_[]|~{}$"}
)
"""What Markdown would take for a tag, a link, emphasis, the end of a cell, a person or an issue."""


def markdown(upcoming: Sequence[Upcoming]) -> str:
    """Return the Markdown. What there is no room for is left out, and the last line names it."""
    sections = [item for item in upcoming if item.revisions]
    failed = [item for item in upcoming if item.problem]
    quiet = [item.service for item in upcoming if not item.revisions and not item.problem]
    count = sum(len(item.revisions) for item in sections)
    head = [MARKER, "## Migrations", "", _summary(count, len(sections), len(failed))]
    tail = []
    if failed:
        tail += ["", f"**Not known:** {len(failed)} of {len(upcoming)} services", ""]
        tail += [f"- {_code(item.service)}: {_text(str(item.problem))}" for item in failed[:_MOST_NAMES]]
        tail += _and_more(len(failed) - _MOST_NAMES)
    if quiet:
        names = ", ".join(map(_code, quiet[:_MOST_NAMES]))
        more = f" and {len(quiet) - _MOST_NAMES} more" if len(quiet) > _MOST_NAMES else ""
        tail += ["", f"Nothing is upcoming for {names}{more}."]
    left_out: list[str] = []
    body: list[str] = []
    room = (
        _ROOM - len("\n".join([*head, *tail])) - 80 * (_MOST_NAMES + 2)
    )  # the last for the line about what is left out
    for item in sections:
        text = next((text for write in _FORMS if len(text := write(item)) <= room), None)
        if text is None:
            left_out.append(item.service)
            continue
        body.append(text)
        room -= len(text) + 1
    if left_out:
        names = ", ".join(map(_code, left_out[:_MOST_NAMES]))
        more = f" and {len(left_out) - _MOST_NAMES} more" if len(left_out) > _MOST_NAMES else ""
        tail += ["", f"Left out, as a comment has no more room: {names}{more}."]
    return "\n".join([*head, *body, *tail]) + "\n"


def _summary(revisions: int, services: int, failed: int) -> str:
    if not revisions:
        return "Nothing is upcoming." if not failed else "Nothing is known to be upcoming."
    return (
        f"{revisions} revision{'s' * (revisions != 1)} of {services} service{'s' * (services != 1)} "
        f"{'are' if revisions != 1 else 'is'} upcoming."
    )


def _whole(item: Upcoming) -> str:
    diagram = entity_changes(item.changes)
    drawn = ["", "What changes in its tables:", "", "```mermaid", diagram, "```"] if diagram else []
    return "\n".join([_table(item), *_findings(item, _MOST_FINDINGS), *drawn])


def _without_diagram(item: Upcoming) -> str:
    left_out = ["", "The diagram of its tables is left out, as a comment has no more room."]
    return "\n".join([_table(item), *_findings(item, _MOST_FINDINGS), *(left_out if item.changes.tables else [])])


def _short(item: Upcoming) -> str:
    """Return the section with its first revisions only."""
    shown = item.revisions[:_MOST_NAMES]
    return "\n".join([_table(item, shown), *_and_more(len(item.revisions) - len(shown))])


_FORMS: tuple[Callable[[Upcoming], str], ...] = (_whole, _without_diagram, _short)
"""How a section is written: the first one that there is room for."""


def _table(item: Upcoming, shown: Sequence[PlannedRevision] | None = None) -> str:
    lines = ["", f"### {_text(item.service)}", "", f"{_text(item.where)}, {len(item.revisions)} upcoming.", ""]
    lines += ["| Revision | Message | Classes | Measured lock | Others wait |", "|---|---|---|---|---|"]
    for revision in item.revisions if shown is None else shown:
        lock, waits = _measured(item, revision)
        classes = ", ".join(revision.classes) or "unknown"
        lines.append(
            f"| {_code(revision.revision)} | {_text(revision.message)} | {_text(classes)} | {lock} | {waits} |"
        )
    return "\n".join(lines)


def _measured(item: Upcoming, revision: PlannedRevision) -> tuple[str, str]:
    """Return the cells of what was measured."""
    committed = item.evidence.get(revision.revision)
    worst = committed.worst("upgrade") if committed else None
    if committed is None or worst is None:
        return "not measured", ""
    version, figures = worst
    if not committed.is_current:
        return "outdated: the revision was edited since", ""
    if figures["error"]:
        return f"failed on PostgreSQL {_text(version)}", ""
    lock = figures["strongest"]
    text = f"{lock['mode']} on {lock['relation']} for {seconds_text(lock['seconds'])}" if lock else "none"
    rewrites = f", rewrites {', '.join(figures['rewrites'])}" if figures["rewrites"] else ""
    waits = max(figures["readers_blocked"], figures["writers_blocked"])
    place = f" (PostgreSQL {version}, {committed.rows} rows)"
    return _text(f"{text}{rewrites}{place}"), _text(seconds_text(waits) if waits else "nobody")


def _findings(item: Upcoming, most: int) -> list[str]:
    findings: list[PlanFinding] = [*item.findings, *(each for revision in item.revisions for each in revision.findings)]
    if not findings:
        return []
    lines = [""]
    for finding in findings[:most]:
        file = (finding.path or "").rpartition("/")[2]
        place = f"{file}{f':{finding.line}' if finding.line else ''}"
        where = f" ({_code(place)})" if place else ""
        lines.append(f"- **{_text(finding.rule)}**: {_text(finding.message)}{where}")
    return [*lines, *_and_more(len(findings) - most)]


def _and_more(count: int) -> list[str]:
    return ["", f"And {count} more."] if count > 0 else []


def _text(text: str) -> str:
    """Return a text in one line that Markdown shows as it is: no tag, no link, nobody who is mentioned."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return line.translate(_ESCAPED).replace("://", "&#58;//")


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"
