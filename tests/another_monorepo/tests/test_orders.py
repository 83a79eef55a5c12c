"""A team's own test: it gets a database at head, and nothing has to be up for it."""

import asyncio

import asyncpg
import pytest


@pytest.mark.parametrize("buyer", ["Ada", "Grace"])
def test_an_order_is_kept(migrated_database, buyer):
    async def order():
        connection = await asyncpg.connect(migrated_database("orders").dsn)
        await connection.execute("INSERT INTO orders (buyer) VALUES ($1)", buyer)
        rows = await connection.fetch("SELECT buyer FROM orders")
        await connection.close()
        return [row["buyer"] for row in rows]

    assert asyncio.run(order()) == [buyer]
