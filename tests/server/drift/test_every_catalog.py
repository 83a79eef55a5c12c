"""Every column of the server's catalogs: a change by hand is seen and fixed, or a document names it.

A new column of a new PostgreSQL fails here until somebody has decided about it.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service_migrations.catalog.objects import Object
from service_migrations.drift.compare import Difference, compare
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.comparison import PUBLIC, catalog, version
from tests.support.database import make_database, query, run_script
from tests.support.every_catalog import DECISIONS, IDENTITIES, WORLD, ByHand, Decision, Listed
from tests.support.network import program
from tests.support.shop import inside, split

COLUMNS = (
    "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
)
ROWS_THAT_COME_AND_GO = {("pg_description", "description"), ("pg_inherits", "inhparent"), ("pg_depend", "refobjsubid"),
                         ("pg_attrdef", "adbin"), ("pg_extension", "extname")}  # fmt: skip
"""The columns that a new row alone changes."""

CHANGED = {name: columns for name, columns in DECISIONS.items() if isinstance(columns, dict)}


def decisions() -> Iterator[tuple[str, str | None, Decision]]:
    for name, decided in DECISIONS.items():
        for column, decision in decided.items() if isinstance(decided, dict) else [(None, decided)]:
            yield name, column, decision


@pytest.fixture(scope="module")
def world(server: Server) -> Dsn:
    """A database with one of everything, and a role that owns none of it."""
    dsn = make_database(server)
    run_script(inside(server, dsn), WORLD)
    return dsn


@pytest.fixture(scope="module")
def history(server: Server, world: Dsn) -> tuple[Object, ...]:
    return catalog(inside(server, world))


@pytest.fixture(scope="module")
def columns(server: Server) -> dict[str, list[str]]:
    """The columns of each catalog, as this server has them."""
    columns: dict[str, list[str]] = {}
    for name, column in query(server.admin, COLUMNS):
        columns.setdefault(name, []).append(column)
    return columns


def test_each_column_of_each_catalog_is_decided(columns: dict[str, list[str]]) -> None:
    undecided = [
        f"{name}.{column}"
        for name, existing in columns.items()
        for column in existing
        if name not in DECISIONS or (isinstance(DECISIONS[name], dict) and column not in CHANGED[name])
    ]
    assert undecided == []


def test_what_drift_does_not_compare_is_named_in_the_documents() -> None:
    text = Path("docs/operations.md").read_text(encoding="utf-8")
    [section] = re.findall(r"\n## Drift\n(.*?)\n## ", text, re.DOTALL)
    unseen = " ".join(section.partition("It doesn't see")[2].partition("A database behind head")[0].split())
    words = {decision.word for _, _, decision in decisions() if isinstance(decision, Listed)}
    assert sorted(word for word in words if word not in unseen) == []


def snapshot(dsn: Dsn, name: str, column: str, columns: list[str]) -> list[dict[str, str | None]]:
    """Return a column's values of all rows that aren't the system's, by what names a row and by its oid."""
    key = next((each for each in columns if each in ("oid", "objid", "objoid")), columns[0])
    oid = key if key == "oid" else "''"
    own = "true" if name == "pg_description" else f"{key}::oid::bigint >= 16384"
    rows = query(dsn, f"SELECT ({IDENTITIES[name]})::text, {oid}::text, {column}::text FROM {name} WHERE {own}")  # noqa: S608 - of the table above
    return [{row[0]: row[2] for row in rows}, {row[1]: row[2] for row in rows if row[1]}]


def is_altered(before: list[dict[str, str | None]], after: list[dict[str, str | None]], *, rows: bool) -> bool:
    return any(
        (rows and old != new) or any(key in new and new[key] != value for key, value in old.items())
        for old, new in zip(before, after, strict=True)
    )


def is_no_part_of_every_database(item: Object) -> bool:
    return item.key != PUBLIC


def differences(dsn: Dsn, history: tuple[Object, ...]) -> tuple[Difference, ...]:
    return compare(catalog(dsn), history, is_no_part_of_every_database, grants=True)


