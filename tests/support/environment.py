"""A team's own code in env.py, and the revisions that it leads to."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.autogenerate import comparators

import service_migrations
from service_migrations.monorepo import Service
from tests.support.database import wait
from tests.support.monorepo import Monorepo


def write_hooks(monorepo: Monorepo, code: str) -> None:
    """Write a team's code into env.py, where it begins with what the library has written there."""
    path = monorepo.root / "migrations" / "env.py"
    text = path.read_text(encoding="utf-8")
    place = "\n\ndef do_run_migrations"
    assert text.count(place) == 1
    path.write_text(text.replace(place, f"\n{code}\n{place}"), encoding="utf-8")


def written(monorepo: Monorepo, service: Service) -> str:
    """Write a revision, and return its code; nothing where no file was written."""
    revision = wait(service_migrations.revision(service, "change"))
    if revision is None:
        return ""
    text = (monorepo.root / revision.path).read_text(encoding="utf-8")
    return text[text.index("from alembic import op") :]


@contextmanager
def comparators_of(*packages: str) -> Iterator[None]:
    """Let a test have the comparators of the packages that its env.py imports, and no other test any."""
    registry = {key: list(value) for key, value in comparators._registry.items()}
    yield
    comparators._registry.clear()
    comparators._registry.update(registry)
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
