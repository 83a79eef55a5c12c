"""A table that can't be compared is named and left as it is, and hides no difference of the others."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.errors import ConfigurationError, MigrationError
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.autogenerate import remodel
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo

HEAD = """
import sqlalchemy as sa
from sqlalchemy import *
from sqlalchemy.dialects.postgresql import *
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

class unknown_function(FunctionElement):
    inherit_cache = True
    type = Text()

class Absent(UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **keywords):
        return "absent"

class Broken(UserDefinedType):
    cache_ok = True
    def get_col_spec(self, **keywords):
        raise KeyError("spec")

metadata = MetaData(naming_convention={{
    "ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s",
}})
others = MetaData()
__all__ = [{names}]
first = Table("first", metadata, Column("id", Integer, primary_key=True){more})
last = Table("last", metadata, Column("id", Integer, primary_key=True){more})
"""
ODD = 'odd = Table("odd", metadata, Column("id", Integer, primary_key=True), Column("ref", Text){})\n'
LONG = "n" * 70

CASES = {
    "an unknown function in a CHECK": (ODD.format(', CheckConstraint("absent(ref) > 0", name="a")'), "absent(text)"),
    "a construct without SQL": (
        ODD.format(', CheckConstraint(unknown_function(column("ref")) > "a", name="a")'),
        "odd",
    ),
    "an unknown type": (ODD.format(', Column("more", Absent())'), 'type "absent" does not exist'),
    "a type whose code fails": (ODD.format(', Column("more", Broken())'), "column more: KeyError: 'spec'"),
    "a default of another type": (ODD.format(', Column("n", Integer, server_default="words")'), "invalid input syntax"),
    "a long name of an index": (ODD.format(f', Index("{LONG}", "ref")'), "63 characters"),
    "a long name of a column": (ODD.format(f', Column("{LONG}", Text)'), "more than the 63 bytes"),
    "a foreign key to no column": (ODD.format(', Column("f", ForeignKey("first.absent"))'), "odd.f"),
    "a foreign key to no table": (ODD.format(', Column("f", ForeignKey("absent.id"))'), "doesn't export"),
    "two foreign keys of one name": (
        ODD.format(
            ', ForeignKeyConstraint(["id"], ["first.id"], name="a")'
            ', ForeignKeyConstraint(["id"], ["last.id"], name="a")'
        ),
        "two foreign keys named a",
    ),
    "a long label": (ODD.format(f', Column("state", Enum("{LONG}", name="state"))'), "invalid enum label"),
    "a table that isn't exported": ('odd = Table("odd", others, Column("id", Integer))\n', "doesn't name it"),
    "two tables of one name": (
        ODD.format("") + 'twin = Table("odd", others, Column("id", Integer))\n__all__.append("twin")\n',
        "two exported models",
    ),
}


def models(odd: str, more: str = "") -> str:
    return HEAD.format(names='"metadata"', more=more) + odd


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


def columns(dsn: Dsn, table: str) -> list[str]:
    rows = query(dsn, f"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('{table}') AND attnum > 0")  # noqa: S608
    return [row[0] for row in rows]


def upgraded(monorepo: Monorepo, dsn: Dsn, odd: str = ODD.format("")) -> service_migrations.Service:
    """Return a service whose tables exist, the odd one too, before it becomes odd."""
    service = monorepo.service("billing", models(odd), dsn)
    wait(service_migrations.revision(service, "create"))
    wait(service_migrations.upgrade(service))
    return service


def raised(service: service_migrations.Service) -> str:
    """Return the error of a check that finds nothing else: who only asks for differences mustn't pass it over."""
    with pytest.raises(ConfigurationError) as caught:
        wait(service_migrations.check(service))
    assert caught.value.service == "billing"
    return str(caught.value)


FAULTS = (
    "a foreign key to no column",
    "a long name of a column",
    "a table that isn't exported",
    "two tables of one name",
)
"""Those of the models alone, which stop an upgrade."""


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_others_are_compared_and_it_is_named(case: str, exists: bool, monorepo: Monorepo, dsn: Dsn) -> None:
    odd, reason = CASES[case]
    service = upgraded(monorepo, dsn, ODD.format("") if exists else "")
    remodel(monorepo, service, models(odd, ', Column("note", Text)'))
    result = wait(service_migrations.check(service))
    assert list(result.differences) == ["add_column first.note: note text", "add_column last.note: note text"]
    assert len(result.uncompared) == 1
    assert reason in str(result.uncompared[0])
    assert "odd" in str(result.uncompared[0]).replace("odder", "odd")
    assert result.uncompared[0].exit_code == 78
    before = columns(dsn, "odd")
    revision = wait(service_migrations.revision(service, "change"))
    assert revision is not None
    assert "'odd" not in (monorepo.root / revision.path).read_text().replace('"', "'")
    if case in FAULTS:
        with pytest.raises(ConfigurationError, match=re.escape(reason)):
            wait(service_migrations.upgrade(service))
        return
    wait(service_migrations.upgrade(service))
    assert (columns(dsn, "first"), columns(dsn, "odd")) == (["id", "note"], before)
    with pytest.raises(ConfigurationError, match="billing: "):
        wait(service_migrations.revision(service, "again"))


def test_of_two_tables_with_other_labels_for_one_type_the_later_is_left_as_it_is(monorepo: Monorepo, dsn: Dsn) -> None:
    odd = 'Table("{}", metadata, Column("id", Integer), Column("state", Enum("{}", name="state")))\n'
    service = monorepo.service("billing", models(odd.format("a", "new") + odd.format("b", "old")), dsn)
    result = wait(service_migrations.check(service))
    assert next(iter(result.differences)) == "create_type state (new)"
    assert {"create_table a", "create_table first"} <= set(result.differences)
    assert ["b.state: another column" in str(error) for error in result.uncompared] == [True]
    wait(service_migrations.revision(service, "change"))
    wait(service_migrations.upgrade(service))
    assert "b.state: another column" in raised(service)