def fix(dsn: Dsn, found: tuple[Difference, ...]) -> None:
    run_script(dsn, [statement for each in found if each.sql for statement in split(each.sql)])


def check(  # noqa: PLR0911 - each is another fault
    dsn: Dsn, history: tuple[Object, ...], name: str, column: str, columns: list[str], change: ByHand
) -> tuple[str | None, bool]:
    """Make a change and fix it, in both directions; return what is wrong, and whether the database is as before."""
    before = snapshot(dsn, name, column, columns)
    run_script(dsn, [statement.format(role=change.role) for statement in change.statements])
    if not is_altered(before, snapshot(dsn, name, column, columns), rows=(name, column) in ROWS_THAT_COME_AND_GO):
        return "it alters another column", False
    changed = now = catalog(dsn)
    all_differences = compare(changed, history, is_no_part_of_every_database, grants=True)
    if not all_differences:
        return "it isn't seen", False
    without_sql = any(each.sql is None for each in all_differences)
    if change.for_a_person or without_sql:
        agreed = change.for_a_person == without_sql
        return None if agreed else "\n".join(["no SQL fixes it", *map(str, all_differences)]), False
    for wanted in (history,) if change.one_way else (history, changed, history):
        all_differences = compare(now, wanted, is_no_part_of_every_database, grants=True)
        if wanted is changed and any(each.sql is None for each in all_differences):
            return None, True  # such as a label that no SQL removes
        try:
            fix(dsn, all_differences)
        except Exception as error:  # noqa: BLE001 - all cases of a catalog are reported together
            return "\n".join([f"the SQL fails: {error}", *map(str, all_differences)]), False
        now = catalog(dsn)
        if left := compare(now, wanted, is_no_part_of_every_database, grants=True):
            return "\n".join(
                ["the SQL doesn't fix it", *map(str, all_differences), "which leaves", *map(str, left)]
            ), False
    return None, True


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_of_each_column_is_seen_and_fixed(
    server: Server, world: Dsn, history: tuple[Object, ...], columns: dict[str, list[str]], name: str
) -> None:
    dsn, faults = None, []
    for column, decision in CHANGED[name].items():
        for change in decision if isinstance(decision, tuple) else ():
            if column not in columns[name] or version(server.admin) < change.oldest:
                continue
            dsn = dsn or inside(server, make_database(server, copied=world))
            fault, is_as_before = check(dsn, history, name, column, columns[name], replace(change, role=world.user))
            if fault:
                faults.append(f"{column}: {'; '.join(change.statements)}: {fault}")
            if not is_as_before:
                query(server.admin, f'DROP DATABASE "{dsn.database}" WITH (FORCE)')
                dsn = None
    assert not faults, "\n\n".join(faults)


def test_a_copy_that_pg_dump_makes_is_no_difference(server: Server, world: Dsn, history: tuple[Object, ...]) -> None:
    dump, restore = program("pg_dump", "postgresql-client"), program("psql", "postgresql-client")
    if (known := _version(dump)) < int(server.version):
        pytest.skip(f"pg_dump {known} refuses a newer server")
    restored = make_database(server)
    query(inside(server, restored), "DROP SCHEMA public")
    query(inside(server, restored), "CREATE SCHEMA public")
    sql = _run([dump], inside(server, world))
    _run([restore, "--quiet"], inside(server, restored), sql)
    assert [str(difference) for difference in differences(inside(server, restored), history)] == []


def _version(path: str) -> int:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r" (\d+)", text)[0])


def _run(words: list[str], dsn: Dsn, text: str = "") -> str:
    [(host, port)] = dsn.hosts
    words += ["--no-password", f"--host={host}", f"--port={port}", f"--username={dsn.user}", f"--dbname={dsn.database}"]
    environment = os.environ | {"PGPASSWORD": dsn.password or ""}
    ran = subprocess.run(words, input=text, capture_output=True, text=True, env=environment, timeout=60, check=True)
    return ran.stdout
