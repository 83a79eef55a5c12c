"""The line of a failing test of a history says nothing of its database, which is new and dropped afterwards."""

import pytest

from service_migrations.errors import MigrationError
from service_migrations.testing.databases import PREFIX
from service_migrations.testing.reporting import line_of

TARGET = f"app@127.0.0.1:5432/{PREFIX}billing_1"


@pytest.mark.parametrize(
    "hint",
    [
        f"It was rolled back. Now {TARGET} is at c3.",
        f"It was rolled back. Now {TARGET} is at c3, d4.",
        f"It was rolled back. {TARGET} is at c3. What ran after that was rolled back.",
        "It was rolled back. Is its stamp right? `inv db.adopt --verify --service billing` finds its revision.",
    ],
)
def test_what_is_said_of_the_database_of_a_test_is_left_out(hint: str) -> None:
    line = line_of(MigrationError("no.", service="billing", hint=hint))
    assert line.removesuffix(" What ran after that was rolled back.") == "billing: no. It was rolled back."


@pytest.mark.parametrize("hint", ["Now app@db/billing is at c3.", "Is it misspelled? Look.", "GRANT a TO b;", ""])
def test_all_else_stays(hint: str) -> None:
    assert line_of(MigrationError("no.", service="billing", hint=hint)) == f"billing: no. {hint}".strip()