def test_a_type_of_it_is_neither_altered_nor_dropped(monorepo: Monorepo, dsn: Dsn) -> None:
    state = ', Column("state", Enum({}, name="state"))'
    service = upgraded(monorepo, dsn, ODD.format(state.format('"new"')))
    remodel(monorepo, service, models(ODD.format(state.format('"new", "old"') + ', Column("more", Absent())')))
    assert "absent" in raised(service)
    remodel(monorepo, service, models(ODD.format(', Column("more", Absent())')))
    assert "absent" in raised(service)


def test_a_new_table_that_refers_to_it_waits_until_it_exists(monorepo: Monorepo, dsn: Dsn) -> None:
    odd = ODD.format(', Column("more", {})')
    line = 'Table("line", metadata, Column("odd", ForeignKey("odd.id")))\n'
    service = monorepo.service("billing", models(odd.format("Absent()") + line), dsn)
    result = wait(service_migrations.check(service))
    assert list(result.differences) == ["create_table first", "create_table last"]
    assert "table line refers to odd" in str(result.uncompared[1])
    wait(service_migrations.revision(service, "create"))
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, models(odd.format("Text") + line))
    wait(service_migrations.revision(service, "more"))
    wait(service_migrations.upgrade(service))
    remodel(monorepo, service, models(odd.format("Absent()") + line))
    assert "absent" in raised(service)


def test_one_that_may_not_be_read_hides_no_other(monorepo: Monorepo, dsn: Dsn, server: Server) -> None:
    """A privilege that one table needs isn't that for temporary tables."""
    run_script(
        replace(server.admin, database=dsn.database),
        ["CREATE SCHEMA secret", "CREATE TYPE secret.kind AS ENUM ('a')", "REVOKE ALL ON SCHEMA secret FROM PUBLIC"],
    )
    odd = HEAD.replace('return "absent"', 'return "secret.kind"').format(names='"metadata"', more="")
    service = monorepo.service("billing", odd + ODD.format(', Column("more", Absent())'), dsn)
    result = wait(service_migrations.check(service))
    assert list(result.differences) == ["create_table first", "create_table last"]
    assert [error.exit_code for error in result.uncompared] == [77]
    assert "permission denied for schema secret" in str(result.uncompared[0])


def test_without_temporary_tables_the_others_are_compared_too(monorepo: Monorepo, dsn: Dsn, server: Server) -> None:
    service = upgraded(monorepo, dsn)
    admin = replace(server.admin, database=dsn.database)
    run_script(
        admin,
        [
            f'REVOKE TEMPORARY ON DATABASE "{dsn.database}" FROM PUBLIC, "{dsn.user}"',
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            f'GRANT CREATE ON SCHEMA public TO "{dsn.user}"',
            f'ALTER DATABASE "{dsn.database}" OWNER TO {admin.user}',
        ],
    )
    remodel(
        monorepo, service, models(ODD.format(', Column("more", Broken()), Column("n", Text)'), ', Column("note", Text)')
    )
    result = wait(service_migrations.check(service))
    assert len(result.differences) == 2
    assert all("note" in line for line in result.differences)
    assert "column more: KeyError" in str(result.uncompared[0])


def test_the_command_prints_both_and_ends_with_the_gravest_code(monorepo: Monorepo, dsn: Dsn) -> None:
    service = upgraded(monorepo, dsn)
    remodel(monorepo, service, models(ODD.format(', Column("more", Absent())'), ', Column("note", Text)'))
    ran = monorepo.inv("db.check")
    assert (ran.code, len(ran.out.splitlines())) == (78, 2), ran.text
    assert "billing: services/billing/models.py: the models' table odd can't be created" in ran.err
    ran = monorepo.inv("db.check", "--json")
    (checked,) = json.loads(ran.out)
    assert [error["exit_code"] for error in checked["uncompared"]] == [78]
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "change")
    assert ran.code == 0, ran.text
    cause = "services/billing/models.py: the models' table odd can't be created"
    assert f"This revision leaves a table as it is. billing: {cause}" in ran.err
    assert monorepo.inv("db.upgrade").code == 0
    ran = monorepo.inv("db.check")
    assert (ran.code, ran.out) == (78, ""), ran.text
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "again")
    assert (ran.code, ran.err.count("can't be created")) == (78, 1), ran.text
    assert "This revision" not in ran.err, "none is written"


def test_what_is_wrong_without_any_table_is_no_tables_error(monorepo: Monorepo, dsn: Dsn) -> None:
    """The same error for each table is raised once, as where a hook of env.py fails."""
    service = upgraded(monorepo, dsn)
    path = monorepo.root / "migrations" / "env.py"
    text = path.read_text()
    hook = "def include_object(*_): raise KeyError('hook')\n\n\n"
    text = text.replace("def ", f"{hook}def ", 1) if "def " in text else text
    path.write_text(text.replace("configure(connection", "configure(connection, include_object=include_object"))
    assert "include_object=include_object" in path.read_text()
    with pytest.raises(MigrationError, match="hook"):
        wait(service_migrations.check(service))


def test_several_are_all_named(monorepo: Monorepo, dsn: Dsn) -> None:
    service = upgraded(monorepo, dsn)
    odd = ODD.format(', Column("more", Absent())')
    remodel(monorepo, service, models(odd + odd.replace("odd", "odder").replace("Absent", "Broken")))
    text = raised(service)
    assert "2 tables can't be compared: " in text
    assert text.count("\n") == 0
    assert all(part in text for part in ("table odd can't be created", "table odder, column more: KeyError"))
