"""Search paths, apart from what needs SQLAlchemy: that of the library's own queries, and the names of any."""

import re
from collections.abc import Iterator

from service_migrations.sql.identifiers import cut, folded

__all__ = ["OWN_PATH", "default_of", "names_of"]

OWN_PATH = "pg_catalog, pg_temp"
"""Nothing but pg_catalog. Where pg_temp isn't named, it comes first for tables and types."""

_PUBLIC = "public"
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^\s,"]+))\s*(?:,|$)')


def names_of(path: str) -> Iterator[str]:
    """Yield the names of a search_path as PostgreSQL reads them: one that isn't quoted is in small letters."""
    for quoted, word in _NAME.findall(path):
        if name := quoted.replace('""', '"') or folded(word):
            yield cut(name)


def default_of(path: str) -> str:
    """Return the first schema of a search_path that isn't the role's own."""
    return next((name for name in names_of(path) if name != "$user"), _PUBLIC)
