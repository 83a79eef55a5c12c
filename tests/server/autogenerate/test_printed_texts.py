"""Texts that the server prints for a comparison, in a database or for a role that has settings of its own."""

from collections.abc import Callable

import pytest

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query
from tests.support.monorepo import Monorepo

MODELS = """
from sqlalchemy import *

__all__ = ["metadata", "things"]
metadata = MetaData()
things = Table("things", metadata, Column("id", Integer, primary_key=True),
    Column("name", String(50)),{more}
    CheckConstraint("name <> ''", name="things_named"),
    Index("ix_things_name", "name", postgresql_where=text("id > 5")),
)
"""
MORE = """
    Column("day", Date, server_default=text("'03/02/2020'::date")),
    Column("data", LargeBinary, server_default=text(r"'\\x0aff'::bytea")),
    Column("part", Double, server_default=text("0.1234567890123::float8")),
"""
SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "quote_all_identifiers": "on",
}


@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_settings_of_a_database_or_a_role_make_no_difference_and_reach_no_file(
    of: str, monorepo: Monorepo, database: Callable[..., Dsn], server: Server
) -> None:
    """With quotes everywhere each index differed, and a file's 03/02/2020 is another day in another database."""
    dsn = database()
    for name, value in SETTINGS.items():
        query(server.admin, f'ALTER {of} "{dsn.user if of == "ROLE" else dsn.database}" SET {name} = {value}')
    monorepo.service("billing", MODELS.format(more=MORE), dsn)
    for words in (("db.revision", "--service", "billing", "--message", "things"), ("db.upgrade",), ("db.check",)):
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text
    monorepo.service("billing", MODELS.format(more=""), dsn)
    assert monorepo.inv("db.revision", "--service", "billing", "--message", "fewer").code == 0
    folder = monorepo.root / "migrations/versions/billing"
    (text,) = [path.read_text(encoding="utf-8") for path in folder.glob("*fewer*.py")]
    for written in ("'2020-02-03'::date", "x0aff'::bytea", "0.1234567890123"):
        assert written in text, text


@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_a_database_with_the_strings_of_old_is_compared(
    of: str, monorepo: Monorepo, database: Callable[..., Dsn], server: Server
) -> None:
    """Where a backslash in a string is an escape, our own queries failed, and a table or the history got the blame."""
    dsn = database(creates=True)
    name = dsn.user if of == "ROLE" else dsn.database
    query(server.admin, f'ALTER {of} "{name}" SET standard_conforming_strings = off')
    monorepo.service("billing", MODELS.format(more=""), dsn)
    selection = ("--service", "billing")
    tasks = (
        *(
            ("db.revision", *selection, "--message", "things"),
            ("db.upgrade",),
            ("db.check",),
            ("db.drift",),
            ("db.owners",),
        ),
        *(("db.adopt", "--verify", *selection), ("db.downgrade", *selection, "--revision", "base", "--yes")),
    )
    for words in tasks:
        ran = monorepo.inv(*words)
        assert ran.code == 0, ran.text
