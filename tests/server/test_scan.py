"""Nothing to do is found out without Alembic, and never said where it isn't sure."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.history.files.static import read_chain
from service_migrations.monorepo import discover
from service_migrations.rollout.scan import KnownState, scan
from service_migrations.rollout.schemas import UNSURE, Schemas
from service_migrations.settings.dsn import Dsn
from service_migrations.settings.model import load
from tests.support.database import query, wait
from tests.support.monorepo import MODELS, ROOT, Monorepo, dsn_text

SCHEMA_MODELS = MODELS.replace("class Base(DeclarativeBase):\n    pass", "class Base(DeclarativeBase):\n    metadata = MetaData(schema='own')")  # fmt: skip # noqa: E501
SCHEMA_MODELS = SCHEMA_MODELS.replace("import String", "import MetaData, String")


@pytest.fixture
def world(monorepo: Monorepo, database: Callable[..., Dsn]) -> tuple[Monorepo, Dsn]:
    """Make one service that is at head, the second of two revisions."""
    dsn = database()
    monorepo.service("billing", dsn=dsn)
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1")
    wait(service_migrations.upgrade(monorepo.find("billing")))
    return monorepo, dsn


def look(monorepo: Monorepo) -> KnownState:
    service = monorepo.find("billing")
    return wait(scan([load(service)])).states[service]


def test_a_database_at_head_is_known_to_be_there(world):
    state = look(world[0])
    assert state.at_head
    assert (state.current, state.pending) == (("b2",), 0)


def test_of_a_service_at_head_only_the_head_is_held_so_that_hundreds_take_little_memory(world):
    state = look(world[0])
    assert state.chain is not None
    assert [revision.revision for revision in state.chain.revisions] == ["b2"]
    assert state.chain.checksums == {}
    world[0].revision("billing", "c3", "b2")
    behind = look(world[0])
    assert behind.chain is not None
    assert (behind.chain.ids, behind.pending) == (("a1", "b2", "c3"), 1)


def test_neither_alembic_nor_the_orm_is_imported_where_there_is_nothing_to_do(world):
    monorepo, _ = world
    for words in (["db.upgrade"], ["db.upgrade", "--service", "billing"]):
        ran = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "invoke", *words],
            cwd=monorepo.root,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "billing: nothing to do, " in ran.stdout
        imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
        assert "asyncpg" in imported
        assert not {module for module in imported if module.partition(".")[0] in ("alembic", "services", "mako")}
        assert not {"sqlalchemy.orm", "sqlalchemy.ext.asyncio"} & imported


def change(monorepo: Monorepo, before: str, after: str) -> None:
    path = monorepo.root / "migrations" / "versions" / "billing" / "b2.py"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


FILES: dict[str, Callable[[Monorepo], object]] = {
    "edited": lambda repo: change(repo, "    pass", "    op.execute('SELECT 1')"),
    "two heads": lambda repo: repo.revision("billing", "c3", "a1"),
    "a file more": lambda repo: repo.revision("billing", "c3", "b2"),
    "an id that is computed": lambda repo: change(repo, "revision = 'b2'", "revision = str('b2')"),
    "an id that is bound twice": lambda repo: change(repo, "revision = 'b2'", "revision = 'b2'\nrevision = 'b2'"),
    "an id in a condition": lambda repo: change(repo, "revision = 'b2'", "if True:\n    revision = 'b2'"),
    "several parents": lambda repo: change(repo, "down_revision = 'a1'", "down_revision = ('a1',)"),
    "a branch label": lambda repo: change(repo, "\n\ndef", "\nbranch_labels = ('x',)\n\ndef"),
    "a dependency": lambda repo: change(repo, "\n\ndef", "\ndepends_on = 'x'\n\ndef"),
    "a syntax error": lambda repo: change(repo, "def upgrade", "def ("),
    "another schema of the models": lambda repo: repo.service("billing", SCHEMA_MODELS.format(table="billing")),
}
OTHER = 'CREATE SCHEMA other AUTHORIZATION "{user}"'
DATABASES = {
    "an unknown revision": ["UPDATE alembic_version_billing SET version_num = 'z9'"],
    "no version table": ["DROP TABLE alembic_version_billing"],
    "no row": ["DELETE FROM alembic_version_billing"],
    "several rows": ["INSERT INTO alembic_version_billing VALUES ('a1')"],
    "two version tables": [OTHER, "CREATE TABLE other.alembic_version_billing (version_num text)"],
    "one in another schema": [OTHER, "ALTER TABLE alembic_version_billing SET SCHEMA other"],
    "a view": [
        "ALTER TABLE alembic_version_billing RENAME TO hidden",
        "CREATE VIEW alembic_version_billing AS SELECT * FROM hidden",
    ],
    "not readable": ['REVOKE SELECT ON alembic_version_billing FROM "{user}"'],
    "a ledger that is not readable": ['REVOKE SELECT ON migration_log_billing FROM "{user}"'],
}


@pytest.mark.parametrize("doubt", [*FILES, *DATABASES])
def test_in_any_doubt_the_full_way_is_gone(world, doubt):
    monorepo, dsn = world
    if doubt in FILES:
        FILES[doubt](monorepo)
    for statement in DATABASES.get(doubt, []):
        query(dsn, statement.format(user=dsn.user))
    assert not look(monorepo).at_head


def test_with_another_search_path_another_version_table_would_be_meant(world):
    monorepo, dsn = world
    query(dsn, OTHER.format(user=dsn.user))
    monorepo.env("billing", DATABASE_DSN=dsn_text(dsn), MIGRATIONS_SEARCH_PATH="other")
    assert not look(monorepo).at_head


@pytest.mark.parametrize(("doubt", "code"), [("edited", 3), ("two heads", 2)])
def test_the_full_way_then_says_what_is_wrong(world, doubt, code):
    monorepo, _ = world
    FILES[doubt](monorepo)
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code == code, ran.text
    assert "nothing to do" not in ran.out


RENAMED = "\n\ndef _rename():\n    global revision\n    revision = 'p9'\n\n\n_done = _rename()\n"


def test_an_id_that_a_file_binds_again_when_it_is_imported_is_for_alembic_to_tell(world):
    """Without a ledger nothing else tells that the file isn't the one that ran."""
    monorepo, dsn = world
    query(dsn, "DROP TABLE migration_log_billing")
    path = monorepo.root / "migrations" / "versions" / "billing" / "b2.py"
    path.write_text(path.read_text(encoding="utf-8") + RENAMED, encoding="utf-8")
    ran = monorepo.inv("db.upgrade", "--service", "billing")
    assert ran.code != 0
    assert "nothing to do" not in ran.text


