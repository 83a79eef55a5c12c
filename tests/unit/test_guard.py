"""The guard: what it refuses, what it lets through, and what it says. Nothing is connected to."""

from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from service_migrations.connection.connector import Connector, connector_of, connector_over
from service_migrations.errors import MigrationError, UsageError
from service_migrations.history.revision import Revision
from service_migrations.history.revisions import History, read
from service_migrations.plan.classes import Class
from service_migrations.plan.committed_breaks import write_breaks
from service_migrations.plan.guard import EDITED, Guard, classes
from service_migrations.settings.model import load
from service_migrations.settings.sources import Sources
from service_migrations.upgrade.undo import _add
from tests.support.database import wait
from tests.support.monorepo import Monorepo

FAR = "postgresql://app:x@db.example.com:5432/shop"
LOCAL = "postgresql://app:x@localhost:5432/shop"
BOTH = "destructive breaking"
SOCKET = "postgresql://app:x@/shop?host=/run"


@pytest.fixture
def repo(monorepo: Monorepo) -> Monorepo:
    """b2 only adds, c3 drops a column, d4 fills; each downgrade is the other way round."""
    monorepo.service("shop")
    monorepo.revision("shop", "a1", None, 'op.execute("CREATE TABLE t (id int, b text)")', 'op.execute("DROP TABLE t")')
    monorepo.revision("shop", "b2", "a1", 'op.execute("CREATE TABLE v (id int)")', 'op.execute("DROP TABLE v")')
    monorepo.revision("shop", "c3", "b2", 'op.drop_column("t", "b")', 'op.execute("ALTER TABLE t ADD COLUMN b text")')
    monorepo.revision("shop", "d4", "c3", 'op.execute("UPDATE t SET id = 1")', "pass")
    return monorepo


def history(repo: Monorepo) -> History:
    return read(repo.find("shop"))


def connector(repo: Monorepo, dsn: str = FAR) -> Connector:
    return connector_of(load(repo.find("shop"), Sources({"DATABASE_DSN": dsn})))


def refusal(repo: Monorepo, at: str, revision: str, *, down: bool = False, dsn: str = FAR, allow: str = "") -> str:
    """Return what is said, or nothing where the run may go on."""
    guard = Guard(revision, classes(allow.split() if allow in ("", BOTH) else [allow]), down)
    try:
        wait(guard.check(history(repo), connector(repo, dsn), (at,) if at else ()))
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("revision", ["head", "c3", "d4", "+2", "heads"])
def test_an_upgrade_that_destroys_is_refused_with_its_place(repo: Monorepo, revision: str) -> None:
    assert refusal(repo, "a1", revision) == (
        "shop: migrations/versions/shop/c3.py:10: app@db.example.com:5432/shop isn't local, and revision c3 would "
        "destroy data and break the code that runs now: DROP COLUMN loses what is in it. Nothing was changed. "
        "Read `inv db.plan --service shop --sql`; --allow destructive --allow breaking runs it."
    )


@pytest.mark.parametrize(("at", "revision"), [("a1", "b2"), ("a1", "+1"), ("c3", "head"), ("d4", "head"), ("b2", "b2")])
def test_what_is_not_pending_or_not_asked_for_counts_for_nothing(repo: Monorepo, at: str, revision: str) -> None:
    assert not refusal(repo, at, revision)


def test_what_was_tried_and_broke_is_refused_until_the_revision_is_another(repo: Monorepo) -> None:
    service, path = repo.find("shop"), "migrations/versions/shop/b2.py"
    breaks = ["v.a: the running code no longer reads it: column v.a does not exist [42703]."]
    assert write_breaks(service, "b2", path, "0123456789abcdef", breaks) is not None
    assert write_breaks(service, "b2", path, "0123456789abcdef", breaks) is None
    refused = (
        f"shop: {path}: app@db.example.com:5432/shop isn't local, and revision b2 would break the code that runs now: "
        f"{breaks[0][:-1]} (tried with 0123456789ab). Nothing was changed. Read `inv db.plan --service shop --sql`; "
        "--allow breaking, or a line `# allow breaking: <why>` in the file runs it."
    )
    assert refusal(repo, "a1", "b2") == refused
    assert not refusal(repo, "a1", "b2", allow=Class.BREAKING)
    assert "(tried with" not in refusal(repo, "b2", "a1", down=True)
    file = repo.root / path
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}# reviewed\n", encoding="utf-8")
    assert refusal(repo, "a1", "b2") == refused
    file.write_text(text.replace("CREATE TABLE v (id int)", "CREATE TABLE v (a int)"), encoding="utf-8")
    assert not refusal(repo, "a1", "b2")
    assert write_breaks(service, "b2", path, "0123456789abcdef", []) is not None
    file.write_text(text, encoding="utf-8")
    assert not refusal(repo, "a1", "b2")


