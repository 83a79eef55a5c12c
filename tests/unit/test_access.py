"""What keeps running code out, or leaves rows out: roles, owners, publications, partitions, policies, defaults."""

import pytest

from service_migrations.plan.classify import Class, classify
from service_migrations.plan.novelty import Scope
from service_migrations.sql.lexer import statements

BREAKS = [
    *("ALTER ROLE r NOLOGIN", "ALTER ROLE r WITH NOLOGIN", "ALTER USER r PASSWORD 'x'", "ALTER ROLE r NOINHERIT"),
    *("ALTER ROLE r VALID UNTIL '2020-01-01'", "ALTER ROLE r CONNECTION LIMIT 0", "ALTER ROLE r NOBYPASSRLS"),
    *("ALTER ROLE r SET search_path = a", "ALTER ROLE r IN DATABASE d SET role = s", "ALTER ROLE r RESET ALL"),
    *("ALTER GROUP g DROP USER r", "ALTER DATABASE d SET search_path TO a", "ALTER DATABASE d ALLOW_CONNECTIONS false"),
    *("ALTER DATABASE d CONNECTION LIMIT 5", "ALTER TABLE t OWNER TO r", "ALTER VIEW v OWNER TO r"),
    *("ALTER SCHEMA s OWNER TO r", "ALTER MATERIALIZED VIEW v OWNER TO r", "REASSIGN OWNED BY r TO s"),
    *("DROP PUBLICATION p", "ALTER PUBLICATION p DROP TABLE t", "ALTER PUBLICATION p SET TABLE t"),
    *("ALTER PUBLICATION p RENAME TO q", "DROP SUBSCRIPTION s", "ALTER SUBSCRIPTION s DISABLE"),
    *(
        "ALTER TABLE p DETACH PARTITION q",
        "ALTER TABLE p DETACH PARTITION q CONCURRENTLY",
        "ALTER TABLE t NO INHERIT p",
    ),
    "CREATE TABLE q (a int); ALTER TABLE p ATTACH PARTITION q DEFAULT; ALTER TABLE p DETACH PARTITION r",
    "ALTER TABLE p ATTACH PARTITION q DEFAULT; ALTER TABLE p DETACH PARTITION q",
    *("ALTER POLICY y ON t TO r", "ALTER TABLE t REPLICA IDENTITY NOTHING"),
    *("ALTER TABLE t ALTER a SET DEFAULT NULL", "ALTER TABLE t ALTER COLUMN a SET DEFAULT null"),
]
HARMLESS = [
    *("ALTER ROLE r LOGIN", "ALTER ROLE r SUPERUSER INHERIT", "ALTER ROLE r VALID UNTIL 'infinity'"),
    *("ALTER ROLE r CONNECTION LIMIT -1", "ALTER ROLE r SET work_mem = '1GB'", "CREATE ROLE r; ALTER ROLE r NOLOGIN"),
    *("CREATE ROLE r; ALTER ROLE r PASSWORD 'x'", "ALTER GROUP g ADD USER r", "ALTER DATABASE d SET timezone = 'UTC'"),
    *("ALTER TABLE t OWNER TO CURRENT_USER", "CREATE TABLE t (a int); ALTER TABLE t OWNER TO r"),
    *("ALTER FUNCTION f(int) OWNER TO r", "ALTER PUBLICATION p ADD TABLE t", "CREATE PUBLICATION p FOR TABLE t"),
    *("ALTER PUBLICATION p OWNER TO r", "ALTER TABLE p DETACH PARTITION q FINALIZE"),
    "CREATE TABLE q (a int); ALTER TABLE p ATTACH PARTITION q DEFAULT; ALTER TABLE p DETACH PARTITION q",
    "ALTER TABLE p DETACH PARTITION q; CREATE TABLE r (a int); ALTER TABLE p ATTACH PARTITION q DEFAULT",
    "ALTER TABLE t NO INHERIT p; ALTER TABLE t INHERIT p",
    *("ALTER POLICY y ON t RENAME TO z", "ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t ALTER a SET DEFAULT 3"),
]


def breaking(text: str) -> list[str]:
    """Return what breaks running code in the statements of one revision."""
    scope, found = Scope(), []
    tokens = [statement.tokens for statement in statements(text)]
    scope.look_ahead(tokens)
    for statement in tokens:
        found += [message for kind, message in classify(statement, scope) if kind is Class.BREAKING]
        scope.record(statement)
    return found


@pytest.mark.parametrize("text", BREAKS)
def test_what_keeps_code_or_rows_out_breaks(text: str) -> None:
    assert breaking(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_lets_more_in_or_comes_back_breaks_nothing(text: str) -> None:
    assert breaking(text) == []
