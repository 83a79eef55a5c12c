"""The hooks of a team's env.py in a comparison: each is called as Alembic calls it, and what it leaves out stays."""

from collections.abc import Callable

import pytest

import service_migrations
from service_migrations.environment import options
from service_migrations.monorepo import Service
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, wait
from tests.support.environment import write_hooks, written
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ENUM
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Customer", "Invoice"]


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)


class Invoice(Base):
    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("name", name="uq_new"),
        CheckConstraint("total > 0", name="ck_new"),
        Index("ix_new", "name"),
        Index("ix_changed", "total"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[int] = mapped_column(ForeignKey("customers.id", name="fk_new"))
    name: Mapped[str] = mapped_column(String(50))
    total: Mapped[int] = mapped_column(server_default=text("1"))
    new: Mapped[int]
"""

DATABASE = """
CREATE TABLE customers (id serial PRIMARY KEY);
CREATE TABLE invoices (
    id serial PRIMARY KEY, customer int NOT NULL, name text NOT NULL, total int NOT NULL DEFAULT 2, old int,
    CONSTRAINT uq_old UNIQUE (total), CONSTRAINT ck_old CHECK (total < 100),
    CONSTRAINT fk_old FOREIGN KEY (old) REFERENCES customers
);
CREATE INDEX ix_old ON invoices (customer);
CREATE INDEX ix_changed ON invoices (name, customer);
CREATE TABLE legacy (id int);
"""

EVERYTHING = {
    "table": {"drop_table legacy"},
    "column": {"add_column invoices.new", "drop_column invoices.old", "type text", "server_default 2"},
    "index": {"create_index ix_new", "drop_index ix_old", "create_index ix_changed", "drop_index ix_changed"},
    "unique_constraint": {"create_unique_constraint uq_new", "drop_constraint uq_old"},
    "foreign_key_constraint": {"create_foreign_key fk_new", "drop_constraint fk_old"},
    "check_constraint": {"create_check_constraint ck_new", "drop_constraint ck_old"},
}
"""What a comparison of the two finds, by the kind that Alembic gives to a hook."""


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    for statement in DATABASE.split(";"):
        if statement.strip():
            query(dsn, statement)
    return monorepo.service("billing", MODELS, dsn)


def differences(service: Service) -> str:
    return "\n".join(wait(service_migrations.check(service)).differences)


def test_without_a_hook_all_is_found(service: Service) -> None:
    all_differences = differences(service)
    for texts in EVERYTHING.values():
        for text in texts:
            assert text in all_differences


@pytest.mark.parametrize("kind", sorted(EVERYTHING))
def test_what_include_object_leaves_out_is_neither_added_nor_changed_nor_dropped(
    kind: str, monorepo: Monorepo, service: Service
) -> None:
    hook = f'lambda item, name, kind, reflected, other: kind != "{kind}" or name in ("invoices", "customers")'
    write_hooks(monorepo, f'OPTIONS["include_object"] = {hook}\n')
    all_differences = differences(service)
    for other, texts in EVERYTHING.items():
        for text in texts:
            if other == kind:
                assert text not in all_differences
            # a part of a column that nothing else is seen of is dropped with it
            elif kind != "column":
                assert text in all_differences


@pytest.mark.parametrize("kind", sorted(EVERYTHING))
def test_what_include_name_leaves_out_of_the_database_is_never_dropped(
    kind: str, monorepo: Monorepo, service: Service
) -> None:
    hook = f'lambda name, kind, parents: kind != "{kind}" or name in ("invoices", "customers")'
    write_hooks(monorepo, f'OPTIONS["include_name"] = {hook}\n')
    all_differences = differences(service)
    for other, texts in EVERYTHING.items():
        for text in texts:
            assert (text in all_differences) == (other != kind or "new" in text), text


def test_include_object_sees_what_alembic_would_show_it(monorepo: Monorepo, service: Service) -> None:
    write_hooks(
        monorepo,
        "def include(item, name, kind, reflected, other):\n"
        f'    with open({str(monorepo.root / "calls.txt")!r}, "a") as calls:\n'
        "        print(kind, name, reflected, type(item).__name__, type(other).__name__, file=calls)\n"
        "    return True\n"
        'OPTIONS["include_object"] = include\n',
    )
    differences(service)
    calls = set((monorepo.root / "calls.txt").read_text(encoding="utf-8").splitlines())
    assert calls >= {
        "table invoices False Table Table",
        "table legacy True Table NoneType",
        "column new False Column NoneType",
        "column old True Column NoneType",
        "column name False Column Column",
        "index ix_new False Index NoneType",
        "index ix_old True Index NoneType",
        "index ix_changed False Index Index",
        "unique_constraint uq_new False UniqueConstraint NoneType",
        "unique_constraint uq_old True UniqueConstraint NoneType",
        "foreign_key_constraint fk_old True ForeignKeyConstraint NoneType",
        "check_constraint ck_old True CheckConstraint NoneType",
    }


def test_a_table_that_a_hook_leaves_out_of_both_sides_keeps_its_enum_type(
    monorepo: Monorepo, service: Service, dsn: Dsn
) -> None:
    query(dsn, "CREATE TYPE mood AS ENUM ('glad')")
    query(dsn, "ALTER TABLE customers ADD mood mood")
    write_hooks(
        monorepo,
        'OPTIONS["include_object"] = lambda item, name, kind, reflected, other: name != "customers"\n',
    )
    all_differences = differences(service)
    assert "customers" not in all_differences.replace("REFERENCES customers", "")
    assert "mood" not in all_differences


@pytest.mark.parametrize(
    ("option", "line"), [("compare_type", "type text"), ("compare_server_default", "server_default 2")]
)
@pytest.mark.parametrize("answer", ["lambda *arguments: False", "False", "lambda *arguments: None", "True"])
def test_a_column_differs_unless_the_teams_comparison_says_no(
    option: str, line: str, answer: str, monorepo: Monorepo, service: Service
) -> None:
    write_hooks(monorepo, f'OPTIONS["{option}"] = {answer}\n')
    all_differences = differences(service)
    assert (line in all_differences) == ("False" not in answer)
    assert "add_column invoices.new" in all_differences


REWRITER = """
from alembic.autogenerate import rewriter
from alembic.operations import ops

writer = rewriter.Rewriter()
"""


def test_a_rewriter_finds_alembics_own_operations(monorepo: Monorepo, service: Service) -> None:
    write_hooks(
        monorepo,
        REWRITER + "@writer.rewrites(ops.DropTableOp)\n"
        "def keep(context, revision, op):\n"
        "    return []\n"
        "@writer.rewrites(ops.AddColumnOp)\n"
        "def nullable(context, revision, op):\n"
        "    op.column.nullable = True\n"
        '    return [op, ops.ExecuteSQLOp("VACUUM invoices")]\n'
        "@writer.rewrites(ops.ModifyTableOps)\n"
        "def no_index(context, revision, op):\n"
        "    return [] if any(isinstance(each, ops.DropIndexOp) for each in op.ops) else op\n"
        'OPTIONS["process_revision_directives"] = writer\n',
    )
    all_differences = differences(service)
    assert "legacy" not in all_differences
    assert "drop_index" not in all_differences
    code = written(monorepo, service)
    upgrade = code[code.index("def upgrade") : code.index("def downgrade")]
    assert "drop_table" not in upgrade
    assert "drop_index" not in upgrade
    assert '"new", sa.Integer(), nullable=True' in upgrade
    assert upgrade.index('"new", sa.Integer()') < upgrade.index("VACUUM invoices")
    assert "op.execute" in upgrade


def test_an_operation_that_a_hook_adds_is_written_and_what_it_leaves_is_written_as_before(
    monorepo: Monorepo, service: Service
) -> None:
    before = written(monorepo, service)
    for file in (monorepo.root / "migrations" / "versions" / "billing").glob("*.py"):
        file.unlink()
    write_hooks(
        monorepo,
        "from alembic.operations import ops\n"
        "def add(context, revision, directives):\n"
        '    directives[0].upgrade_ops.ops.append(ops.ExecuteSQLOp("SELECT 1"))\n'
        'OPTIONS["process_revision_directives"] = add\n',
    )
    after = written(monorepo, service)
    assert 'op.execute("SELECT 1")' in after

    def body(code: str) -> str:
        return code[code.index("def upgrade") :]

    assert body(after).replace('    op.execute("SELECT 1")\n', "") == body(before)


def test_a_revision_is_written_in_batches_and_with_the_prefixes_of_a_team(monorepo: Monorepo, service: Service) -> None:
    write_hooks(
        monorepo,
        'OPTIONS["render_as_batch"] = True\nOPTIONS["alembic_module_prefix"] = "alembic_op."\n',
    )
    template = monorepo.root / "migrations" / "script.py.mako"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("from alembic import op", "from alembic import op as alembic_op, op"), "utf-8")
    code = written(monorepo, service)
    assert 'op.batch_alter_table("invoices"' in code
    assert "alembic_op.execute(" in code
    wait(service_migrations.upgrade(service))
    assert differences(service) == ""


def test_a_name_that_is_nearly_an_options_is_warned_of(
    monorepo: Monorepo, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Alembic takes any name, for hooks that read it: a misspelt hook is never called, and its tables are dropped."""
    options._warn_of_misspelt.cache_clear()
    write_hooks(
        monorepo,
        """
OPTIONS["include_objects"] = lambda *arguments: False
OPTIONS["compare_servr_default"] = False
OPTIONS["include_object"] = lambda *arguments: True
OPTIONS["tenant"] = "a"
""",
    )
    assert "drop_table legacy" in differences(service)
    line = "migrations/env.py: Alembic has no option {}. Is {} meant?"
    misspelt = {"include_objects": "include_object", "compare_servr_default": "compare_server_default"}
    assert sorted(caplog.messages) == sorted(line.format(*names) for names in misspelt.items())
