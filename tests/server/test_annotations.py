"""What db.check says to GitHub, beside what it says to a person."""

import pytest

import service_migrations
from service_migrations.errors import MigrationError
from service_migrations.settings.dsn import Dsn
from service_migrations.tasks.support import annotations
from tests.support.database import query, wait
from tests.support.monorepo import MODELS, Monorepo


@pytest.fixture
def world(monorepo: Monorepo, database) -> tuple[Monorepo, Dsn]:
    """Billing with a constraint without a name and a column too few, and catalog, which doesn't import."""
    dsn = database()
    models = MODELS.format(table="billing").replace("String(50)", "String(50), unique=True")
    service = monorepo.service("billing", models, dsn)
    wait(service_migrations.revision(service, "create"))
    wait(service_migrations.upgrade(service))
    query(dsn, "ALTER TABLE billing ADD extra int")
    monorepo.service("catalog", "\n1 / 0\n", database())
    return monorepo, dsn


def test_each_thing_that_check_found_is_shown_at_its_file(world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    ran = monorepo.inv("db.check", env={"GITHUB_ACTIONS": "true"})
    assert ran.code == 78
    shown = [line for line in ran.out.splitlines() if line.startswith("::")]
    assert len(shown) == 3
    assert shown[0] == "::error file=services/billing/models.py::billing: drop_column billing.extra"
    assert shown[1].startswith("::error file=services/billing/models.py::billing has a UNIQUE")
    assert shown[2].startswith(
        "::error file=services/catalog/models.py,line=2::catalog: services.catalog.models can't be imported"
    )
    assert "billing: drop_column billing.extra" in ran.out.splitlines()


@pytest.mark.parametrize(("variable", "words"), [("", []), ("false", []), ("true", ["--json"])])
def test_elsewhere_and_in_json_there_is_none(variable: str, words: list[str], world: tuple[Monorepo, Dsn]) -> None:
    monorepo, _ = world
    ran = monorepo.inv("db.check", "--service", "billing", *words, env={"GITHUB_ACTIONS": variable})
    assert ran.code == 3
    assert "::error" not in ran.text


def test_what_would_end_an_annotation_early_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    annotations._print(MigrationError("100%\r\nand more", path="a,b:c.py"))
    assert capsys.readouterr().out == "::error file=a%2Cb%3Ac.py::100%25%0D%0Aand more\n"
