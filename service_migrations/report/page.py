"""The report as one HTML file that loads nothing: its text, style and script are all in it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mako.lookup import TemplateLookup

from service_migrations.drift.drift import Drift
from service_migrations.errors import MigrationError
from service_migrations.report.diagram import Diagram, diagram
from service_migrations.report.lanes import lanes
from service_migrations.report.layout import EXTRA, is_installed
from service_migrations.report.model import Report, ReportedDatabase, ReportedService
from service_migrations.report.severity import LEVELS, level, seconds_text, worst
from service_migrations.report.timeline import WIDTH, timeline

__all__ = ["page"]

_FOLDER = Path(__file__).parent / "page"
_COLOURS = 8
"""The number of colours of owners in page.css."""
_FIGURES = ("rewrites", "readers_blocked", "writers_blocked", "seconds", "at_ten_million", "error")


def page(report: Report) -> str:
    """Return the report as the text of an HTML file.

    Every value is escaped: the template does so by default, and what the script reads is JSON without ``<``.
    """
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    lookup = TemplateLookup([str(_FOLDER)], default_filters=["h"], strict_undefined=True)
    owners = sorted({entity.owner for database in report.databases for entity in database.entities} - {""})
    names = sorted({service.name for service in report.services} | set(owners))
    text = lookup.get_template("page.mako").render(
        report=report,
        services=report.services,
        databases=[(database, diagram(database)) for database in report.databases],
        timeline=timeline(report.services),
        versions=_versions(report.services),
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'",
        counts=_counts(report.services),
        colour={name: number % _COLOURS for number, name in enumerate(names)},
        data=_data,
        drift=_drift,
        moment=_moment,
        owners=_owners,
        strip=_strip,
        described=_described,
        cell=_cell,
        levels=LEVELS,
        width=WIDTH,
        extra="" if is_installed() else EXTRA,
    )
    return str(text)


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy allows a text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _moment(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else ""


def _counts(services: Sequence[ReportedService]) -> list[tuple[str, int, str]]:
    """Return the figures at the top: a label, the number, and the state that it is of."""
    states = [service.status.state for service in services]
    pending = sum(service.status.pending or 0 for service in services)
    counts = [
        ("services", len(services), ""),
        *((state, states.count(state), state) for state in ("at head", "behind", "error")),
        ("pending revisions", pending, ""),
    ]
    compared = [service.drift for service in services if isinstance(service.drift, Drift)]
    if compared:
        counts.append(("with drift", sum(bool(found.differences) for found in compared), ""))
    return counts


def _versions(services: Sequence[ReportedService]) -> list[str]:
    return sorted({version for service in services for version in service.versions}, key=lambda text: (len(text), text))


def _drift(service: ReportedService) -> tuple[str, str]:
    """Return the text of a service's drift, and its class."""
    found = service.drift
    if found is None:
        return "not compared", "quiet"
    if isinstance(found, MigrationError):
        return "can't be compared", "error"
    count = len(found.differences)
    return (f"{count} difference{'s' * (count > 1)}", "behind") if count else ("none", "at-head")


def _owners(database: ReportedDatabase) -> list[str]:
    """Return the owners of a database's tables, those that nobody owns last."""
    return sorted({entity.owner for entity in database.entities}, key=lambda owner: (not owner, owner))


def _described(shape: Diagram, database: ReportedDatabase) -> str:
    tables, keys = len(shape.boxes), len(shape.paths)
    owners = ", ".join(owner or "nobody" for owner in _owners(database))
    return (
        f"{tables} table{'s' * (tables != 1)} of {owners}, {keys} foreign key{'s' * (keys != 1)}. "
        "The table below has the same as text."
    )


def _strip(service: ReportedService) -> list[int | None]:
    """Return the level of each revision of a service, the oldest first; None where it wasn't measured."""
    evidence = service.evidence or {}
    found = [worst(evidence[each.revision]) if each.revision in evidence else None for each in service.revisions]
    return [pair[0] if pair else None for pair in found]


def _cell(service: ReportedService, version: str) -> tuple[int, str] | None:
    """Return the worst of a service on one version: the level, and a text; None where nothing was measured."""
    found = [pair for item in (service.evidence or {}).values() if (pair := worst(item, (version,)))]
    if not found:
        return None
    number, measured = max(found, key=lambda pair: (pair[0], _waited(pair[1])))
    if measured.get("error"):
        return number, f"{sum(bool(item.get('error')) for _, item in found)} failed"
    return number, f"at most {seconds_text(_waited(measured))}" if number else "nobody waits"


def _waited(measured: dict[str, Any]) -> float:
    return max(measured.get("readers_blocked") or 0.0, measured.get("writers_blocked") or 0.0)


def _data(service: ReportedService) -> str:
    """Return what the script shows of a service when it is opened, as JSON that no tag can end."""
    revisions = service.revisions[::-1]
    drawn = lanes(revisions)
    content: dict[str, Any] = {
        "revisions": [
            [each.revision, each.message, each.path, each.down_revision, each.depends_on, each.branch_labels]
            for each in revisions
        ],
        "heads": [each.revision for each in revisions if each.is_head],
        "current": service.status.current,
        "pending": None
        if service.pending is None
        else [each.revision for each in revisions if each.revision in service.pending],
        "edited": service.status.edited,
        "problem": service.problem,
        "error": str(service.status.error or ""),
        "runs": [
            [
                *(run.revision, run.direction, run.from_revision, run.to_revision, _moment(run.started)),
                *(round(run.seconds, 3), f"{run.os_user}@{run.host}", (run.git_commit or "")[:12], run.version),
            ]
            for run in service.runs
        ],
        "versions": service.versions,
        "evidence": {
            revision: _measured(item.measured, item.rows, is_current=item.is_current)
            for revision, item in (service.evidence or {}).items()
        },
    }
    if drawn is not None and not _is_chain(drawn.lines, drawn.count):
        content["lanes"] = [
            drawn.count,
            drawn.rows,
            [[each.start, each.end, each.waits, each.bends] for each in drawn.lines],
        ]
    elif drawn is None:
        content["lanes"] = None
    if isinstance(service.drift, Drift):
        content["drift"] = [str(difference) for difference in service.drift.differences]
    elif service.drift is not None:
        content["drift"] = str(service.drift)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _is_chain(lines: Sequence[Any], count: int) -> bool:
    return count == 1 and all(line.end == line.start + 1 and not line.waits for line in lines)


def _measured(measured: dict[str, dict[str, Any]], rows: int, *, is_current: bool) -> dict[str, Any]:
    return {
        "rows": rows,
        "current": is_current,
        "measured": {
            version: {
                direction: {
                    **{key: figures.get(key) for key in _FIGURES},
                    "strongest": figures.get("strongest"),
                    "level": level(figures),
                }
                for direction, figures in directions.items()
            }
            for version, directions in measured.items()
        },
    }
