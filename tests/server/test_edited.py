"""A file that was edited after it had been applied is noticed; what changes nothing that was run is not."""

import json
import logging
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import service_migrations
from service_migrations.errors import ConfigurationError, DifferenceError, UsageError
from service_migrations.monorepo import Service
from service_migrations.session.locks import LOCK_KEY
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, tables, wait
from tests.support.monorepo import Monorepo, dsn_text

LEDGER = "migration_log_billing"
UP = 'op.execute("CREATE TABLE b2 (id int)")'
BACK = 'op.execute("DROP TABLE b2")'


@pytest.fixture
def dsn(database: Callable[..., Dsn]) -> Dsn:
    return database()


@pytest.fixture
def service(monorepo: Monorepo, dsn: Dsn) -> Service:
    """A service with two revisions, at head."""
    monorepo.table_revision("billing", "a1", None)
    monorepo.revision("billing", "b2", "a1", UP, BACK)
    billing = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.upgrade(billing))
    return billing


@pytest.fixture
def file(service: Service) -> Path:
    """The file of the second revision."""
    return service.versions / "b2.py"


def edit(path: Path, old: str = "id int", new: str = "id bigint") -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    # Python knows a compiled file by the second and the length of its source, and both may be the same
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def rows(dsn: Dsn) -> list[tuple[str, str]]:
    return [tuple(row) for row in query(dsn, f"SELECT direction, revision FROM {LEDGER} ORDER BY id")]  # noqa: S608


def at(dsn: Dsn, table: str = "alembic_version_billing") -> list[str]:
    return [row[0] for row in query(dsn, f"SELECT version_num FROM {table}")]  # noqa: S608


def locks(dsn: Dsn) -> int:
    return int(query(dsn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0])


def test_an_edited_file_stops_an_upgrade_also_where_nothing_is_pending(service, file, dsn):
    edit(file)
    with pytest.raises(DifferenceError) as caught:
        wait(service_migrations.upgrade(service))
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert "migrations/versions/billing/b2.py was edited after b2 was applied (20" in message
    assert "Undo the edit; or downgrade below it" in message
    assert "inv db.upgrade --service billing --allow edited" in message
    assert "\n" not in message
    assert rows(dsn) == [("upgrade", "a1"), ("upgrade", "b2")]


@pytest.mark.parametrize("revision", ["head", "c3", "+1"])
def test_a_refused_upgrade_leaves_everything_as_it_was(service, file, dsn, monorepo, revision):
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")')
    edit(file)
    with pytest.raises(DifferenceError, match=r"b2\.py was edited"):
        wait(service_migrations.upgrade(service, revision))
    assert at(dsn) == ["b2"]
    assert "c3" not in tables(dsn)
    assert rows(dsn) == [("upgrade", "a1"), ("upgrade", "b2")]
    assert locks(dsn) == 0


def test_several_edited_files_are_told_of_in_one_line_the_oldest_first(service, file):
    edit(file)
    edit(service.versions / "a1.py", "sa.String(50)", "sa.String(60)")
    with pytest.raises(DifferenceError, match=r"a1\.py was edited .*; .*b2\.py was edited"):
        wait(service_migrations.upgrade(service))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""b2."""', '"""Another text.\n\nRevises: a1\n"""'),
        ("def upgrade():\n", "def upgrade():\n    # a comment\n\n"),
        ("def upgrade():\n", 'def upgrade():\n    """Make the table."""\n'),
        ("def upgrade():", "def upgrade() -> None:"),
        (UP, "op.execute(\n        'CREATE TABLE '\n        'b2 (id int)',\n    )"),
        ("down_revision = 'a1'", 'down_revision: str | None = "a1"'),
        ("\n", "\r\n"),
        ("from alembic import op\n", "import typing\n\nimport sqlalchemy as sa\nfrom alembic import op\n"),
    ],
)
def test_what_changes_nothing_that_was_run_is_no_edit(service, file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_bytes(text.replace(old, new).encode())
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).findings == ()


def test_a_parent_that_was_exchanged_is_an_edit_and_tells_of_a_revision_that_never_ran(service, file, monorepo, dsn):
    """Somebody else's revision was put below ours, which the database has: at head, and theirs was never run."""
    monorepo.revision("billing", "t1", "a1", 'op.execute("CREATE TABLE theirs (id int)")')
    edit(file, "down_revision = 'a1'", "down_revision = 't1'")
    assert at(dsn) == list(wait(service_migrations.history(service)).heads)
    with pytest.raises(
        DifferenceError, match=r"b2 was applied \(.*\): it follows t1 now, which never ran here\. Nothing"
    ):
        wait(service_migrations.upgrade(service))
    assert "theirs" not in tables(dsn)
    # and this is how it comes right
    wait(service_migrations.downgrade(service, "a1"))
    wait(service_migrations.upgrade(service))
    assert "theirs" in tables(dsn)