@pytest.mark.parametrize("revision", ["-1", "a1", "-2", "base"])
def test_a_downgrade_that_destroys_is_refused_with_its_place(repo: Monorepo, revision: str) -> None:
    said = refusal(repo, "b2", revision, down=True)
    assert said.startswith(
        "shop: migrations/versions/shop/b2.py:14: app@db.example.com:5432/shop isn't local, and the "
    )
    assert (
        f"the downgrade of revision{'s b2, a1' if revision in ('-2', 'base') else ' b2'} would destroy data: " in said
    )
    read = f"Read `inv db.plan --service shop --downgrade {revision} --sql`"
    assert said.endswith(f"Nothing was changed. {read}; --allow destructive runs it.")


@pytest.mark.parametrize(("at", "revision"), [("d4", "c3"), ("d4", "b2"), ("c3", "-1"), ("b2", "b2")])
def test_a_downgrade_that_only_adds_may_run(repo: Monorepo, at: str, revision: str) -> None:
    assert not refusal(repo, at, revision, down=True)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize(("dsn", "allow"), [(LOCAL, ""), (FAR, BOTH), ("postgresql://app:x@/shop?host=/run", "")])
def test_a_local_target_and_an_allowed_class_may_run(repo: Monorepo, dsn: str, allow: str, down: bool) -> None:
    assert not refusal(repo, "b2", "base" if down else "head", down=down, dsn=dsn, allow=allow)


@pytest.mark.parametrize("allow", [*Class, EDITED])
def test_one_class_allows_no_other(repo: Monorepo, allow: str) -> None:
    assert refusal(repo, "a1", "head", allow=allow)


CONTRACTS = "# allow breaking: no code since v1.6 names t.b"


@pytest.mark.parametrize(
    ("statement", "comment", "allow", "refused"),
    [
        ("ALTER TABLE t RENAME b TO c", "", "", "break the code that runs now: Statements that name t.b fail"),
        ("ALTER TABLE t RENAME b TO c", "", "destructive", "--allow breaking, or a line `# allow breaking: <why>` in"),
        ("ALTER TABLE t RENAME b TO c", "", "breaking", ""),
        ("ALTER TABLE t RENAME b TO c", CONTRACTS, "", ""),
        ("ALTER TABLE t RENAME b TO c", "# allow breaking", "", "break the code"),
        ("ALTER TABLE t RENAME b TO c", "# allow breaking:", "", "break the code"),
        ("ALTER TABLE t RENAME b TO c", "'# allow breaking: in a string'", "", "break the code"),
        ("ALTER TABLE t RENAME b TO c", "# allow destructive: no data", "", "break the code"),
        ("ALTER TABLE t DROP b", CONTRACTS, "", "would destroy data: DROP COLUMN"),
        ("ALTER TABLE t DROP b", CONTRACTS, "destructive", ""),
        ("ALTER TABLE t DROP b", "", "destructive", "would break the code that runs now: Statements that name t.b"),
        ("ALTER TABLE t DROP b", "", "breaking", "would destroy data: DROP COLUMN"),
    ],
)
def test_what_breaks_running_code_is_allowed_by_the_command_or_by_the_file(
    repo: Monorepo, statement: str, comment: str, allow: str, refused: str
) -> None:
    repo.revision("shop", "c3", "b2", f"op.execute({statement!r})\n{comment}")
    said = refusal(repo, "a1", "head", allow=allow)
    assert refused in said if refused else not said


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize(("dsn", "allow"), [(LOCAL, ""), (FAR, BOTH)])
def test_a_plan_is_not_made_where_nothing_would_be_refused(repo: Monorepo, dsn: str, allow: str, down: bool) -> None:
    """A plan runs the functions of the revisions, and an unknown revision is for the run to tell."""
    guard = Guard("head", classes(allow.split()), down)
    wait(guard.check(history(repo), connector(repo, dsn), ("gone",)))
    with pytest.raises(MigrationError, match="gone"):
        wait(Guard("head", frozenset(), down).check(history(repo), connector(repo), ("gone",)))


