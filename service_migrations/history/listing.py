"""The history of a service for commands that only list revisions: by the headers of its files, where that is enough.

A history of thousands of revisions is then read as quickly as for ``db.status``: neither Alembic nor a revision is
imported.
"""

import sys
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from service_migrations.history.files.static import Chain, read_chain
from service_migrations.history.history import History
from service_migrations.monorepo import Service
from service_migrations.pyproject import read_tools

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

__all__ = ["listed"]

_ENVIRONMENT = "%(here)s/migrations"
"""The folder of env.py, where pyproject.toml names no other."""


def listed(service: Service) -> History:
    """Return the history of a service, whose files are imported where the headers leave a doubt.

    They are certain for one line of revisions in plain files. Of branches and merges Alembic decides the order.

    Raises:
        UsageError, ConfigurationError: as of ``revisions.read``, where Alembic reads it.

    """
    chain = read_chain(service)
    has_docstrings = sys.flags.optimize < 2  # noqa: PLR2004 - python -OO drops those of modules
    if chain is None or not _is_line(chain) or not _has_environment(service) or not has_docstrings:
        return _imported(service)

    @cache
    def load() -> "ScriptDirectory":
        return _imported(service).directory

    return History(service, tuple(reversed(chain.revisions)), load)


def _imported(service: Service) -> History:
    from service_migrations.history.revisions import read  # noqa: PLC0415 - it imports Alembic

    return read(service)


def _is_line(chain: Chain) -> bool:
    """Whether each revision follows the one before it, and nothing else."""
    revisions = chain.revisions
    return bool(revisions and not revisions[0].down_revision) and all(
        revision.down_revision == (parent.revision,) for parent, revision in pairwise(revisions)
    )


def _has_environment(service: Service) -> bool:
    """Whether env.py surely exists, without which Alembic runs nothing."""
    table = read_tools(service.root).get("alembic", {})
    location = table.get("script_location", _ENVIRONMENT) if isinstance(table, dict) else None
    if not isinstance(location, str):
        return False  # which Alembic's own reader refuses
    folder = location.replace("%(here)s", str(service.root))
    return "%" not in location.replace("%(here)s", "") and (service.root / folder / "env.py").is_file()
