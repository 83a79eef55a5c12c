"""Functions, operators and types of a hostile role: none runs with the rights of whoever uses the library."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script
from tests.support.monorepo import Monorepo
from tests.support.shadows import plant, used_names

ONE = ("--service", "billing")
COMMANDS: list[tuple[str, ...]] = [
    ("db.status",),
    ("db.wait", *ONE),
    ("db.plan", *ONE),
    ("db.upgrade",),
    ("db.upgrade", *ONE),
    ("db.status",),
    ("db.current", *ONE),
    ("db.show", *ONE, "--revision", "a2"),
    ("db.history", *ONE),
    ("db.wait", *ONE, "--head", "--timeout", "60s"),
    ("db.log", *ONE),
    ("db.check", *ONE),
    ("db.doctor",),
    ("db.locks",),
    ("db.owners",),
    ("db.drift", *ONE),
    ("db.create", *ONE),
    ("db.alembic", *ONE, "--", "current"),
    ("db.alembic", *ONE, "--", "check"),
    ("db.revision", *ONE, "--message", "alter", "--rename", "billing.note:body"),
    ("db.upgrade", *ONE),
    ("db.downgrade", *ONE, "--revision", "a1", "--yes", "--allow", "destructive"),
    ("db.stamp", *ONE, "--revision", "a2", "--yes"),
    ("db.stamp", *ONE, "--revision", "a1", "--purge", "--yes"),
    ("db.upgrade", *ONE, "--revision", "a1"),
]
MODELS = """
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Billing"]


class Base(DeclarativeBase):
    pass


class Billing(Base):
    __tablename__ = "billing"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    body: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str | None] = mapped_column(ENUM("new", "old", name="state"))
    parent: Mapped[int | None] = mapped_column(ForeignKey("billing.id"))
    __table_args__ = (CheckConstraint("id > 0", name="positive"), Index("ix_name", "name"))
"""


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    """A database of a role that may create databases; everybody may create in its schema public."""
    dsn = database(creates=True)
    run_script(
        dsn,
        [
            "CREATE SEQUENCE public.ran",
            "GRANT ALL ON SEQUENCE public.ran TO PUBLIC",
            "CREATE TABLE billing_wide (id int)",
        ],
    )
    return dsn


@pytest.fixture
def hostile(server: Server, database: Callable[..., Dsn], dsn: Dsn) -> Dsn:
    query(replace(server.admin, database=dsn.database), "GRANT CREATE ON SCHEMA public TO PUBLIC")
    return database(shared=dsn)


def make_world(monorepo: Monorepo, dsn: Dsn) -> Monorepo:
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision(
        "billing",
        "a2",
        "a1",
        'op.add_column("billing", sa.Column("note", sa.Text))\n'
        "from service_migrations.safe import concurrent_index\n"
        'concurrent_index("ix_billing_note", "billing", ["note"])',
        'op.drop_index("ix_billing_note")\nop.drop_column("billing", "note")',
    )
    monorepo.service("billing", MODELS, dsn=dsn, MIGRATIONS_SEARCH_PATH='public, "$user", public')
    return monorepo


def ran(dsn: Dsn) -> bool:
    return bool(query(dsn, "SELECT is_called FROM public.ran")[0][0])


def test_what_our_sql_uses_is_found() -> None:
    functions, operators, types = used_names()
    assert {"to_regclass", "quote_ident", "pg_table_is_visible", "set_config", "aclexplode"} <= functions
    assert {"=", "<>", "~", "!~", "||", "->>", "<", "~~"} <= operators
    assert {"text", "regclass", "name", "oid"} <= types


@pytest.mark.parametrize("role", ["owner", "superuser"])
def test_no_command_runs_what_a_hostile_role_planted(
    server: Server, monorepo: Monorepo, dsn: Dsn, hostile: Dsn, role: str
) -> None:
    planted = plant(hostile, "public")
    assert {"=", "quote_ident", "set_config", "text", "regclass"} <= planted
    # the shadows work: this is what a query of ours must not do
    admin = replace(server.admin, database=dsn.database)
    with pytest.raises(Exception, match="shadow of"):
        query(dsn, "SELECT FROM pg_class WHERE relname = 'pg_class'::varchar")
    with pytest.raises(Exception, match="shadow of"):
        query(admin, "SELECT quote_ident(relname) FROM pg_class")
    query(dsn, "SELECT pg_catalog.setval('public.ran', 1, false)")
    if role == "superuser":
        # an upgrade by a superuser is refused as long as everybody may create there; what is planted stays
        query(admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    world = make_world(monorepo, admin if role == "superuser" else dsn)
    problems = []
    for words in COMMANDS:
        result = world.inv(*words)
        # in a scratch database of PostgreSQL 14 everybody may create, which stops a superuser
        refused = role == "superuser" and words[0] == "db.drift" and "REVOKE CREATE ON SCHEMA public" in result.text
        failed = result.code not in (0, 3) and not refused
        if ran(dsn) or failed or "shadow of" in result.text or "Traceback" in result.text:
            problems.append((words, result.code, result.text[-900:]))
            query(dsn, "SELECT pg_catalog.setval('public.ran', 1, false)")
    assert not problems, "\n\n".join(map(str, problems))
