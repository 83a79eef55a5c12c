"""Services with sources of their own, whose modules have the same names: the code of each sees its own only."""

import importlib
import sys
from collections.abc import Callable, Iterator

import pytest

import service_migrations
from service_migrations.errors import UsageError
from service_migrations.settings.dsn import Dsn
from tests.support.database import tables, wait
from tests.support.monorepo import Monorepo, dsn_text

NAMES = ("alpha", "beta")

TABLE = """
[tool.service-migrations.service.{name}]
path = "apps/{name}"
source = "apps/{name}"
models = "app.models"
versions = "apps/{name}/versions"
"""

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from {imported} import NAME

__all__ = ["Base", "Thing"]

class Base(DeclarativeBase):
    pass

class Thing(Base):
    __tablename__ = NAME
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
"""

REVISION = """
import sqlalchemy as sa
from alembic import op
from {imported} import NAME

revision = "{name}1"
down_revision = None

def upgrade():
    from {imported} import NAME as AGAIN
    from {late} import LATE
    assert (NAME, AGAIN, LATE) == ("{name}",) * 3, (NAME, AGAIN, LATE)
    columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50), nullable=False)]
    op.create_table(NAME, *columns)

def downgrade():
    op.drop_table(NAME)
"""


@pytest.fixture(params=[("app.names", "app.late"), ("names", "late")], ids=["of the package", "beside it"])
def apps(
    request: pytest.FixtureRequest,
    monorepo: Monorepo,
    database: Callable[..., Dsn],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, Dsn]]:
    """Two services, each with a package ``app`` and modules in its own source, and its database."""
    monkeypatch.chdir(monorepo.root)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    imported, late = request.param
    dsns = {}
    with (monorepo.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.writelines(TABLE.format(name=name) for name in NAMES)
    for name in NAMES:
        dsns[name] = database()
        folder = monorepo.root / "apps" / name
        texts = {
            "app/__init__.py": "",
            "app/models.py": MODELS.format(imported=imported),
            f"{imported.replace('.', '/')}.py": f"NAME = {name!r}\n",
            f"{late.replace('.', '/')}.py": f"LATE = {name!r}\n",
            f"versions/{name}1.py": REVISION.format(imported=imported, late=late, name=name),
            ".env": f"DATABASE_DSN={dsn_text(dsns[name])}\n",
        }
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        (folder / ".env").chmod(0o600)
    yield dsns
    for loaded in [module for module in sys.modules if module.partition(".")[0] in ("app", "names", "late")]:
        del sys.modules[loaded]


def expect_own(apps: dict[str, Dsn]) -> None:
    assert {name: tables(dsn) for name, dsn in apps.items()} == {
        name: {name, f"alembic_version_{name}"} for name in apps
    }


def test_a_fleet_in_one_worker_runs_each_revision_with_its_own(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    ran = monorepo.inv("db.upgrade", "--jobs", "1")
    assert ran.code == 0, ran.text
    expect_own(apps)
    ran = monorepo.inv("db.check")
    assert ran.code == 0, ran.text


def test_an_application_upgrades_and_checks_both(apps: dict[str, Dsn]) -> None:
    for name in apps:
        wait(service_migrations.upgrade(name))
    expect_own(apps)
    for name in reversed(NAMES):
        assert not wait(service_migrations.check(name)).differences


@pytest.mark.parametrize("words", [("db.plan", "--sql"), ("db.upgrade", "--sql")], ids=" ".join)
def test_the_sql_of_each_is_its_own(apps: dict[str, Dsn], monorepo: Monorepo, words: tuple[str, ...]) -> None:
    for name in apps:
        ran = monorepo.inv(*words, "--service", name)
        assert ran.code == 0, ran.text
        assert f"CREATE TABLE {name}" in ran.out


def test_plain_alembic_runs_a_revision_that_imports_its_own(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    for name in apps:
        ran = monorepo.inv("-x", f"service={name}", "upgrade", "head", program="alembic")
        assert ran.code == 0, ran.text
    expect_own(apps)


def test_what_only_another_service_has_is_missing(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    for path in [*(monorepo.root / "apps" / "beta").rglob("names.py")]:
        path.unlink()
    wait(service_migrations.upgrade("alpha"))
    wait(service_migrations.check("alpha"))
    with pytest.raises(UsageError, match=r"apps/beta/versions/beta1\.py:4: it can't be imported: ModuleNotFoundError"):
        wait(service_migrations.upgrade("beta"))
    assert tables(apps["beta"]) == set()


def test_the_modules_of_an_application_stay_its_own(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    sys.path.insert(0, str(monorepo.root / "apps" / "alpha"))
    models = importlib.import_module("app.models")
    mine = {name: loaded for name, loaded in sys.modules.items() if name.partition(".")[0] in ("app", "names")}
    for name in (*NAMES, *NAMES):
        wait(service_migrations.upgrade(name))
        assert not wait(service_migrations.check(name)).differences
        assert {one: sys.modules[one] for one in mine} == mine
    assert importlib.import_module("app.models") is models
    expect_own(apps)


def test_a_module_that_cannot_be_imported_leaves_all_others(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    wait(service_migrations.upgrade("alpha"))
    path = monorepo.root / "apps" / "beta" / "versions" / "beta1.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\nraise ValueError('on purpose')\n", encoding="utf-8")
    with pytest.raises(UsageError, match="on purpose"):
        wait(service_migrations.upgrade("beta"))
    assert not wait(service_migrations.check("alpha")).differences
    path.write_text(text, encoding="utf-8")
    wait(service_migrations.upgrade("beta"))
    expect_own(apps)


def test_code_that_makes_a_path_of_its_own_stops_nothing(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    models = monorepo.root / "apps" / "beta" / "app" / "models.py"
    own = "import sys\nsys.path = [one for one in sys.path if not one.endswith('beta')]\n"
    models.write_text(f"{models.read_text(encoding='utf-8')}\n{own}", encoding="utf-8")
    for name in apps:
        wait(service_migrations.upgrade(name))
        assert not wait(service_migrations.check(name)).differences
    expect_own(apps)


def test_the_path_has_each_source_once_afterwards(apps: dict[str, Dsn], monorepo: Monorepo) -> None:
    for _ in range(2):
        for name in apps:
            wait(service_migrations.upgrade(name))
            assert not wait(service_migrations.check(name)).differences
        assert [sys.path.count(str(monorepo.root / "apps" / name)) for name in NAMES] == [1, 1]