def test_line_ends_of_a_checkout_are_no_edit(world):
    monorepo, _ = world
    for path in (monorepo.root / "migrations/versions/billing").glob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert look(monorepo).at_head


def test_a_version_table_in_the_schema_of_the_models_is_found(monorepo, database):
    dsn = database()
    query(dsn, f'CREATE SCHEMA own AUTHORIZATION "{dsn.user}"')
    monorepo.service("billing", SCHEMA_MODELS.format(table="billing"), dsn=dsn)
    monorepo.revision("billing", "a1", None)
    wait(service_migrations.upgrade(monorepo.find("billing")))
    assert query(dsn, "SELECT version_num FROM own.alembic_version_billing")[0][0] == "a1"
    assert look(monorepo).at_head


def test_an_empty_database_is_at_base_and_all_is_pending(monorepo, database):
    monorepo.service("billing", dsn=database())
    monorepo.revision("billing", "a1", None)
    state = look(monorepo)
    assert (state.current, state.pending, state.at_head) == ((), 1, False)


def test_a_server_that_nobody_reaches_is_an_error_at_once(monorepo, database):
    dsn = replace(database(), hosts=(("127.0.0.1", 1),))
    monorepo.service("billing", dsn=dsn)
    monorepo.revision("billing", "a1", None)
    error = look(monorepo).error
    assert error is not None
    assert error.exit_code == 69


