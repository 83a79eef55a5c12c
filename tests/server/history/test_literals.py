"""A revision stores the same values online and by the script of offline mode, whatever their type."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from service_migrations.postgres import Server
from service_migrations.settings.dsn import Dsn
from tests.support import typed_values
from tests.support.database import make_database, query, run_script
from tests.support.monorepo import Monorepo
from tests.support.once import once

ELSEWHERE = {"TZ": "America/New_York"}
"""The driver takes a time without a zone for one of the machine's, which isn't the server's."""

Rows = dict[str, list[Any]]


def test_every_type_has_values() -> None:
    types = {
        name
        for module in (sa, sa.types, postgresql)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, sa.types.TypeEngine)
    }
    covered = {type(type_).__name__ for type_, _, _ in typed_values.CASES}
    excluded = {name for names in typed_values.WITHOUT_VALUES.values() for name in names.split()}
    assert types - covered - excluded == set()


@pytest.fixture(scope="module")
def stored(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows]:
    """The rows of all tables, by the name of the table: online, and by the script."""
    return once(tmp_path_factory, "literals", lambda: _stored(server, tmp_path_factory.mktemp("literals") / "repo"))


def _stored(server: Server, root: Path) -> tuple[Rows, Rows]:
    monorepo = Monorepo.make(root)
    source = Path(typed_values.__file__).read_text(encoding="utf-8")
    (root / "typed_values.py").write_text(source, encoding="utf-8")
    databases = []
    for name in ("billing", "shop"):
        dsn = make_database(server)
        databases.append(dsn)
        monorepo.service(name, dsn=dsn)
        monorepo.revision(name, "a1", None, "from typed_values import store; store()")
    online = monorepo.inv("db.upgrade", "--service", "billing", env=ELSEWHERE)
    assert online.code == 0, online.text
    script = monorepo.inv("db.upgrade", "--service", "shop", "--sql", env=ELSEWHERE)
    assert script.code == 0, script.text
    run_script(databases[1], [script.out])
    return _rows(databases[0]), _rows(databases[1])


def _rows(dsn: Dsn) -> Rows:
    parts = [
        f'SELECT {index} AS i, way, n, v::text COLLATE "C" AS v, v IS NULL AS is_null FROM t{index}'  # noqa: S608 - of this file
        for index in range(len(typed_values.CASES))
    ]
    rows: Rows = {f"t{index}": [] for index in range(len(typed_values.CASES))}
    for index, *row in query(dsn, " UNION ALL ".join(parts) + " ORDER BY 1, 2, 3"):
        rows[f"t{index}"].append(tuple(row))
    for index, way, number, _ in query(dsn, "SELECT * FROM refused ORDER BY 1, 2, 3"):
        rows[f"t{index}"].append((way, number, "refused"))
    return rows


@pytest.mark.parametrize(
    "index", range(len(typed_values.CASES)), ids=[f"{type_!r}-{column}" for type_, column, _ in typed_values.CASES]
)
def test_a_value_is_the_same_online_and_offline(stored: tuple[Rows, Rows], index: int) -> None:
    online, offline = stored
    ways = len(typed_values.WAYS)
    assert len({way for way, *_ in online[f"t{index}"]}) >= ways - 1  # no value is refused twice
    assert offline[f"t{index}"] == online[f"t{index}"]