def test_a_parent_that_ran_before_there_was_a_ledger_isnt_told_to_be_missing(service, file, monorepo, dsn):
    monorepo.revision("billing", "c3", "b2")
    wait(service_migrations.upgrade(service))
    query(dsn, f"DELETE FROM {LEDGER} WHERE revision IN ('a1', 'b2')")  # noqa: S608
    edit(service.versions / "c3.py", "down_revision = 'b2'", "down_revision = 'a1'")
    edit(file, "down_revision = 'a1'", "down_revision = None")
    edit(service.versions / "a1.py", "down_revision = None", "down_revision = 'b2'")
    with pytest.raises(DifferenceError, match=r"c3\.py was edited after c3 was applied \([^)]*\)\. Nothing"):
        wait(service_migrations.upgrade(service))


def test_a_first_revision_tells_of_one_that_was_put_below_it(service, monorepo):
    monorepo.revision("billing", "z0", None, 'op.execute("CREATE TABLE z0 (id int)")')
    edit(service.versions / "a1.py", "down_revision = None", "down_revision = 'z0'")
    with pytest.raises(DifferenceError, match=r"a1 was applied \([^)]*\): it follows z0 now, which never ran here\."):
        wait(service_migrations.upgrade(service))


@pytest.mark.parametrize("case", ["was stamped", "its parent is gone", "its parent's row is gone", "ran since then"])
def test_of_a_parent_of_which_the_ledger_cant_tell_it_isnt_said_that_it_never_ran(service, file, monorepo, dsn, case):
    if case == "its parent's row is gone":  # as where the ledger was locked
        third = monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")')
        wait(service_migrations.upgrade(service))
        query(dsn, f"DELETE FROM {LEDGER} WHERE revision = 'b2'")  # noqa: S608
        edit(third)
    else:
        monorepo.revision("billing", "t1", None if "gone" in case else "a1", "pass")
        if case == "was stamped":
            wait(service_migrations.downgrade(service, "a1"))
            wait(service_migrations.stamp(service, "b2"))
        elif case == "its parent is gone":
            (service.versions / "a1.py").unlink()
        else:  # two heads were merged, and then put one after the other
            merge = monorepo.revision("billing", "m1", "b2")
            edit(merge, "down_revision = 'b2'", "down_revision = ('b2', 't1')")
            wait(service_migrations.upgrade(service))
            edit(merge, "down_revision = ('b2', 't1')", "down_revision = 'b2'")
        edit(file, "down_revision = 'a1'", "down_revision = 't1'")
    with pytest.raises(DifferenceError, match=r"was (applied|stamped) \([^)]*\)[.;]") as caught:
        wait(service_migrations.upgrade(service))
    assert "it follows" not in str(caught.value)


def test_what_was_stamped_past_isnt_told_to_be_missing(monorepo, dsn):
    for revision, parent in (("a1", None), ("b2", "a1"), ("c3", "b2")):
        monorepo.revision("billing", revision, parent, "pass")
    service = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.stamp(service, "b2"))
    wait(service_migrations.upgrade(service))
    edit(service.versions / "c3.py", "down_revision = 'b2'", "down_revision = 'a1'")
    edit(service.versions / "b2.py", "down_revision = 'a1'", "down_revision = None")
    edit(service.versions / "a1.py", "down_revision = None", "down_revision = 'b2'")
    with pytest.raises(DifferenceError, match=r"c3 was applied \([^)]*\)\. Nothing"):
        wait(service_migrations.upgrade(service))


def test_a_ledger_that_began_with_a_stamp_tells_of_what_ran_from_base_afterwards(monorepo, dsn):
    for revision, parent in (("a1", None), ("b2", "a1")):
        monorepo.revision("billing", revision, parent, "pass", "pass")
    service = monorepo.service("billing", dsn=dsn)
    wait(service_migrations.stamp(service, "b2"))
    wait(service_migrations.downgrade(service, "base"))
    wait(service_migrations.upgrade(service))
    monorepo.revision("billing", "t1", "a1", "pass")
    edit(service.versions / "b2.py", "down_revision = 'a1'", "down_revision = 't1'")
    with pytest.raises(DifferenceError, match=r"b2 was applied \([^)]*\): it follows t1 now"):
        wait(service_migrations.upgrade(service))