@pytest.mark.parametrize("service", discover(ROOT), ids=str)
def test_the_histories_of_this_repository_are_read_as_alembic_reads_them(service):
    chain = read_chain(service)
    assert chain is not None
    history = wait(service_migrations.history(service))
    assert list(chain.ids) == [revision.revision for revision in reversed(history.revisions)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metadata = MetaData()", None),
        ("# schema\nmetadata = MetaData(naming_convention={})", None),
        ('metadata = MetaData(schema="own")', "own"),
        ('metadata = sa.MetaData(schema="own", naming_convention=C)', "own"),
        ("metadata = MetaData(schema=None)", None),
        ("metadata = MetaData(schema=SCHEMA)", UNSURE),
        ("metadata = MetaData(**schema)", UNSURE),
        ('metadata = MetaData("schema")', UNSURE),
        ('a = MetaData(schema="a"); b = MetaData(schema="b")', UNSURE),
        ('metadata.schema = "own"', UNSURE),
        ("from sqlalchemy import MetaData as M", UNSURE),
        ("from sqlalchemy import (\n    MetaData as M,\n)", UNSURE),
        ('metadata = sa.MetaData("elsewhere")', UNSURE),
        ('M = sa.MetaData; metadata = M("elsewhere")', UNSURE),
        ('from sqlalchemy import MetaData\nM = MetaData\nmetadata = M("elsewhere")', UNSURE),
        ("class Own(MetaData):\n    pass", UNSURE),
        ('metadata = partial(MetaData, "elsewhere")()', UNSURE),
        ("from sqlalchemy import MetaData, String\nmetadata = MetaData(naming_convention=naming.C)", None),
        ("from sqlalchemy import (\n    MetaData,\n)\nmetadata: ClassVar[MetaData] = MetaData()", None),
        ("def of(metadata: MetaData) -> MetaData: return metadata", None),
        ('__table_args__ = {"schema": "own"}', None),
        ('class Base(orm.DeclarativeBase):\n    metadata: ClassVar[MetaData] = MetaData(schema="own")', "own"),
        ('Base = declarative_base(metadata=MetaData(schema="own"))', "own"),
        ('a = MetaData(schema="own"); b = MetaData()', UNSURE),
        ('class Base(DeclarativeBase): pass\nmetadata = MetaData(schema="own")', UNSURE),
        ('class Base(orm.DeclarativeBase):\n    id = 1\nmetadata = MetaData(schema="own")', UNSURE),
        ('Base = orm.declarative_base()\nmetadata = MetaData(schema="own")', UNSURE),
        ('mapper = registry()\nmetadata = MetaData(schema="own")', UNSURE),
        ('class Event(SQLModel, table=True): pass\nmetadata = MetaData(schema="own")', UNSURE),
    ],
)
def test_the_schema_of_models_is_read_or_unsure(monorepo, text, expected):
    service = monorepo.service("billing", text)
    assert Schemas(service.root).of(service) == expected


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("from services._common.base import Base", "elsewhere"),
        ("from services._common import base", "elsewhere"),
        ("from services._common import *", "elsewhere"),
        ("from ... _common.base import Base", None),  # as Python, which finds nothing there
        ("from .._common . base import Base", "elsewhere"),
        ("import services._common.base", "elsewhere"),
        ("import json, services . \\\n _common.base as own", "elsewhere"),
        ("from services._common import (  # the (old) one\n    more,\n    base as own,\n)", "elsewhere"),
        ("def f():\n    from services \\\n    ._common import base", "elsewhere"),
        ("if True: from services._common.more import Base", "elsewhere"),
        ("from services._common.loop import Base", None),
        ("from services.other import base", None),
        ("import importlib\nBase = importlib.import_module('services._common.' + 'base').Base", UNSURE),
    ],
)
def test_the_schema_of_a_base_that_models_import_from_anywhere_counts(monorepo, models, expected):
    service = monorepo.service("billing", models)
    common = monorepo.root / "services" / "_common"
    common.mkdir()
    (common / "base.py").write_text('metadata = sa.MetaData(schema="elsewhere")', encoding="utf-8")
    (common / "more.py").write_text("from .base import metadata", encoding="utf-8")
    (common / "loop.py").write_text("from services._common import loop", encoding="utf-8")
    assert Schemas(service.root).of(service) == expected


def test_only_the_models_that_a_service_imports_count(monorepo):
    services = [monorepo.service(name, text) for name, text in (("alpha", "import shared_models.own"), ("beta", ""))]
    (monorepo.root / "shared_models" / "own.py").write_text('metadata = MetaData(schema="own")', encoding="utf-8")
    schemas = Schemas(monorepo.root)
    assert [schemas.of(service) for service in services] == ["own", None]


@pytest.mark.parametrize("base", ['MetaData(schema="elsewhere")', 'MetaData("elsewhere")'])
def test_an_upgrade_and_a_check_agree_on_where_the_version_table_is(world, base):
    monorepo, _ = world
    common = monorepo.root / "services" / "_common"
    common.mkdir()
    text = "import sqlalchemy as sa\nfrom sqlalchemy.orm import DeclarativeBase\n\n\n"
    text += f"class Base(DeclarativeBase):\n    metadata = sa.{base}\n"
    (common / "base.py").write_text(text, encoding="utf-8")
    models = MODELS.format(table="billing").replace(
        "class Base(DeclarativeBase):\n    pass\n", "from services._common.base import Base\n"
    )
    monorepo.service("billing", models.replace("DeclarativeBase, ", ""), dsn=world[1])
    for task in ("db.check", "db.upgrade"):
        ran = monorepo.inv(task)
        assert ran.code == 78
        assert "is also in another schema than the one that is used (elsewhere): public." in ran.text
