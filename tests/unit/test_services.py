"""``db.services``: what says each name and folder of a service."""

import json

import pytest
from invoke.context import Context

from service_migrations.tasks.show import services
from tests.support.monorepo import MODELS, Monorepo

TABLE = """
[tool.service-migrations]
services = ["apps/*"]
models = "{name}.models"
source = "apps/{name}/src"

[tool.service-migrations.service.payments]
versions = "apps/payments/versions"
version_table = "alembic_version"
"""


list_services = services.body.__wrapped__
"""The task without what belongs to its process: signals, streams and logging."""


@pytest.fixture(autouse=True)
def _layout(monorepo: Monorepo, monkeypatch: pytest.MonkeyPatch) -> None:
    (monorepo.root / "pyproject.toml").write_text(TABLE, encoding="utf-8")
    for name in ("payments", "shipping"):
        folder = monorepo.root / "apps" / name / "src" / name
        folder.mkdir(parents=True)
        (folder / "models.py").write_text(MODELS.format(table=name), encoding="utf-8")
    monkeypatch.chdir(monorepo.root)


def origins(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    list_services(Context(), [], json=True)
    return {row["service"]: row["from"] for row in json.loads(capsys.readouterr().out)}


def test_json_says_what_comes_from_convention_and_what_from_the_table(capsys):
    ours, convention = "pyproject.toml", "convention"
    assert origins(capsys) == {
        "payments": dict.fromkeys(("path", "source", "models", "versions", "version_table"), ours),
        "shipping": {**dict.fromkeys(("path", "source", "models"), ours), "versions": convention}
        | {"version_table": convention},
    }


def test_the_table_for_people_has_a_row_for_each_name_and_folder(capsys):
    list_services(Context(), ["payments"], verbose=True)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("payments")]
    assert [row[1:] for row in rows] == [
        ["path", "apps/payments", "pyproject.toml"],
        ["source", "apps/payments/src", "pyproject.toml"],
        ["models", "payments.models", "pyproject.toml"],
        ["versions", "apps/payments/versions", "pyproject.toml"],
        ["version_table", "alembic_version", "pyproject.toml"],
    ]


def test_a_setting_that_names_the_version_table_is_named(capsys, monkeypatch):
    monkeypatch.setenv("SHIPPING_MIGRATIONS_VERSION_TABLE", "other")
    monkeypatch.setenv("SHIPPING_DATABASE_DSN", "postgresql://shipping:secret@localhost/shipping")
    assert origins(capsys)["shipping"]["version_table"] == "MIGRATIONS_VERSION_TABLE"