@pytest.mark.parametrize("column", ["checksum", "fingerprint"])
def test_a_row_without_what_the_file_was_says_nothing(service, file, dsn, column):
    query(dsn, f"UPDATE {LEDGER} SET {column} = NULL")  # noqa: S608
    edit(file)
    assert wait(service_migrations.upgrade(service)).after == ("b2",)


def test_a_row_without_a_moment_says_that_it_is_unknown(service, file, dsn):
    query(dsn, f"UPDATE {LEDGER} SET started = 'infinity'")  # noqa: S608
    edit(file)
    with pytest.raises(DifferenceError, match=r"b2 was applied \(at an unknown time\)\. Nothing"):
        wait(service_migrations.upgrade(service))


def test_what_is_pending_may_be_edited(service, file, dsn):
    wait(service_migrations.downgrade(service, "a1"))
    edit(file)
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert rows(dsn)[-1] == ("upgrade", "b2")


def test_the_last_time_that_it_was_applied_counts(service, file):
    wait(service_migrations.downgrade(service, "a1"))
    edit(file)
    wait(service_migrations.upgrade(service))
    wait(service_migrations.upgrade(service))
    edit(file, "id bigint", "id int")
    with pytest.raises(DifferenceError, match=r"b2\.py was edited"):
        wait(service_migrations.upgrade(service))


def test_a_downgrade_is_not_stopped_since_it_is_the_way_out(service, file, dsn):
    edit(file)
    wait(service_migrations.downgrade(service, "a1"))
    wait(service_migrations.upgrade(service))
    type_of = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'b2'::regclass AND attnum = 1"
    assert query(dsn, type_of)[0][0] == "bigint"
    assert wait(service_migrations.check(service)).findings == ()


def test_a_stamped_revision_is_compared_with_what_it_was_then(service, file):
    wait(service_migrations.stamp(service, "a1"))
    edit(file)
    wait(service_migrations.stamp(service, "b2"))
    wait(service_migrations.upgrade(service))
    edit(file, "bigint", "text")
    with pytest.raises(DifferenceError, match="after b2 was stamped"):
        wait(service_migrations.upgrade(service))


def test_a_setting_makes_it_a_warning(service, file, dsn, monorepo, monkeypatch, caplog):
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")')
    edit(file)
    monkeypatch.setenv("BILLING_MIGRATIONS_EDITED", "warn")
    with caplog.at_level(logging.WARNING, "service_migrations"):
        assert wait(service_migrations.upgrade(service)).after == ("c3",)
    assert caplog.text.count("b2.py was edited after b2 was applied") == 1
    assert rows(dsn)[-1] == ("upgrade", "c3")
    caplog.clear()
    wait(service_migrations.upgrade(service))
    assert caplog.text.count("b2.py was edited") == 1
    assert wait(service_migrations.check(service)).findings


def test_a_setting_of_another_word_is_refused(service, monkeypatch):
    monkeypatch.setenv("BILLING_MIGRATIONS_EDITED", "ignore")
    with pytest.raises(ConfigurationError, match=r"MIGRATIONS_EDITED is 'ignore'\. Write refuse or warn"):
        wait(service_migrations.upgrade(service))


def test_it_holds_on_an_engine_of_the_callers_too(service, file, dsn, monkeypatch):
    edit(file)

    async def run() -> service_migrations.Outcome:
        engine = create_async_engine(dsn.url, connect_args=dsn.connect_args())
        try:
            return await service_migrations.upgrade(service, engine=engine)
        finally:
            await engine.dispose()

    with pytest.raises(DifferenceError):
        wait(run())
    monkeypatch.setenv("BILLING_MIGRATIONS_EDITED", "warn")
    assert wait(run()).after == ("b2",)


def test_what_was_accepted_is_silent_until_it_is_edited_again(service, file, dsn):
    edit(file)
    outcome = wait(service_migrations.upgrade(service, allow=["edited"]))
    assert (outcome.before, outcome.after, outcome.applied) == (("b2",), ("b2",), ())
    assert rows(dsn)[-1] == ("accept", "b2")
    wait(service_migrations.upgrade(service))
    wait(service_migrations.upgrade(service, allow=["edited"]))
    assert wait(service_migrations.check(service)).findings == ()
    assert len(rows(dsn)) == 3
    edit(file, "bigint", "text")
    with pytest.raises(DifferenceError, match="after b2 was accepted"):
        wait(service_migrations.upgrade(service))


