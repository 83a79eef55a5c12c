"""The rows of a team's own: a mistake in their file is one line."""

import pytest

from service_migrations.errors import UsageError
from service_migrations.history.matrix_rows import FOLDER, matrix_rows
from tests.support.monorepo import Monorepo


@pytest.mark.parametrize("text", ["a1 = 5", "a1 = [5]", "a1 = 'INSERT INTO billing VALUES (1)'", "[a1]\nb = []"])
def test_what_is_no_list_of_statements_is_told_with_its_file(monorepo: Monorepo, text: str) -> None:
    service = monorepo.service("billing")
    folder = monorepo.root / FOLDER
    folder.mkdir(parents=True)
    (folder / "billing.toml").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"tests/matrix/rows/billing\.toml: a1 is no list of statements"):
        matrix_rows(service)
    (folder / "billing.toml").write_text("a1 = ['INSERT INTO billing VALUES (1)']\n", encoding="utf-8")
    assert matrix_rows(service) == {"a1": ["INSERT INTO billing VALUES (1)"]}


def test_a_byte_order_mark_is_no_mistake(monorepo: Monorepo) -> None:
    service = monorepo.service("billing")
    folder = monorepo.root / FOLDER
    folder.mkdir(parents=True)
    (folder / "billing.toml").write_text("\ufeffa1 = ['SELECT 1']\n", encoding="utf-8")
    assert matrix_rows(service) == {"a1": ["SELECT 1"]}
