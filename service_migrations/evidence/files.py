"""The files of measurements, one for each revision, which are committed, and read by a review and by the plan."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service_migrations.evidence.measurement import Measurement
from service_migrations.files import replace
from service_migrations.history.files.fingerprint import hashes, is_fingerprint
from service_migrations.history.revisions import script_location
from service_migrations.monorepo import Service

__all__ = ["Committed", "read_committed", "write"]

_FOLDER = "evidence"
_NOISE = 0.05
"""Seconds below which two figures are the same."""
_FACTOR = 2
"""How many times one figure may be the other one without being news."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The committed measurement of a revision.

    Attributes:
        path: its file.
        rows: how many rows the tables had.
        measured: by version and direction, what was measured.
        is_current: whether the revision is still what was measured.

    """

    path: str
    rows: int
    measured: dict[str, dict[str, Any]]
    is_current: bool

    def worst(self, direction: str) -> tuple[str, dict[str, Any]] | None:
        """Return the version with the longest time of a direction, and what was measured there; None without one."""
        figures = [(version, item[direction]) for version, item in self.measured.items() if direction in item]
        return max(figures, key=lambda item: _length(item[1]), default=None)


def _length(measured: dict[str, Any]) -> tuple[float, float]:
    return measured["writers_blocked"] + measured["readers_blocked"], measured["seconds"]


def read_committed(service: Service, revision: str, path: str) -> Committed | None:
    """Return the committed measurement of a revision; None where there is none that can be read.

    Args:
        service: the service.
        revision: its id.
        path: the file of the revision, relative to the top level.

    """
    file = _file(service, revision)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        is_current = is_fingerprint(content["fingerprint"], (service.root / path).read_bytes())
        measured = content["measured"]
        if not isinstance(content["rows"], int) or not _is_measured(measured):
            return None
        return Committed(service.relative(file), content["rows"], measured, is_current)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        return None


def _is_measured(value: object) -> bool:
    """Whether a value has the structure of what is measured: a person may have merged or edited the file."""
    return isinstance(value, dict) and all(
        isinstance(directions, dict) and all(map(_is_figures, directions.values())) for directions in value.values()
    )


def _is_figures(value: object) -> bool:
    if not (isinstance(value, dict) and {"at_ten_million", "error", "strongest"} <= value.keys()):
        return False
    lock, rewrites = value["strongest"], value.get("rewrites")
    return (
        all(isinstance(value.get(key), int | float) for key in ("seconds", "readers_blocked", "writers_blocked"))
        and isinstance(value.get("at_ten_million"), int | float | None)
        and isinstance(value.get("error"), str | None)
        and isinstance(rewrites, list)
        and all(isinstance(table, str) for table in rewrites)
        and (lock is None or (isinstance(lock, dict) and _is_lock(lock)))
    )


def _is_lock(lock: dict[str, Any]) -> bool:
    return all(isinstance(lock.get(key), str) for key in ("relation", "mode")) and isinstance(
        lock.get("seconds"), int | float
    )


def write(service: Service, measured: Iterable[Measurement]) -> list[Path]:
    """Write the file of each measured revision, and return those that have changed.

    What a file has of other versions and directions stays, unless it is of another text of the revision or of another
    number of rows. Figures that differ by no more than two runs do are left as they are.
    """
    by_revision: dict[str, list[Measurement]] = {}
    for item in measured:
        by_revision.setdefault(item.revision, []).append(item)
    changed = []
    for revision, items in by_revision.items():
        file, first = _file(service, revision), items[0]
        content: dict[str, Any] = {
            "fingerprint": hashes(service.root / first.path).fingerprint,
            "message": first.message,
            "notes": list(dict.fromkeys(note for item in items for note in item.notes)),
            "path": first.path,
            "revision": revision,
            "rows": first.rows,
        }
        former = _former(file)
        is_same = former.get("rows") == first.rows and is_fingerprint(
            former.get("fingerprint"), (service.root / first.path).read_bytes()
        )
        content["measured"] = former["measured"] if is_same and _is_measured(former.get("measured")) else {}
        for item in items:
            directions = content["measured"].setdefault(item.postgres, {})
            figures = _figures(item)
            if not _is_noise(directions.get(item.direction), figures):
                directions[item.direction] = figures
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if not file.is_file() or file.read_text(encoding="utf-8", errors="replace") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace(file, text.encode())
            changed.append(file)
    return changed


def _file(service: Service, revision: str) -> Path:
    return script_location(service.root) / _FOLDER / service.name / f"{revision}.json"


def _former(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _figures(item: Measurement) -> dict[str, Any]:
    figures = item.as_json()
    for key in ("revision", "message", "path", "postgres", "direction", "rows", "notes"):
        del figures[key]
    return json.loads(json.dumps(figures))  # type: ignore[no-any-return] # lists as a file has them


def _is_noise(former: Any, new: Any) -> bool:
    """Whether two values have the same structure and texts, and figures that two runs may have."""
    if isinstance(former, dict) and isinstance(new, dict):
        return former.keys() == new.keys() and all(_is_noise(former[key], new[key]) for key in new)
    if isinstance(former, list) and isinstance(new, list):
        return len(former) == len(new) and all(map(_is_noise, former, new))
    if isinstance(former, int | float) and isinstance(new, int | float):
        low, high = sorted((abs(former), abs(new)))
        return high <= _FACTOR * low + (_NOISE if isinstance(new, float) else 0)
    return bool(former == new)
