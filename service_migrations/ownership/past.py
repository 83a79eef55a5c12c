"""What a service's history has made: claims of models that are removed, but not yet from the database.

A history is replayed offline, as SQL, and nothing is connected to. That takes time, so it is done only where a
database holds what no model claims.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from service_migrations.errors import MigrationError
from service_migrations.history.offline import render
from service_migrations.history.revisions import read
from service_migrations.monorepo import Service
from service_migrations.sql.created import Created, ObjectName

__all__ = ["HistoryClaims", "past"]


@dataclass(frozen=True, slots=True)
class HistoryClaims:
    """What a history has made and not dropped again, and the words of the revisions that can't be replayed.

    A revision that asks its connection for something, or that doesn't import, may have made whatever it names.

    ``former`` is what the history drops or renames. The files say that it is gone, but a database that hasn't had those
    revisions still has it, and it is still this service's: a sibling that took it for nobody's would drop it. How far a
    database is stands in the service's version table, which the role of a sibling often may not read; so these names
    are the service's for good, also where the revision was applied and somebody made another object of that name.
    """

    things: frozenset[ObjectName]
    words: frozenset[str]
    former: frozenset[ObjectName] = frozenset()

    def made(self, thing: ObjectName) -> bool:
        """Whether it made that object, for certain."""
        return thing in self.things

    def gave_up(self, thing: ObjectName) -> bool:
        """Whether it drops or renames that object, which is there until that revision is applied."""
        return thing in self.former

    def may_have_made(self, thing: ObjectName) -> bool:
        """Whether a revision that can't be replayed holds the object's name as a word."""
        return thing[2] in self.words


_known: dict[Service, tuple[object, HistoryClaims]] = {}
"""The past of each service as of its files: in a run for all services, each is asked for by all that share with it."""


def past(service: Service, default: str) -> HistoryClaims:
    """Return what a service's history has made. The caller holds the gate.

    Args:
        service: the service.
        default: the schema of its names without one.

    """
    files = sorted(service.versions.glob("*.py")) if service.versions.is_dir() else []
    state = (default, tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files))
    if service not in _known or _known[service][0] != state:
        _known[service] = state, _replay(service, default, files)
    return _known[service][1]


def _replay(service: Service, default: str, files: list[Path]) -> HistoryClaims:
    try:
        history = read(service)
        rendered = render(history, tuple(reversed(history.revisions)))
    except MigrationError:
        return HistoryClaims(frozenset(), _words(files))
    made = Created(default)
    unknown = []
    for one in rendered:
        made.default = default
        made.learn(one.sql)
        if one.error is not None:
            unknown.append(service.root / one.revision.path)
    return HistoryClaims(frozenset(made.things), _words(unknown), frozenset(made.former))


def _words(files: list[Path]) -> frozenset[str]:
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in files)
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))
