"""What the database takes and the running code notices all the same, or when it commits; what is no break passes."""

import shutil
from pathlib import Path

import pytest

from service_migrations.compat.breaks import Compat
from service_migrations.compat.compat import compat
from service_migrations.monorepo import Monorepo as Found
from service_migrations.postgres import Server
from tests.support.database import wait
from tests.support.monorepo import Monorepo

MODELS = """
import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Optional

from sqlalchemy import Enum, ForeignKey, Interval, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Account", "Base", "Node", "Post", "Profile", "Tag", "Tagging"]


class Base(DeclarativeBase):
    pass


class Mood(enum.Enum):
    sad = 1
    glad = 2


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[Decimal] = mapped_column(Numeric(12, 4))
    ratio: Mapped[float]
    ref: Mapped[uuid.UUID]
    mood: Mapped[Mood] = mapped_column(Enum(Mood, name="mood"))
    span: Mapped[Optional[dt.timedelta]] = mapped_column(Interval)
    at: Mapped[Optional[dt.datetime]]
    legacy: Mapped[int]
    updated: Mapped[Optional[dt.datetime]]


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[Optional[int]] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    product_id: Mapped[Optional[int]] = mapped_column(ForeignKey("products.id"))  # of a sibling
    title: Mapped[str] = mapped_column(String(20))
    other: Mapped[int]


class Profile(Base):
    __tablename__ = "profiles"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[Optional[int]] = mapped_column(ForeignKey("nodes.id", ondelete="SET NULL"))


class Tag(Base):
    __tablename__ = "tags"
    name: Mapped[str] = mapped_column(String(10), primary_key=True)


class Tagging(Base):
    __tablename__ = "taggings"
    id: Mapped[int] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(ForeignKey("tags.name", onupdate="CASCADE"))
"""
FIRST = (
    "CREATE TYPE mood AS ENUM ('sad', 'glad')",
    """CREATE TABLE accounts (id serial PRIMARY KEY, balance numeric(12, 4) NOT NULL, ratio float8 NOT NULL,
    ref uuid NOT NULL, mood mood NOT NULL, span interval, at timestamp, legacy int NOT NULL, updated timestamp)""",
    """CREATE TABLE posts (id serial PRIMARY KEY, account_id int REFERENCES accounts ON DELETE CASCADE, product_id int,
    title varchar(20) NOT NULL, other int NOT NULL)""",
    "CREATE TABLE profiles (id serial PRIMARY KEY, account_id int NOT NULL REFERENCES accounts)",
    "CREATE TABLE nodes (id serial PRIMARY KEY, parent_id int REFERENCES nodes ON DELETE SET NULL)",
    "CREATE TABLE tags (name varchar(10) PRIMARY KEY)",
    "CREATE TABLE taggings (id serial PRIMARY KEY, tag varchar(10) NOT NULL REFERENCES tags ON UPDATE CASCADE)",
)
FUNCTION = "CREATE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {1} END $$"
SILENT = {
    "a narrower scale": (("ALTER TABLE accounts ALTER balance TYPE numeric(20, 2)",), "accounts", "balance", "keep"),
    "a narrower float": (("ALTER TABLE accounts ALTER ratio TYPE real",), "accounts", "ratio", "keep"),
    "a UUID as text": (("ALTER TABLE accounts ALTER ref TYPE text",), "accounts", "ref", "find"),
    "an enum as text": (("ALTER TABLE accounts ALTER mood TYPE text",), "accounts", "mood", "find"),
    "an int as text": (("ALTER TABLE accounts ALTER legacy TYPE text",), "accounts", "legacy", "find"),
    "a span of whole seconds": (("ALTER TABLE accounts ALTER span TYPE interval(0)",), "accounts", "span", "keep"),
    "a moment as a date": (("ALTER TABLE accounts ALTER at TYPE date",), "accounts", "at", "keep"),
    "a moment with a time zone": (("ALTER TABLE accounts ALTER at TYPE timestamptz",), "accounts", "at", "keep"),
    "a unique foreign key": (("ALTER TABLE profiles ADD UNIQUE (account_id)",), "profiles", "account_id", "insert"),
    "a key that cascaded": (
        (
            "ALTER TABLE posts DROP CONSTRAINT posts_account_id_fkey",
            "ALTER TABLE posts ADD FOREIGN KEY (account_id) REFERENCES accounts",
        ),
        *("posts", "", "delete"),
    ),
    "a key to its own table that set NULL": (
        (
            "ALTER TABLE nodes DROP CONSTRAINT nodes_parent_id_fkey",
            "ALTER TABLE nodes ADD FOREIGN KEY (parent_id) REFERENCES nodes",
        ),
        *("nodes", "", "delete"),
    ),
    "a key that followed an update": (
        (
            "ALTER TABLE taggings DROP CONSTRAINT taggings_tag_fkey",
            "ALTER TABLE taggings ADD FOREIGN KEY (tag) REFERENCES tags",
        ),
        *("taggings", "", "change"),
    ),
    "what is checked at the commit": (
        ("ALTER TABLE posts ADD UNIQUE (title) DEFERRABLE INITIALLY DEFERRED",),
        *("posts", "title", "insert"),
    ),
    "a trigger that fires at the commit": (
        (
            FUNCTION.format("late", "RAISE EXCEPTION 'late';"),
            """CREATE CONSTRAINT TRIGGER late AFTER INSERT ON posts DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION late()""",
        ),
        *("", "", "insert"),
    ),
    "a trigger that swallows rows": (
        (
            FUNCTION.format("gone", "RETURN NULL;"),
            "CREATE TRIGGER gone BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION gone()",
        ),
        *("posts", "", "insert"),
    ),
    "a trigger that swallows changes": (
        (
            FUNCTION.format("still", "RETURN NULL;"),
            "CREATE TRIGGER still BEFORE UPDATE OR DELETE ON posts FOR EACH ROW EXECUTE FUNCTION still()",
        ),
        *("posts", "", "change"),
    ),
}
"""Changes that no plain INSERT, UPDATE or DELETE of one row fails of: SQL, table, column and what is told."""
HARMLESS = (
    "ALTER TABLE accounts ALTER balance TYPE numeric",
    "ALTER TABLE accounts ALTER legacy TYPE bigint",
    "ALTER TABLE posts ALTER title TYPE text",
    FUNCTION.format("stamp", "NEW.updated := now(); RETURN NEW;"),
    "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION stamp()",
    "ALTER TABLE profiles DROP CONSTRAINT profiles_account_id_fkey",
    "ALTER TABLE profiles ADD FOREIGN KEY (account_id) REFERENCES accounts ON DELETE CASCADE",
    "ALTER TABLE posts ALTER CONSTRAINT posts_account_id_fkey DEFERRABLE INITIALLY DEFERRED",
)