def test_accepting_goes_on_with_what_is_pending(service, file, dsn, monorepo):
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")')
    edit(file)
    assert wait(service_migrations.upgrade(service, allow=["edited"])).applied == ("c3",)
    assert rows(dsn)[-2:] == [("accept", "b2"), ("upgrade", "c3")]


def test_accepting_goes_on_where_the_ledger_refuses_its_row(
    dsn: Dsn, service: Service, file: Path, monorepo: Monorepo, caplog: pytest.LogCaptureFixture
) -> None:
    monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")')
    edit(file)
    query(dsn, f"ALTER TABLE {LEDGER} ADD CHECK (direction <> 'accept')")
    assert wait(service_migrations.upgrade(service, allow=["edited"])).applied == ("c3",)
    assert at(dsn) == ["c3"]
    assert [row for row in rows(dsn) if row[0] == "accept"] == []
    assert "violates check constraint" in caplog.text


def test_where_nothing_was_edited_allowing_it_takes_no_lock_and_writes_nothing(service, dsn):
    async def run() -> tuple[str, ...]:
        holder = await asyncpg.connect(**dsn.connect_args())
        try:
            await holder.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
            return (await service_migrations.upgrade(service, allow=["edited"])).after
        finally:
            await holder.close()

    assert wait(run()) == ("b2",)
    assert len(rows(dsn)) == 2


def test_a_ledger_from_before_says_nothing_and_gets_its_columns_with_the_next_row(service, file, dsn, monorepo):
    query(dsn, f"ALTER TABLE {LEDGER} DROP COLUMN checksum, DROP COLUMN fingerprint")
    edit(file)
    wait(service_migrations.upgrade(service))
    assert wait(service_migrations.check(service)).findings == ()
    assert [entry.checksum for entry in wait(service_migrations.log(service))] == [None, None]
    third = monorepo.revision("billing", "c3", "b2", 'op.execute("CREATE TABLE c3 (id int)")')
    wait(service_migrations.upgrade(service))
    entries = wait(service_migrations.log(service))
    assert [(entry.revision, entry.fingerprint is None) for entry in entries] == [
        ("c3", False),
        ("b2", True),
        ("a1", True),
    ]
    edit(third)
    with pytest.raises(DifferenceError, match=r"c3\.py was edited") as caught:
        wait(service_migrations.upgrade(service))
    assert "b2.py" not in str(caught.value)


def test_without_a_ledger_nothing_is_said(service, file, dsn):
    query(dsn, f"DROP TABLE {LEDGER}")
    edit(file)
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert wait(service_migrations.check(service)).findings == ()


def test_a_ledger_that_may_not_be_read_is_told_of_and_stops_no_upgrade(monorepo, service, file, dsn, database, caplog):
    stranger = database(shared=dsn)
    query(dsn, f'GRANT SELECT ON alembic_version_billing TO "{stranger.user}"')
    monorepo.service("billing", dsn=stranger)
    edit(file)
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert f"{LEDGER} may not be read" in caplog.text


def test_a_view_in_place_of_the_ledger_is_not_read(service, file, dsn):
    """Whoever made it could run a function with the rights of a migration."""
    query(dsn, f"ALTER TABLE {LEDGER} RENAME TO kept")
    query(dsn, "CREATE SEQUENCE sprung")
    query(dsn, f"CREATE VIEW {LEDGER} AS SELECT *, nextval('sprung') AS trap FROM kept")  # noqa: S608
    edit(file)
    assert wait(service_migrations.upgrade(service)).after == ("b2",)
    assert not query(dsn, "SELECT is_called FROM sprung")[0][0]


def test_it_works_with_an_adopted_version_table(monorepo, service, file, dsn):
    query(dsn, "ALTER TABLE alembic_version_billing RENAME TO alembic_version")
    monorepo.service("billing", dsn=dsn, MIGRATIONS_VERSION_TABLE="alembic_version")
    edit(file)
    with pytest.raises(DifferenceError, match=r"b2\.py was edited"):
        wait(service_migrations.upgrade(service))
    assert at(dsn, "alembic_version") == ["b2"]


