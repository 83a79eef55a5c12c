"""The report as one HTML file that loads nothing: its text, style and script are all in it."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mako.lookup import TemplateLookup

from service_migrations.drift.drift import Drift
from service_migrations.errors import MigrationError
from service_migrations.report.data import moment_text, service_data
from service_migrations.report.diagram import Diagram, diagram
from service_migrations.report.layout import EXTRA, is_installed
from service_migrations.report.model import Report, ReportedDatabase, ReportedService
from service_migrations.report.severity import LEVELS, seconds_text, worst
from service_migrations.report.timeline import WIDTH, timeline

__all__ = ["page"]

_FOLDER = Path(__file__).parent / "page"
_FEW = 4
"""The number of databases whose pictures are all open; of more, each is held as text until it is opened.

To read three hundred pictures takes a browser longer than all the rest.
"""
_COLOURS = 8
"""The number of colours of owners in page.css."""


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
        data=service_data,
        drift=_drift,
        moment=moment_text,
        owners=_owners,
        strip=_strip,
        described=_described,
        cell=_cell,
        levels=LEVELS,
        width=WIDTH,
        is_held=len(report.databases) > _FEW,
        extra="" if is_installed() else EXTRA,
    )
    return str(text)


def _hash(text: str) -> str:
    """Return what a Content-Security-Policy allows a text by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


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
        counts.append(("with drift", sum(bool(each.differences) for each in compared), ""))
    return counts


def _versions(services: Sequence[ReportedService]) -> list[str]:
    return sorted({version for service in services for version in service.versions}, key=lambda text: (len(text), text))


def _drift(service: ReportedService) -> tuple[str, str]:
    """Return the text of a service's drift, and its class."""
    drift = service.drift
    if drift is None:
        return "not compared", "quiet"
    if isinstance(drift, MigrationError):
        return "can't be compared", "error"
    count = len(drift.differences)
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
    pairs = [worst(evidence[each.revision]) if each.revision in evidence else None for each in service.revisions]
    return [pair[0] if pair else None for pair in pairs]


def _cell(service: ReportedService, version: str) -> tuple[int, str] | None:
    """Return the worst of a service on one version: the level, and a text; None where nothing was measured."""
    pairs = [pair for item in (service.evidence or {}).values() if (pair := worst(item, (version,)))]
    if not pairs:
        return None
    number, measured = max(pairs, key=lambda pair: (pair[0], _waited(pair[1])))
    if measured.get("error"):
        return number, f"{sum(bool(item.get('error')) for _, item in pairs)} failed"
    return number, f"at most {seconds_text(_waited(measured))}" if number else "nobody waits"


def _waited(measured: dict[str, Any]) -> float:
    return max(measured.get("readers_blocked") or 0.0, measured.get("writers_blocked") or 0.0)
