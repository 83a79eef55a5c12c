"""Autogenerate between two random sets of models, in a database that is shared with another service."""

import os
import re
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, seed, settings, strategies as st

import service_migrations
from service_migrations.models.importing import import_models
from service_migrations.monorepo import Service
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import STATEFUL, create_all, first_upgrade, remodel
from tests.support.catalog import catalog
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.random_models import modules

EXAMPLES = int(os.environ.get("AUTOGENERATE_EXAMPLES", "12"))
"""How many pairs of models are tried on one version; with more than 20, others in each run."""

EACH = 2
"""How many one test tries: the others are for other workers."""


@pytest.mark.parametrize("part", range(-(-EXAMPLES // EACH)))
def test_what_is_generated_leads_from_any_models_to_any_others_and_back(part, world, server):
    """From nothing to A, from A to B, then back to A and to nothing; ``check`` is clean, the sibling untouched.

    A and B are in the catalog as ``create_all`` makes them. No two parts or versions try the same pairs.
    """
    fresh, monorepo = world

    @settings(
        max_examples=EACH,
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def there_and_back(data):
        before, after = (data.draw(modules(int(server.version)), label=label) for label in ("A", "B"))
        assume(before != after)  # the first pair that is drawn is of no tables and no tables
        created = []
        for models in (before, after):
            dsn, service = fresh()
            created.append(_created(monorepo, service, dsn, models))
        dsn, service = fresh()
        _there_and_back(monorepo, service, dsn, (before, after), created)

    (there_and_back if EXAMPLES > 20 else seed(f"{server.version}/{part}")(there_and_back))()


def _created(monorepo: Monorepo, service: Service, dsn: Dsn, models: str) -> list[str]:
    """Return the catalog after ``create_all``."""
    remodel(monorepo, service, models)
    create_all(import_models(service).metadata, dsn)
    return _but_versions(catalog(dsn))


def _there_and_back(
    monorepo: Monorepo, service: Service, dsn: Dsn, models: tuple[str, str], created: list[list[str]]
) -> None:
    before, after = models
    siblings = _of_the_sibling(dsn)
    assert siblings

    remodel(monorepo, service, before)
    first = _generate_and_apply(monorepo, service, "a")
    at_first = catalog(dsn)
    assert _but_versions(at_first) == created[0]
    remodel(monorepo, service, after)
    second = _generate_and_apply(monorepo, service, "b")
    assert _of_the_sibling(dsn) == siblings
    # of parts without a name, PostgreSQL chose the names when others were there
    assert _nameless(_but_versions(catalog(dsn))) == _nameless(created[1])
    if "schema=" not in before + after:  # no history makes that schema, so none can be replayed
        assert wait(service_migrations.drift(service)).differences == ()

    if second:
        wait(service_migrations.downgrade(service, "-1"))
        assert _but_versions(catalog(dsn)) == _but_versions(at_first)
        wait(service_migrations.upgrade(service))
        assert wait(service_migrations.check(service)).differences == ()
    if first or second:
        wait(service_migrations.downgrade(service, "base"))
    left = [line for line in catalog(dsn) if "alembic_version_billing" not in line]
    assert left == siblings, "something is left at base, or the sibling has lost it"


def _generate_and_apply(monorepo: Monorepo, service: Service, message: str) -> bool:
    revision = wait(service_migrations.revision(service, message))
    if revision is not None:
        text = (monorepo.root / revision.path).read_text(encoding="utf-8")
        note(text[text.index("def upgrade") :])
        wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).differences == ()
    assert wait(service_migrations.revision(service, "nothing")) is None
    return revision is not None


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn], server: Server):
    """A monorepo, and a way to a database of its own for each example, in which the sibling has its tables already."""
    template = database(creates=True)
    theirs = database(shared=template)
    sibling = monorepo.service("sibling", STATEFUL.format(name="sibling"), theirs)
    first_upgrade(monorepo, sibling)
    run_script(template, ["CREATE SCHEMA extra", 'CREATE SCHEMA "Other 1%"'])
    made = []

    def fresh():
        name = f"{template.database}_{len(made)}"
        query(server.admin, f'CREATE DATABASE "{name}" TEMPLATE "{template.database}" OWNER "{template.user}"')
        made.append(name)
        dsn = Dsn(template.user, name, template.hosts, template.password)
        service = monorepo.service("billing", "__all__ = []\n", dsn)
        shared = Dsn(theirs.user, name, theirs.hosts, theirs.password)
        monorepo.env("sibling", DATABASE_DSN=dsn_text(shared))
        shutil.rmtree(service.versions, ignore_errors=True)
        return dsn, service

    yield fresh, monorepo
    for name in made:
        query(server.admin, f'DROP DATABASE "{name}" WITH (FORCE)')


def _of_the_sibling(dsn: Dsn) -> list[str]:
    return [line for line in catalog(dsn) if "sibling" in line]


def _but_versions(lines: list[str]) -> list[str]:
    return [line for line in lines if "alembic_version_" not in line]


def _nameless(lines: list[str]) -> list[str]:
    """Return the lines of a catalog, those of constraints and indexes without their names."""
    index, constraint = r"^(index) .+? (CREATE (UNIQUE )?INDEX) .+? ON", r"^(constraint) (.+?) (?=[A-Z]+ (KEY )?[(U])"
    lines = [line for line in lines if not re.match(r"relation .* i( unlogged)?$", line)]
    return sorted(re.sub(constraint, r"\1 ", re.sub(index, r"\1 \2 ON", line)) for line in lines)
