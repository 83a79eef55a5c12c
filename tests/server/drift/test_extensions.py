"""Extensions that somebody created by hand, and that the history takes for given: the replay has them too."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

import service_migrations
from service_migrations.adoption.verify import verify
from service_migrations.drift.drift import drift
from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support.database import query, run_script, wait
from tests.support.monorepo import Monorepo, dsn_text
from tests.support.shop import inside, may_create, scratches

MODELS = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Thing"]


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
"""

IN_AUTOCOMMIT = """\
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY ix_things_name ON things USING gin (name gin_trgm_ops)")
"""
IN_SCHEMA = "CREATE SCHEMA {0}; GRANT USAGE ON SCHEMA {0} TO PUBLIC; CREATE EXTENSION {1} SCHEMA {0}"
SCHEMA = IN_SCHEMA.format("ext", "citext")

CASES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "types, functions and operator classes": (
        ["CREATE EXTENSION citext; CREATE EXTENSION unaccent; CREATE EXTENSION btree_gist"],
        [
            (
                "CREATE TABLE things (id integer, name citext, "
                "at tsrange, EXCLUDE USING gist (id WITH =, at WITH &&))\n"
                "CREATE VIEW plain AS SELECT unaccent('é')"
            ),
        ],
    ),
    "an operator class, after a part that is committed": (
        ["CREATE EXTENSION pg_trgm"],
        [f"CREATE TABLE things (name text)\n{IN_AUTOCOMMIT}"],
    ),
    "a schema of its own": ([SCHEMA], ["CREATE TABLE things (name ext.citext)"]),
    "a schema that the history creates": (
        ["", "CREATE EXTENSION citext SCHEMA app"],
        ["CREATE SCHEMA app", "CREATE TABLE app.things (name app.citext)"],
    ),
    "a schema that the history creates, whose name others begin": (
        [
            "",
            "; ".join(IN_SCHEMA.format(*each) for each in (("e", "citext"), ("ex", "pg_trgm"), ("ext", "hstore"))),
            "CREATE EXTENSION fuzzystrmatch SCHEMA extra",
        ],
        [
            "CREATE TABLE zero (id integer)",
            "CREATE TABLE things (a e.citext, b ext.hstore, CHECK (ex.similarity('a', 'a') = 1))\nCREATE SCHEMA extra",
            "CREATE VIEW heard AS SELECT extra.soundex('a')",
        ],
    ),
    "another that the history creates before": (
        ["CREATE EXTENSION hstore"],
        ["CREATE EXTENSION citext", "CREATE TABLE things (name citext, more hstore)"],
    ),
    "another that the history creates later": (
        ["CREATE EXTENSION hstore"],
        ["CREATE TABLE things (more hstore)", "CREATE EXTENSION citext", "ALTER TABLE things ADD name citext"],
    ),
    "one that the history creates where it isn't there": (
        [SCHEMA],
        ["CREATE EXTENSION IF NOT EXISTS citext", "CREATE TABLE things (name citext)"],
    ),
    "one that the history looks for": (
        ["CREATE EXTENSION citext"],
        [
            (
                "DO $$ BEGIN IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citext') THEN "
                "CREATE TABLE things (name text); END IF; END $$"
            ),
        ],
    ),
}
"""What was done by hand before each revision, and the revisions."""
VERIFIED = ("an operator class, after a part that is committed", "one that the history looks for")

UNTRUSTED = "CREATE EXTENSION bloom"
NEEDS_IT = "CREATE TABLE things (id integer)\nCREATE INDEX ix_things ON things USING bloom (id)"
Make = Callable[..., tuple[object, Dsn]]


@pytest.fixture
def make(monorepo: Monorepo, database: Callable[..., Dsn], server: Server) -> Make:
    """Make a service with revisions, and its database at head, where an administrator has run something before each."""

    def make(by_hand: Sequence[str], revisions: Sequence[str], *, creates: bool = True) -> tuple[object, Dsn]:
        dsn = database(creates=creates)
        service = monorepo.service("shop", MODELS, dsn, MIGRATIONS_SEARCH_PATH="public, ext")
        previous = None
        for number, revision in enumerate(revisions):
            lines = [
                line if line.startswith(("op.", "with ", " ")) else f"op.execute({line!r})"
                for line in revision.splitlines()
            ]
            monorepo.revision("shop", f"r{number}", previous, "\n".join(lines))
            previous = f"r{number}"
        for number in range(len(revisions)):
            if number < len(by_hand) and by_hand[number]:
                # what needs another extension comes after it
                run_script(inside(server, dsn), list(by_hand) if by_hand[0] else [by_hand[number]])
                by_hand = by_hand if not by_hand[0] else []
            wait(service_migrations.upgrade(service, f"r{number}"))
        return service, dsn

    return make


@pytest.mark.parametrize("case", CASES)
def test_the_replay_has_what_the_database_has(make: Make, server: Server, case: str) -> None:
    service, dsn = make(*CASES[case])
    query(dsn, "CREATE TABLE more (id integer)")
    assert [each.name for each in wait(drift(service)).differences] == ["more"]
    if case in VERIFIED:
        assert [each.name for each in wait(verify(service)).differences] == ["more"]
    assert scratches(server) == []