@pytest.fixture
def running(monorepo: Monorepo, tmp_path: Path) -> Monorepo:
    monorepo.service("shop", MODELS)
    monorepo.revision("shop", "r0", None, statements(*FIRST))
    shutil.copytree(monorepo.root, tmp_path / "running")
    return Monorepo(tmp_path / "running")


def statements(*sql: str) -> str:
    return "\n".join(f"op.execute({each!r})" for each in sql)


def tried(monorepo: Monorepo, running: Monorepo, server: Server) -> Compat:
    return wait(compat(Found.locate(monorepo.root).find("shop"), ("0" * 40, running.root), server))


@pytest.mark.parametrize(("sql", "table", "column", "action"), SILENT.values(), ids=list(SILENT))
def test_what_a_plain_statement_doesnt_meet_is_told(
    monorepo: Monorepo, running: Monorepo, server: Server, sql: tuple[str, ...], table: str, column: str, action: str
) -> None:
    monorepo.revision("shop", "r1", "r0", statements(*sql))
    result = tried(monorepo, running, server)
    assert result.untried == {}
    told = {(breakage.table, breakage.action) for breakage in result.breaks} | {
        ("", breakage.action) for breakage in result.breaks
    }
    assert (table, action) in told or (table, action) in {
        (_refused(breakage.why), breakage.action) for breakage in result.breaks
    }
    assert not column or column in {breakage.column for breakage in result.breaks}
    assert all(breakage.statement for breakage in result.breaks if breakage.action != "upgrade")


def _refused(why: str) -> str:
    return why.rpartition('on table "')[2].rstrip('"')


def test_what_the_running_code_doesnt_notice_passes(monorepo: Monorepo, running: Monorepo, server: Server) -> None:
    monorepo.revision("shop", "r1", "r0", statements(*HARMLESS))
    result = tried(monorepo, running, server)
    assert (result.breaks, dict(result.untried)) == ((), {})


def test_a_column_that_takes_no_known_value_is_left_out_and_named(
    monorepo: Monorepo, running: Monorepo, server: Server
) -> None:
    first = FIRST[1].replace("at timestamp", "at tsrange")
    for repository in (monorepo, running):
        repository.revision("shop", "r0", None, statements(FIRST[0], first, *FIRST[2:]))
    monorepo.revision("shop", "r1", "r0", statements("ALTER TABLE accounts DROP legacy"))
    result = tried(monorepo, running, server)
    assert set(result.untried) == {"accounts.at"}
    assert {(breakage.table, breakage.action) for breakage in result.breaks} >= {
        ("accounts", "read"),
        ("accounts", "insert"),
    }


UNIQUE = """
from sqlalchemy import ForeignKey, Index, String, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Friend", "Person"]


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    __table_args__ = (Index("uq_email", {expression}, unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(50))


class Friend(Base):
    __tablename__ = "friends"
    one_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
    other_id: Mapped[int] = mapped_column(ForeignKey("people.id"), primary_key=True)
"""


@pytest.mark.parametrize("expression", ['"email"', 'func.lower(text("email"))', 'text("lower(email)")'])
def test_two_rows_of_a_table_with_a_unique_expression_are_made(
    monorepo: Monorepo, tmp_path: Path, server: Server, expression: str
) -> None:
    """A friend has two people, whose values must not be equal."""
    monorepo.service("shop", UNIQUE.format(expression=expression))
    tables = (
        "CREATE TABLE people (id serial PRIMARY KEY, email varchar(50) NOT NULL)",
        "CREATE UNIQUE INDEX uq_email ON people (lower(email))",
        "CREATE TABLE friends (one_id int REFERENCES people, other_id int REFERENCES people)",
        "ALTER TABLE friends ADD PRIMARY KEY (one_id, other_id)",
    )
    monorepo.revision("shop", "r0", None, "\n".join(f"op.execute({sql!r})" for sql in tables))
    shutil.copytree(monorepo.root, tmp_path / "running")
    monorepo.revision("shop", "r1", "r0", 'op.execute("CREATE TABLE other (id int)")')
    service = Found.locate(monorepo.root).find("shop")
    result: Compat = wait(compat(service, ("0" * 40, tmp_path / "running"), server))
    assert (result.breaks, dict(result.untried)) == ((), {})