def test_it_works_in_a_schema(monorepo, dsn):
    models = """
    from sqlalchemy import MetaData
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    __all__ = ["Thing"]


    class Base(DeclarativeBase):
        metadata = MetaData(schema="own")


    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
    """
    service = monorepo.service("billing", models, dsn)
    path = monorepo.revision(
        "billing", "a1", None, 'op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True), schema="own")'
    )
    wait(service_migrations.upgrade(service))
    edit(path, "primary_key=True", "primary_key=False")
    with pytest.raises(DifferenceError, match=r"a1\.py was edited"):
        wait(service_migrations.upgrade(service))
    wait(service_migrations.upgrade(service, allow=["edited"]))
    assert [row[0] for row in query(dsn, f"SELECT direction FROM own.{LEDGER} ORDER BY id")] == [  # noqa: S608
        "upgrade",
        "accept",
    ]


@pytest.mark.usefixtures("service")
def test_the_tasks_refuse_report_accept_and_show_it(monorepo, file):
    edit(file)
    ran = monorepo.inv("db.upgrade")
    assert (ran.code, len(ran.err.splitlines())) == (3, 1)
    assert "b2.py was edited after b2 was applied" in ran.err

    ran = monorepo.inv("db.check", "--service", "billing")
    assert ran.code == 3
    line = "billing: migrations/versions/billing/b2.py was edited after b2 was applied"
    assert [text for text in ran.out.splitlines() if text.startswith(line)]
    assert "1 finding beside the differences" in ran.err
    ran = monorepo.inv("db.check", "--json")
    assert ran.code == 3
    assert "b2.py was edited" in json.loads(ran.out)[0]["findings"][0]

    ran = monorepo.inv("db.upgrade", "--allow", "edited")
    assert (ran.code, "nothing to do" in ran.out, "is accepted" in ran.err) == (0, True, True)
    assert monorepo.inv("db.upgrade").code == 0
    shown = [line.split() for line in monorepo.inv("db.log").out.splitlines() if "accept" in line]
    assert [row[3:6] for row in shown] == [["accept", "b2", "b2"]]
    assert json.loads(monorepo.inv("db.log", "--json").out)["billing"][0]["direction"] == "accept"


@pytest.mark.usefixtures("service")
def test_a_word_that_nothing_is_called_is_refused_before_connecting(monorepo, service):
    monorepo.env("billing", DATABASE_DSN="postgresql://a:b@127.0.0.1:1/c")
    ran = monorepo.inv("db.upgrade", "--allow", "edit")
    assert ran.code == 2
    assert "no such class" in ran.err
    assert "edited" in ran.err
    with pytest.raises(UsageError):
        wait(service_migrations.upgrade(service, allow=["edited", "all"]))


def test_one_revision_takes_the_place_of_many_where_every_database_is_at_the_end(monorepo, database):
    """As "One revision in place of many" of writing-migrations.md."""
    at_head, between = database(creates=True), database()
    monorepo.service("billing", "__all__ = []", dsn=at_head)
    files = [monorepo.revision("billing", "r1", None, 'op.execute("CREATE TABLE one (id int)")', "pass")]
    files += [monorepo.revision("billing", "r2", "r1", 'op.execute("CREATE TABLE two (id int)")', "pass")]
    files += [monorepo.revision("billing", "r3", "r2", 'op.execute("ALTER TABLE two ADD name text")', "pass")]
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    elsewhere = {"BILLING_DATABASE_DSN": dsn_text(between)}
    assert monorepo.inv("db.upgrade", "--service", "billing", "--revision", "r2", env=elsewhere).code == 0

    for file in files:
        file.unlink()
    both = 'op.execute("CREATE TABLE one (id int)")\nop.execute("CREATE TABLE two (id int, name text)")'
    monorepo.revision("billing", "r3", None, both, "pass")

    assert monorepo.inv("db.upgrade", "--service", "billing").code == 3
    accepted = monorepo.inv("db.upgrade", "--service", "billing", "--allow", "edited")
    assert accepted.code == 0, accepted.text
    assert monorepo.inv("db.upgrade", "--service", "billing").code == 0
    for words in (("db.upgrade",), ("db.upgrade", "--allow", "edited")):
        refused = monorepo.inv(*words, "--service", "billing", env=elsewhere)
        assert refused.code == 3, refused.text
        assert "is at r2, which" in refused.err
    assert tables(between) >= {"one", "two"}
    drift = monorepo.inv("db.drift", "--service", "billing")
    assert drift.code == 0, drift.text
    new = {"BILLING_DATABASE_DSN": dsn_text(database())}
    assert monorepo.inv("db.upgrade", "--service", "billing", env=new).code == 0