def test_the_replay_has_the_version_of_the_database(make: Make) -> None:
    service, _ = make(
        ["CREATE EXTENSION citext VERSION '1.4'"],
        [
            "CREATE TABLE things (name citext)",
            (
                "DO $$ BEGIN IF (SELECT extversion FROM pg_extension WHERE extname = 'citext') = '1.4' THEN "
                "CREATE TABLE old (); END IF; END $$"
            ),
        ],
    )
    assert wait(drift(service)).differences == ()


@pytest.mark.parametrize(
    ("by_hand", "revision", "name"),
    [
        (UNTRUSTED, f"CREATE EXTENSION IF NOT EXISTS bloom\n{NEEDS_IT}", "bloom"),
        (
            "CREATE EXTENSION earthdistance CASCADE",
            "CREATE TABLE things (place cube, radius float8 DEFAULT earth())",
            "earthdistance",
        ),
    ],
    ids=["one that the history creates where it isn't there", "one that requires another"],
)
def test_one_that_only_an_administrator_may_create_is_created_by_one_or_named(
    make: Make, server: Server, monorepo: Monorepo, by_hand: str, revision: str, name: str
) -> None:
    service, _ = make([by_hand], [revision])
    for command in ("db.drift", "db.baseline --write") if "EXISTS" in revision else ("db.drift",):
        ran = monorepo.inv(*command.split(), "--service", "shop")
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran.text
        assert ran.err.startswith("shop: migrations/versions/shop/r0.py:")
        assert f"it may need the extension {name}, which the database has, and which can't be created there" in ran.err
        assert "DATABASE_ADMIN_DSN" in ran.err
    assert scratches(server) == []
    assert wait(drift(service, admin=server.admin)).differences == ()
    assert scratches(server) == []


def test_an_extension_that_nobody_needs_is_no_reason_to_stop(make: Make) -> None:
    service, dsn = make([UNTRUSTED], ["CREATE TABLE things (id integer)"])
    assert [each.name for each in wait(drift(service)).differences] == ["bloom"]
    query(dsn, "ALTER TABLE things ADD more integer")
    assert [each.name for each in wait(drift(service)).differences] == ["things.more", "bloom"]


def remaining(dsn: Dsn) -> list[str]:
    rows = query(dsn, "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' UNION ALL "
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace UNION ALL "
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information' ORDER BY 1")  # fmt: skip
    return [row[0] for row in rows]


def test_a_given_scratch_database_may_have_extensions_and_is_left_as_it_was(
    make: Make, server: Server, monorepo: Monorepo, database: Callable[..., Dsn]
) -> None:
    service, dsn = make([f"{UNTRUSTED}; {SCHEMA}"], [f"{NEEDS_IT}\nCREATE TABLE more (name ext.citext)"], creates=False)
    given = database()
    settings = {"DATABASE_DSN": dsn_text(dsn), "DATABASE_SCRATCH_DSN": dsn_text(given)}
    monorepo.env("shop", MIGRATIONS_SEARCH_PATH="public, ext", **settings)
    ran = monorepo.inv("db.drift", "--service", "shop")
    assert (ran.code, "the extension bloom" in ran.err, remaining(given)) == (2, True, ["public"]), ran.text
    assert wait(drift(service, admin=server.admin)).differences == ()
    assert remaining(given) == ["public"]
    run_script(replace(server.admin, database=given.database), [UNTRUSTED, SCHEMA])
    assert wait(drift(service)).differences == ()
    assert remaining(given) == ["bloom", "citext", "ext", "public"]
    # a run that was killed has left its mark, its objects and an extension of its own
    kept = json.dumps([["extension", "bloom"], ["extension", "citext"], ["schema", "ext"]])
    mark = f"COMMENT ON SCHEMA migrations_scratch IS '{kept}'"
    run_script(given, ["CREATE SCHEMA migrations_scratch", mark, "CREATE TABLE things ()", "CREATE EXTENSION hstore"])
    assert wait(drift(service)).differences == ()
    assert remaining(given) == ["bloom", "citext", "ext", "public"]


def test_a_sibling_whose_tables_are_needed_may_need_one_too(
    monorepo: Monorepo, server: Server, database: Callable[..., Dsn]
) -> None:
    dsn = database(creates=True)
    shop = monorepo.service("shop", MODELS, dsn)
    depot = monorepo.service("depot", MODELS.replace("things", "depot"), may_create(server, database(shared=dsn)))
    query(inside(server, dsn), "CREATE EXTENSION citext")
    tables = {
        "depot": ["CREATE TABLE depot (id citext PRIMARY KEY)", f'GRANT REFERENCES ON depot TO "{dsn.user}"'],
        "shop": ["CREATE TABLE first (id integer)", "CREATE TABLE things (id citext REFERENCES depot)"],
    }
    for name, statements in tables.items():
        for number, statement in enumerate(statements):
            previous = f"{name}{number - 1}" if number else None
            monorepo.revision(name, f"{name}{number}", previous, f"op.execute({statement!r})")
        wait(service_migrations.upgrade(monorepo.find(name)))
    for service in (shop, depot):
        assert wait(drift(service)).differences == ()
    assert scratches(server) == []
