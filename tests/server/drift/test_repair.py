"""Every kind of change by hand: seen in a line that names the object, and fixed by the SQL of that line."""

import pytest
from asyncpg import StringDataRightTruncationError

from tests.support.changes import CASES
from tests.support.database import query
from tests.support.shop import Shop


@pytest.mark.parametrize(("by_hand", "line"), CASES.values(), ids=list(CASES))
def test_what_was_changed_by_hand_is_seen_and_mended(shop: Shop, by_hand: list[str], line: str) -> None:
    shop.by_hand("INSERT INTO customers (email, name, score) VALUES ('a@b', 'A', 1)", *by_hand)
    found = shop.drift().differences
    lines = [str(one) for one in found]
    assert [one for one in lines if one.startswith(line)], "\n".join(lines)
    assert all("\n" not in one for one in lines)
    shop.fix(found)
    assert [str(one) for one in shop.drift().differences] == []


@pytest.mark.parametrize("kind", ["text", "varchar(999)"])
def test_the_sql_for_another_type_cuts_no_value(shop: Shop, kind: str) -> None:
    shop.by_hand(
        f"ALTER TABLE customers ALTER COLUMN email TYPE {kind}",
        "INSERT INTO customers (email) VALUES (repeat('long', 100))",
    )
    found = shop.drift().differences
    assert [one.name for one in found] == ["customers.email"]
    with pytest.raises(StringDataRightTruncationError):
        shop.fix(found)
    assert query(shop.dsn, "SELECT length(email) FROM customers") == [(400,)]
