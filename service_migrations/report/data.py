"""What the page's script shows of a service when it is opened, as JSON.

It is short: three hundred histories of two hundred revisions are in one file. A revision is the number of its row, the
newest first, and a text that occurs often is the number of its place in ``texts``.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from service_migrations.drift.drift import Drift
from service_migrations.report.lanes import Lanes, lanes
from service_migrations.report.model import ReportedService
from service_migrations.report.severity import level

__all__ = ["moment_text", "service_data"]


def moment_text(moment: datetime | None) -> str:
    """Return a moment as a person reads it, in UTC: the page is read in more than one place."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if moment else ""


def service_data(service: ReportedService) -> str:
    """Return the JSON of a service, which no tag can end: it has no ``<``."""
    revisions = service.revisions[::-1]
    row = {each.revision: number for number, each in enumerate(revisions)}
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    content: dict[str, Any] = {
        "revisions": [[each.revision, each.message, each.path.rpartition("/")[2]] for each in revisions],
        "heads": [row[each.revision] for each in revisions if each.is_head],
        "current": [row[each] for each in service.status.current if each in row],
        "pending": None if service.pending is None else [row[each] for each in service.pending],
        "edited": [row[each.revision] for each in revisions if each.path in service.status.edited],
        "labels": {row[each.revision]: each.branch_labels for each in revisions if each.branch_labels},
        "problem": service.problem,
        "error": str(service.status.error or ""),
        "runs": [
            [
                *(row.get(run.revision, run.revision), place(run.direction)),
                *(
                    _id(run.from_revision, row),
                    _id(run.to_revision, row),
                    moment_text(run.started),
                    _short(run.seconds),
                ),
                *(place(f"{run.os_user}@{run.host}"), place((run.git_commit or "")[:12]), place(run.version)),
            ]
            for run in service.runs
        ],
        "versions": service.versions,
        "evidence": [
            [row[revision], int(item.is_current), _measured(item.measured, service.versions, place)]
            for revision, item in (service.evidence or {}).items()
            if revision in row
        ],
        **_graph(lanes(revisions), service),
    }
    if isinstance(service.drift, Drift):
        content["drift"] = [str(difference) for difference in service.drift.differences]
    elif service.drift is not None:
        content["drift"] = str(service.drift)
    content["texts"] = list(texts)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _id(revision: str | None, row: dict[str, int]) -> int | str | None:
    return None if revision is None else row.get(revision, revision)


def _short(seconds: float) -> float:
    return float(f"{seconds:.3g}")


def _graph(drawn: Lanes | None, service: ReportedService) -> dict[str, Any]:
    """Return the lanes and links of a history; nothing of one chain, which the script draws by itself."""
    if drawn is not None and drawn.count == 1 and all(line.end == line.start + 1 for line in drawn.lines):
        return {}
    links = [[each.down_revision, each.depends_on] for each in service.revisions[::-1]]
    if drawn is None:
        return {"links": links, "lanes": None}
    lines = [[line.start, line.end, line.waits, line.bends] for line in drawn.lines]
    return {"links": links, "lanes": [drawn.count, drawn.rows, lines]}


def _measured(
    measured: dict[str, dict[str, Any]], versions: Sequence[str], place: Callable[[str], int]
) -> list[list[Any]]:
    """Return version, direction, level, lock (mode, relation, seconds), wait, rewritten tables, ten million, error."""
    rows = []
    for version, directions in measured.items():
        for direction, figures in directions.items():
            lock = figures.get("strongest")
            waited = max(figures.get("readers_blocked") or 0, figures.get("writers_blocked") or 0)
            rows.append([
                *(versions.index(version), int(direction == "downgrade"), level(figures)),
                [place(lock["mode"]), place(lock["relation"]), _short(lock["seconds"])] if lock else 0,
                *(_short(waited), ", ".join(figures.get("rewrites") or ()), _short(figures.get("at_ten_million") or 0)),
                figures.get("error") or "",
            ])  # fmt: skip
    return rows
