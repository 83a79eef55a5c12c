"""The baseline of a history: what is accepted as it is since the history was adopted.

A file beside the revisions, ``baseline.toml``, has an entry for each difference that was there. An entry is the text of
the difference, and where the text doesn't say all, a hash of what it is about: a difference that changes is a new one.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.files import read_text, replace
from service_migrations.history.files.fingerprint import checksum
from service_migrations.history.revisions import History
from service_migrations.monorepo import Service

__all__ = [
    "KINDS",
    "Baseline",
    "baseline_path",
    "digest",
    "finding_entry",
    "read_baseline",
    "revision_entry",
    "write_baseline",
]

KINDS: Mapping[str, str] = {
    "check": "differences of the models and the database",
    "findings": "constraints without a name, and files that were edited after they had been applied",
    "drift": "differences of the database and its history",
    "downgrades": "revisions that can't be downgraded",
    "offline": "revisions that can't be rendered offline",
}
"""Each kind of entry, with what it is."""
_REVISIONS = ("downgrades", "offline")
_DIGITS = 12

_HEADER = """\
# What is accepted in this history as it is. Only what isn't here fails db.check, db.drift and the tests of the history.
# `inv db.baseline` writes this file; `inv db.baseline --prune` shows what of it is no longer needed.
"""

_TIME = re.compile(r" \([^()]*\d\d:\d\d[^()]*\)(?=\.?\Z)")

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is accepted of one service: ``entries`` by kind; none where it has no file."""

    service: Service
    entries: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.entries.values()))

    def split(
        self, kind: str, items: Iterable[_Item], entry: Callable[[_Item], str]
    ) -> tuple[tuple[_Item, ...], tuple[_Item, ...]]:
        """Return the items that are new, and those that are accepted.

        Args:
            kind: one of ``KINDS``.
            items: such as differences.
            entry: returns the entry of an item.

        """
        accepted = self.entries.get(kind, frozenset())
        new: list[_Item] = []
        known: list[_Item] = []
        for item in items:
            (known if entry(item) in accepted else new).append(item)
        return tuple(new), tuple(known)

    def revisions(self, kind: str, history: History) -> frozenset[str]:
        """Return the revisions that are accepted, with their files as they are.

        Args:
            kind: ``downgrades`` or ``offline``.
            history: the service's.

        """
        beginnings = {revision_entry(history, revision.revision): revision.revision for revision in history.revisions}
        entries = self.entries.get(kind, frozenset())
        return frozenset(
            revision for start, revision in beginnings.items() if any(entry.startswith(start) for entry in entries)
        )

    def refuse_unknown(self, history: History) -> None:
        """Refuse an entry of a revision that doesn't exist.

        Raises:
            ConfigurationError: there is one.

        """
        known = {revision.revision for revision in history.revisions}
        for kind in _REVISIONS:
            for entry in sorted(self.entries.get(kind, ())):
                revision = entry.partition(" ")[0]
                if revision not in known:
                    raise ConfigurationError(
                        f"{kind} names the revision {revision}, which the history doesn't have.",
                        service=self.service,
                        path=self.service.relative(baseline_path(self.service)),
                        hint=f"Run: inv db.baseline --service {self.service} --prune --write",
                    )


def finding_entry(service: Service, finding: MigrationError) -> str:
    """Return the entry of a finding for the baseline; the time of an edited file depends on the machine."""
    text = f"{finding.path}: {_TIME.sub('', finding.message)}"
    path = service.root / (finding.path or "")
    if path.is_file() and any(map(path.is_relative_to, service.version_locations)):
        text += f" [{digest(path.read_text(encoding='utf-8', errors='surrogateescape'))}]"
    return text


def baseline_path(service: Service) -> Path:
    """Return the file of a service's baseline, which may not exist."""
    return service.versions / "baseline.toml"


def read_baseline(service: Service) -> Baseline:
    """Return the baseline of a service; an empty one where it has none.

    Raises:
        ConfigurationError: the file is not TOML, or has an unknown kind or a wrong value.

    """
    path = baseline_path(service)
    shown_path = service.relative(path)
    try:
        document = tomllib.loads(read_text(path, encoding="utf-8-sig"))
    except FileNotFoundError:
        return Baseline(service)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        hint = "Correct the file, or write it again with db.baseline."
        reason = f"it can't be read: {error.strerror}" if isinstance(error, OSError) else error
        raise ConfigurationError(f"{reason}.", service=service, path=shown_path, hint=hint) from None
    entries: dict[str, frozenset[str]] = {}
    for kind, values in document.items():
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(KINDS)}."
            raise ConfigurationError(f"there is no kind {kind!r}.", service=service, path=shown_path, hint=hint)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ConfigurationError(
                f"{kind} is no list of strings.", service=service, path=shown_path, hint="Write it with db.baseline."
            )
        entries[kind] = frozenset(values)
    return Baseline(service, entries)


def write_baseline(service: Service, entries: Mapping[str, Iterable[str]]) -> None:
    """Write the baseline of a service, or remove its file where nothing is accepted."""
    path = baseline_path(service)
    parts = [_HEADER]
    for kind, description in KINDS.items():
        values = sorted(set(entries.get(kind, ())))
        if values:
            lines = [f"    {json.dumps(value, ensure_ascii=False)}," for value in values]
            parts.append("\n".join([f"# {description}", f"{kind} = [", *lines, "]", ""]))
    if len(parts) == 1:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, "\n".join(parts).encode())


def digest(*parts: object) -> str:
    """Return a short hash of what an entry is about."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:_DIGITS]


def revision_entry(history: History, revision: str) -> str:
    """Return the beginning of an entry of a revision, which has a hash of its file: an edited file is another one."""
    path = history.path(revision)
    return f"{revision} [{checksum(path.read_bytes())[:_DIGITS] if path else ''}]"
