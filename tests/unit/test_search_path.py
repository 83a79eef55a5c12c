"""The search paths of a connection: the service's, as a statement sets it, and that of the library's own queries."""

import ast
import re
from pathlib import Path

import pytest

from service_migrations.catalog.search_path import SearchPath
from service_migrations.session.locks import HOLDS_LOCK
from service_migrations.sql.lexer import tokenize

PACKAGE = Path(__file__).resolve().parents[2] / "service_migrations"


@pytest.mark.parametrize(
    ("value", "assignment"),
    [
        ("public, pg_temp", "search_path TO public, pg_temp"),
        ('"$user", public', 'search_path TO "$user", public'),
        ("$user,public", 'search_path TO "$user", public'),
        ("Public ,  app", "search_path TO public, app"),
        ('"Weird, ""name""", x', 'search_path TO "Weird, ""name""", x'),
        ('"a;b"', 'search_path TO "a;b"'),
        ('""', "search_path TO ''"),
        ("", "search_path TO ''"),
    ],
)
def test_a_path_is_set_as_the_server_has_it(value: str, assignment: str) -> None:
    assert SearchPath(value, ()).assignment == assignment


def test_the_default_schema_is_the_first_that_lasts() -> None:
    assert SearchPath.of("pg_temp, app, public", ["pg_temp_3", "app", "public"]).default == "app"
    assert SearchPath.of("nowhere", []).default is None


def test_every_connection_of_the_library_gets_its_own_search_path() -> None:
    """A connection that somebody adds elsewhere would resolve our queries by the service's path."""
    made = re.compile(r"\basyncpg\.connect\b|\bcreate_async_engine\((?!\))")
    sources = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    modules = {name: source for name, source in sources.items() if made.search(source)}
    # these make a copy of an engine for a proof of its own, the connections of engine.py, and those for SQL of a team
    without = {"compat/probe.py", "connection/pooler.py", "libpq/conninfo.py", "testing/schema.py"}
    without |= {"connection/opened.py"}  # for the queries of rollout/scan.py, of which the next test is
    assert {name for name, source in modules.items() if not re.search("OWN_PATH|ServerProcess", source)} <= without
    assert {
        "connection/engine.py",
        "connection/opened.py",
        "databases/admin.py",
        "testing/databases.py",
    } <= modules.keys()


SYNTAX = {"all", "and", "any", "array", "cast", "coalesce", "exists", "from", "join", "operator", "or", "settings",
          "substring", "absent"}  # fmt: skip
"""What stands before a parenthesis and is no function that is looked up by its name."""


@pytest.mark.parametrize(
    "module",
    [
        "safe.py",
        "connection/dialect.py",
        "connection/server_process.py",
        "rollout/scan.py",
        "session/tables/trust.py",
        "session/tables/version_tables.py",
        *(f"session/{name}.py" for name in ("assertions", "concurrent_builds", "marks", "settings")),
    ],
)
def test_a_query_that_meets_the_search_path_of_a_service_qualifies_each_name(module: str) -> None:
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    is_sql = re.compile(r"\bSELECT\b.*\bpg_|\bpg_catalog\.")
    texts = [text for text in constants if isinstance(text, str) and is_sql.search(text.replace("\n", " "))]
    has_one = module in ("safe.py", "connection/dialect.py", "session/concurrent_builds.py") or "/tables/" in module
    assert len(texts) > (not has_one)
    for sql in [*texts, HOLDS_LOCK]:
        tokens = list(tokenize(re.sub(r"OPERATOR\(pg_catalog\.[^)]+\)|(?<=count)\(\*\)", ",", sql)))
        for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
            if token.kind == "word" and after == "(" and before != ".":
                assert token.value in SYNTAX, f"{token.value} in {sql}"
            assert token.kind != "symbol" or token.value not in "+-*/<>=~!@#%^&|`?", f"{token.value} in {sql}"
            assert token != "::", sql
            if token.kind == "word" and token.value.startswith("pg_") and token.value != "pg_catalog":
                assert before == ".", f"{token.value} in {sql}"