@pytest.mark.parametrize(("ids", "refused"), [(["c3"], ""), (["b2"], "revision b2 "), (["c3", "a1"], "revision a1 ")])
def test_of_a_downgrade_of_some_revisions_only_these_count(repo: Monorepo, ids: list[str], refused: str) -> None:
    read = history(repo)
    only = tuple(revision for revision in read.revisions if revision.revision in ids)
    guard = Guard("base", frozenset(), down=True, only=only)
    if not refused:
        wait(guard.check(read, connector(repo), ("d4",)))
        return
    with pytest.raises(UsageError, match=f"the downgrade of {refused}would destroy data"):
        wait(guard.check(read, connector(repo), ("d4",)))


def test_a_revision_of_the_ledger_has_no_line(repo: Monorepo) -> None:
    read = history(repo)
    _add(read, "e5", "d4", '["DROP TABLE t"]')
    e5 = Revision("e5", ("d4",), "as the ledger keeps it", read.service.ledger_table, is_head=True)
    read = replace(read, revisions=(e5, *read.revisions))
    with pytest.raises(UsageError, match="the downgrade of revision e5 would destroy data") as caught:
        wait(Guard("d4", frozenset(), down=True, only=(e5,)).check(read, connector(repo), ("e5",)))
    assert (caught.value.path, caught.value.line) == ("migration_log_shop", None)


def test_a_new_database_has_no_code_that_runs(repo: Monorepo) -> None:
    assert not refusal(repo, "", "head")


def test_a_downgrade_is_for_code_that_was_rolled_back(repo: Monorepo) -> None:
    repo.revision("shop", "d4", "c3", "pass", 'op.execute("ALTER TABLE t RENAME id TO number")')
    assert not refusal(repo, "d4", "c3", down=True)


@pytest.mark.parametrize("dsn", [f"{LOCAL[:-5]},db.example.com/shop", "postgresql://app:x@192.0.2.1/shop"])
def test_one_host_elsewhere_is_elsewhere(repo: Monorepo, dsn: str) -> None:
    assert refusal(repo, "a1", "head", dsn=dsn)


def test_an_engine_of_the_callers_may_lead_anywhere(repo: Monorepo) -> None:
    engine = create_async_engine("postgresql+asyncpg://app:x@localhost/shop")
    over = connector_over(engine, repo.find("shop"), Sources({}))
    with pytest.raises(UsageError, match="destroy data"):
        wait(Guard("head", frozenset()).check(history(repo), over, ("a1",)))


@pytest.mark.parametrize("name", list(Class))
def test_every_class_can_be_allowed(name: Class) -> None:
    assert classes([name.value]) == {name}
    assert classes([name.value], edited=False) == {name}


def test_edited_is_no_class_and_only_an_upgrade_knows_it() -> None:
    assert classes([EDITED, "data"]) == {Class.DATA}
    with pytest.raises(UsageError, match=r"^--allow 'edited': there is no such class"):
        classes([EDITED], edited=False)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("edit", "Did you mean edited?"),
        ("destructve", "Did you mean destructive?"),
        ("", "Known: additive, data, concurrent, locks long or rewrites, breaking, destructive, irreversible, edited."),
    ],
)
def test_an_unknown_class_is_told_with_the_nearest_one(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        classes(["data", name])
    assert str(caught.value) == f"--allow {name!r}: there is no such class. {hint}"
