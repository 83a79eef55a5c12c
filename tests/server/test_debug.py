"""An error is one line, with what a person needs; ``--debug`` prints its traceback, whichever task met it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from service_migrations.settings.dsn import Dsn
from tests.support.monorepo import Monorepo

UPGRADE = ("db.upgrade", "--service", "billing")
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture
def two(monorepo: Monorepo, database: Callable[..., Dsn]) -> Monorepo:
    """Two services, each with a revision."""
    for name in ("billing", "catalog"):
        monorepo.service(name, dsn=database())
        monorepo.table_revision(name, "a1", None)
    return monorepo


@pytest.mark.parametrize(
    "words",
    [
        ("db.upgrade",),
        ("db.upgrade", "--service", "billing"),
        ("db.status",),
        ("db.current",),
        ("db.plan",),
        ("db.check",),
        ("db.log",),
        ("db.locks",),
        ("db.owners",),
        ("db.drift",),
        ("db.doctor",),
    ],
    ids=" ".join,
)
def test_debug_prints_the_traceback_in_every_task(two: Monorepo, words: tuple[str, ...]) -> None:
    """Also where nothing was raised in this process: a server that refuses, as the scan of many services meets it."""
    two.env("billing", DATABASE_DSN="postgresql://app@127.0.0.1:1/nowhere")
    ran = two.inv("--debug", *words)
    assert TRACEBACK in ran.err, ran.text
    assert TRACEBACK not in two.inv(*words).text


def test_the_traceback_of_a_worker_arrives_once_and_only_with_debug(two: Monorepo) -> None:
    two.revision("billing", "a1", None, "def deep():\n    raise AssertionError\ndeep()")
    ran = two.inv("--debug", "db.upgrade")
    assert ran.code == 1
    assert 'migrations/versions/billing/a1.py", line' in ran.err
    assert ran.err.count("in deep\n") == 1
    ran = two.inv("db.upgrade")
    assert (ran.code, TRACEBACK in ran.text) == (1, False)
    assert "billing: migrations/versions/billing/a1.py:11: AssertionError. It was rolled back." in ran.err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise AssertionError", "AssertionError. It was rolled back."),
        ('{}["amount"]', "KeyError: 'amount'. It was rolled back."),
        ("raise NotImplementedError", "NotImplementedError. It was rolled back."),
        ('raise RuntimeError("why")', "RuntimeError: why. It was rolled back."),
        ('op.execute("SELECT 1/0")', "division by zero [22012]. It was rolled back."),
    ],
)
def test_an_error_of_pythons_is_told_with_its_class(two: Monorepo, body: str, said: str) -> None:
    two.revision("billing", "a1", None, body)
    ran = two.inv("db.upgrade", "--service", "billing")
    assert (ran.code, ran.err.splitlines()[-1]) == (1, f"billing: migrations/versions/billing/a1.py:10: {said}")


def test_an_error_of_the_models_is_told_with_its_part(monorepo: Monorepo, database: Callable[..., Dsn]) -> None:
    """A naming convention without "ix", with which no index gets a name."""
    monorepo.service(
        "billing",
        """
        from sqlalchemy import MetaData
        from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
        __all__ = ["Base", "T"]
        class Base(DeclarativeBase):
            metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})
        class T(Base):
            __tablename__ = "t"
            id: Mapped[int] = mapped_column(primary_key=True)
            n: Mapped[int] = mapped_column(index=True)
        """,
        database(),
    )
    ran = monorepo.inv("db.revision", "--service", "billing", "-m", "x")
    assert ran.code == 78, ran.text
    said = 'it has no name. Add "ix" to the naming_convention of the MetaData, or name the index.'
    assert ran.err.splitlines()[-1] == f"billing: services/billing/models.py: table t, index (n): {said}"


def test_an_error_in_env_py_is_told_with_its_place(two: Monorepo) -> None:
    env = two.root / "migrations" / "env.py"
    env.write_text(
        env.read_text(encoding="utf-8").replace("context.run_migrations()", "assert False"), encoding="utf-8"
    )
    ran = two.inv("db.upgrade", "--service", "billing")
    assert ran.code == 1
    assert re.search(r"^billing: migrations/env\.py:\d+: AssertionError\.", ran.err, re.MULTILINE), ran.text


MISSING = "raise ModuleNotFoundError('No module named ' + __name__, name=__name__)"
OLD = "__version__ = '1.4'"


@pytest.mark.parametrize(
    ("package", "words", "text"),
    [
        *(("rich", ("db.status",), text) for text in (MISSING, OLD)),
        *((package, UPGRADE, text) for package in ("sqlalchemy", "alembic") for text in (MISSING, OLD)),
        ("asyncpg", ("db.status",), MISSING),
        ("dotenv", ("db.status",), MISSING),
        ("greenlet", UPGRADE, MISSING),
    ],
)
def test_a_package_that_is_missing_or_old_is_one_line_and_78(
    two: Monorepo, tmp_path: Path, package: str, words: tuple[str, ...], text: str
) -> None:
    (tmp_path / "path" / package).mkdir(parents=True)
    (tmp_path / "path" / package / "__init__.py").write_text(text, encoding="utf-8")
    ran = two.process(*words, env={"PYTHONPATH": str(tmp_path / "path")})
    assert (ran.code, len(ran.err.splitlines())) == (78, 1), ran.text
    assert package in ran.err


@pytest.mark.parametrize(
    ("package", "installed"), [("rich", "1.0"), ("sqlalchemy", "2.0.54"), ("alembic", "1.9.4"), ("SQLAlchemy", "1.4")]
)
def test_an_old_package_is_refused_also_where_it_would_raise_nothing(
    two: Monorepo, tmp_path: Path, package: str, installed: str
) -> None:
    metadata = tmp_path / "path" / f"{package}-{installed}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {installed}\n", encoding="utf-8")
    ran = two.process("db.upgrade", "--service", "billing", env={"PYTHONPATH": str(tmp_path / "path")})
    if package == "rich":  # nothing needs it there
        assert ran.code == 0, ran.text
        return
    assert (ran.code, len(ran.err.splitlines())) == (78, 1), ran.text
    assert f"{package.lower()} {installed} is too old" in ran.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[tool.other]\n", "has neither [tool.service-migrations] nor [tool.alembic]"),
        ("[tool]\nalembic = 5\n[tool.service-migrations]\n", "[tool.alembic] can't be read"),
        ('[tool.alembic]\nscript_location = "%(hear)s/x"\n', "[tool.alembic] can't be read"),
        ('[tool.alembic]\nscript_location = "100%"\n', "[tool.alembic] can't be read"),
    ],
)
@pytest.mark.parametrize("words", [UPGRADE, ("db.heads",)])
def test_a_pyproject_that_cant_be_used_is_one_line_and_78(
    two: Monorepo, words: tuple[str, ...], table: str, said: str
) -> None:
    (two.root / "pyproject.toml").write_text(table, encoding="utf-8")
    ran = two.inv(*words)
    assert (ran.code, TRACEBACK in ran.text) == (78, False), ran.text
    assert said in ran.err


def test_alembics_table_may_be_missing(two: Monorepo) -> None:
    (two.root / "pyproject.toml").write_text("[tool.service-migrations]\n", encoding="utf-8")
    assert two.inv("db.upgrade").code == 0
