"""env.py: a team's own options of ``context.configure()``, beside the library's."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, UsageError
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.environment import write_hooks, written
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import String
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

__all__ = ["Base", "Customer", "Invoice"]


class Money(UserDefinedType):
    cache_ok = True

    def get_col_spec(self):
        return "money"


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(ENUM("new", "old", name="kind"))


class Invoice(Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int] = mapped_column(Money())
"""


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    return monorepo.service("billing", MODELS, dsn)


def test_an_object_is_compared_where_both_agree(monorepo: Monorepo, service: Service, dsn: Dsn) -> None:
    write_hooks(
        monorepo,
        'OPTIONS["include_object"] = lambda item, name, kind, reflected, other: name != "invoices"\n'
        'OPTIONS["include_name"] = lambda name, kind, parents: name != "legacy"\n',
    )
    query(dsn, "CREATE TABLE legacy (id int)")
    query(dsn, "CREATE TABLE left_over (id int)")
    text = " ".join(wait(service_migrations.check(service)).differences)
    assert "customers" in text
    assert "left_over" in text
    assert "alembic_version" not in text
    assert "invoices" not in text
    assert "legacy" not in text
    code = written(monorepo, service)
    assert "customers" in code
    assert "invoices" not in code
    assert "legacy" not in code


def test_the_directives_of_a_team_are_processed_before_ours(monorepo: Monorepo, service: Service) -> None:
    write_hooks(
        monorepo,
        "def leave_out_tables(migration_context, revision, directives):\n"
        "    if context.config.cmd_opts.autogenerate:\n"
        "        directives[0].upgrade_ops.ops.clear()\n"
        'OPTIONS["process_revision_directives"] = leave_out_tables\n',
    )
    assert wait(service_migrations.check(service)).differences != ()
    assert written(monorepo, service) == ""


def test_what_a_team_leaves_out_of_every_comparison_is_no_difference(monorepo: Monorepo, service: Service) -> None:
    write_hooks(
        monorepo,
        "def leave_out_tables(migration_context, revision, directives):\n"
        "    directives[0].upgrade_ops.ops.clear()\n"
        "    directives.clear()\n"
        'OPTIONS["process_revision_directives"] = leave_out_tables\n',
    )
    assert wait(service_migrations.check(service)).differences == ()
    assert written(monorepo, service) == ""


def test_a_refusal_of_ours_stands_beside_a_teams_directives(monorepo: Monorepo, service: Service, dsn: Dsn) -> None:
    write_hooks(monorepo, 'OPTIONS["process_revision_directives"] = lambda *_: None\n')
    written(monorepo, service)
    wait(service_migrations.upgrade(service))
    query(dsn, "ALTER TABLE customers ALTER kind TYPE varchar(20)")
    query(dsn, "CREATE VIEW kinds AS SELECT kind FROM customers")
    assert wait(service_migrations.check(service)).differences != ()
    with pytest.raises(UsageError, match="by hand"):
        wait(service_migrations.revision(service, "change"))


def test_a_team_renders_first_and_the_library_what_it_leaves(monorepo: Monorepo, service: Service) -> None:
    write_hooks(
        monorepo,
        "def render(kind, item, autogen):\n"
        '    return "sa.Text()" if kind == "type" and type(item).__name__ == "Money" else False\n'
        'OPTIONS["render_item"] = render\n',
    )
    code = written(monorepo, service)
    assert '"total", sa.Text()' in code
    assert "create_type=False" in code


def test_a_team_hears_of_each_revision_and_the_ledger_too(monorepo: Monorepo, service: Service, dsn: Dsn) -> None:
    monorepo.table_revision("billing", "a1", None)
    monorepo.table_revision("billing", "b2", "a1", "more")
    write_hooks(
        monorepo,
        "def hear(ctx, step, heads, run_args):\n"
        "    ctx.connection.exec_driver_sql(f\"COMMENT ON TABLE billing IS '{step.up_revision_id}'\")\n"
        'OPTIONS["on_version_apply"] = hear\n',
    )
    wait(service_migrations.upgrade(service))
    assert query(dsn, "SELECT obj_description('billing'::regclass)")[0][0] == "b2"
    assert [entry.revision for entry in wait(service_migrations.log(service))] == ["b2", "a1"]


def test_any_other_option_reaches_alembic(monorepo: Monorepo, service: Service) -> None:
    write_hooks(monorepo, 'OPTIONS["user_module_prefix"] = "ours."\n')
    assert "ours.Money" in written(monorepo, service)


@pytest.mark.parametrize("option", ["version_table", "target_metadata", "transaction_per_migration"])
def test_an_option_that_is_decided_elsewhere_is_refused(
    option: str, monorepo: Monorepo, service: Service, dsn: Dsn
) -> None:
    monorepo.table_revision("billing", "a1", None)
    write_hooks(monorepo, f'OPTIONS["{option}"] = None\n')
    for refused in (service_migrations.upgrade(service), service_migrations.sql(service, "head")):
        with pytest.raises(ConfigurationError, match=rf"migrations/env\.py: {option} is no option there"):
            wait(refused)
    assert tables(dsn) <= {"alembic_version_billing"}


def test_the_sql_makes_the_schema_of_the_models_where_it_begins_at_base(monorepo: Monorepo) -> None:
    models = MODELS.replace("    pass\n", '    metadata = MetaData(schema="Own")\n').replace(
        "import String", "import MetaData, String"
    )
    service = monorepo.service("billing", models)
    monorepo.table_revision("billing", "a1", None)
    monorepo.table_revision("billing", "b2", "a1", "more")
    assert wait(service_migrations.sql(service, "head")).startswith('CREATE SCHEMA IF NOT EXISTS "Own";\n\n')
    for part in (service_migrations.sql(service, "a1:b2"), service_migrations.sql(service, "b2:a1", down=True)):
        assert "CREATE SCHEMA" not in wait(part)
