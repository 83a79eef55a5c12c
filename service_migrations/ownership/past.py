"""The claims of a service's history: objects of models that were removed, but not yet dropped from the database.

A history is replayed offline, as SQL, without a connection. That takes time, so it is done only where a database has
objects that no model claims.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service_migrations.errors import MigrationError
from service_migrations.history.files.locations import revision_files
from service_migrations.history.files.parsing import parse
from service_migrations.history.revisions import read
from service_migrations.history.sql.offline import render
from service_migrations.history.sql.texts import constants, text_of
from service_migrations.monorepo import Service
from service_migrations.sql.created import Created, ObjectName
from service_migrations.sql.dynamic import UNKNOWN, fits

__all__ = ["HistoryClaims", "history_claims", "is_named", "words"]


@dataclass(frozen=True, slots=True)
class HistoryClaims:
    """The objects that a history creates and doesn't drop, and the words of revisions that can't be replayed.

    A revision that queries its connection, or that can't be imported, may have created any object that it names.

    ``possible`` are objects that the history may have created: by a function, or under a name of which it only has a
    part, such as that of ``EXECUTE format('CREATE TABLE log_%s …', …)``.

    ``former`` are the objects that the history drops or renames. A database in which those revisions haven't run still
    has them, and they are still this service's: without them, a sibling would drop such an object. The revision of a
    database is in the service's version table, which the role of a sibling often may not read. So these names stay
    the service's, also where the revision was applied and somebody created another object of that name.
    """

    created: frozenset[ObjectName] = frozenset()
    words: frozenset[str] = frozenset()
    former: frozenset[ObjectName] = frozenset()
    possible: frozenset[ObjectName] = frozenset()

    def has_created(self, name: ObjectName) -> bool:
        """Whether the history has certainly created an object."""
        return name in self.created

    def has_removed(self, name: ObjectName) -> bool:
        """Whether the history drops or renames an object, which exists until that revision is applied."""
        return name in self.former

    def may_have_created(self, name: ObjectName) -> bool:
        """Whether revisions that can't be replayed have the object's name as a word, or each word of it, or a part."""
        return is_named(name.name, self.words) or any(
            possible.kind == name.kind and fits(name.schema, possible.schema) and fits(name.name, possible.name)
            for possible in self.possible
        )


_cache: dict[Service, tuple[object, HistoryClaims]] = {}
"""The claims of each history, with the state of its files: services that share a database need each other's."""


def history_claims(service: Service, schema: str) -> HistoryClaims:
    """Return the claims of a service's history. The caller holds the process lock.

    Args:
        service: the service.
        schema: that of its names without one.

    """
    files = revision_files(service)
    file_state = (schema, tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files))
    if service not in _cache or _cache[service][0] != file_state:
        _cache[service] = file_state, _replay(service, schema, files)
    return _cache[service][1]


def _replay(service: Service, schema: str, files: Iterable[Path]) -> HistoryClaims:
    try:
        history = read(service)
        rendered_revisions = render(history, tuple(reversed(history.revisions)))
    except MigrationError:
        return HistoryClaims(words=_words(files))
    created = Created(schema)
    unreplayable = []
    for rendered in rendered_revisions:
        created.default_schema = schema  # a revision that sets search_path sets it for itself
        created.apply(rendered.sql)
        if not rendered.is_whole:
            unreplayable.append(service.root / rendered.revision.path)
    unclear = {name for name in created.objects if UNKNOWN in name.schema + name.name}
    possible = created.possible | unclear | {name for path in unreplayable for name in _in_parts(path, schema)}
    certain = frozenset(created.objects - unclear)
    return HistoryClaims(certain, _words(unreplayable), frozenset(created.former), frozenset(possible))


def _in_parts(path: Path, schema: str) -> Iterator[ObjectName]:
    """Yield the names that a file puts together, in SQL or for an operation."""
    parts: set[int] = set()
    try:
        tree = parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # its words count
    names = constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "create_table" and node.args:
            name = node.args[0]
            if not (isinstance(name, ast.Name) and name.id in names):  # otherwise it is one of the words
                yield ObjectName("table", UNKNOWN, text_of(name, set(), names) or UNKNOWN)
        if id(node) in parts or (text := text_of(node, parts, names)) is None or UNKNOWN not in text:
            continue
        created = Created(schema)
        created.apply(text)
        yield from created.objects | created.possible


def is_named(name: str, words: frozenset[str]) -> bool:
    """Whether a name is among words; of one that is no word, such as ``odd-name``, each of its words is."""
    own = _words_of(name)
    return bool(own) and own <= words


def words(service: Service) -> frozenset[str]:
    """Return the words of all revisions of a service, without a replay."""
    return _words(revision_files(service))


def _words(files: Iterable[Path]) -> frozenset[str]:
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in files)
    return frozenset().union(*map(_words_of, texts))


def _words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))
