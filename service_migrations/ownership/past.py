"""What a service's history has made: claims of models that are removed, but not yet from the database.

A history is replayed offline, as SQL, and nothing is connected to. That takes time, so it is done only where a
database holds what no model claims.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from service_migrations.errors import MigrationError
from service_migrations.history.offline import render
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from service_migrations.sql.created import Created, ObjectName

__all__ = ["HistoryClaims", "history_claims"]


@dataclass(frozen=True, slots=True)
class HistoryClaims:
    """What a history has made and not dropped again, and the words of the revisions that can't be replayed.

    A revision that asks its connection for something, or that can't be imported, may have made whatever it names.

    ``former`` is what the history drops or renames. A database that hasn't had those revisions still has it, and it is
    still this service's: a sibling that took it for nobody's would drop it. How far a database is stands in the
    service's version table, which the role of a sibling often may not read. So these names are the service's for good,
    also where the revision was applied and somebody made another object of that name.
    """

    created: frozenset[ObjectName] = frozenset()
    words: frozenset[str] = frozenset()
    former: frozenset[ObjectName] = frozenset()

    def made(self, name: ObjectName) -> bool:
        """Whether the history made that object, for certain."""
        return name in self.created

    def gave_up(self, name: ObjectName) -> bool:
        """Whether the history drops or renames that object, which is there until that revision is applied."""
        return name in self.former

    def may_have_made(self, name: ObjectName) -> bool:
        """Whether a revision that can't be replayed holds the object's name as a word."""
        return name.name in self.words


_known: dict[Service, tuple[object, HistoryClaims]] = {}
"""The claims of each history as of its files: in a run for all services, all that share a database ask for each."""


def history_claims(service: Service, schema: str) -> HistoryClaims:
    """Return what a service's history has made. The caller holds the process lock.

    Args:
        service: the service.
        schema: where its names without a schema are.

    """
    files = sorted(service.versions.glob("*.py")) if service.versions.is_dir() else []
    state = (schema, tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files))
    if service not in _known or _known[service][0] != state:
        _known[service] = state, _replay(service, schema, files)
    return _known[service][1]


def _replay(service: Service, schema: str, files: Iterable[Path]) -> HistoryClaims:
    try:
        history = read(service)
        rendered = render(history, tuple(reversed(history.revisions)))
    except MigrationError:
        return HistoryClaims(words=_words(files))
    state = Created(schema)
    unknown = []
    for revision in rendered:
        state.default_schema = schema  # a revision that sets search_path sets it for itself
        state.apply(revision.sql)
        if revision.error is not None:
            unknown.append(service.root / revision.revision.path)
    return HistoryClaims(frozenset(state.objects), _words(unknown), frozenset(state.former))


def _words(files: Iterable[Path]) -> frozenset[str]:
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in files)
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))
