"""The rows of a measurement: those of the team's own, and made ones up to the number that is wanted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from service_migrations.evidence.making import fill, first_line, read_tables
from service_migrations.evidence.monitors import SCHEMA
from service_migrations.sql.quoting import quoted

__all__ = ["Rows"]

_MOST = 20
"""How many times as many rows as wanted a statement of the team's may insert; it was written for a few."""


@dataclass(slots=True)
class Rows:
    """The rows of one database, which grow with its tables.

    Attributes:
        connection: the database, as a superuser with the search path of the service.
        count: how many rows a table gets.
        own: the statements of the team's own rows, by revision.
        ignored: tables of the library's own.
        notes: what couldn't be filled, and why.

    """

    connection: "asyncpg.Connection[asyncpg.Record]"
    count: int
    own: Mapping[str, Sequence[str]]
    ignored: list[str]
    notes: list[str] = field(default_factory=list)
    _filled: set[int] = field(default_factory=set)

    async def add(self, revision: str) -> None:
        """Add the rows that follow a revision, and fill the tables that are new.

        A table is filled once: later revisions find the rows as they found them in production.
        """
        for statement in self.own.get(revision, ()):
            if (estimate := await self._estimate(statement)) > _MOST * self.count:
                self._note(f"rows that follow {revision} are left out: beside the made rows they would be {estimate}")
                continue
            try:
                await self.connection.execute(statement)
            except asyncpg.PostgresError as error:
                self._note(f"the rows that follow {revision} aren't valid: {first_line(error)}")
        tables = await read_tables(self.connection, SCHEMA, self.ignored)
        waiting = {oid: table for oid, table in tables.items() if oid not in self._filled}
        while waiting:
            # what others refer to first; in a circle, any
            ready = [
                oid for oid, table in waiting.items() if not {key[1] for key in table.keys} & (waiting.keys() - {oid})
            ]
            for oid in ready or list(waiting)[:1]:
                table = waiting.pop(oid)
                if problem := await fill(self.connection, table, tables, self.count):
                    self._note(problem)
                self._filled.add(oid)
                await self.connection.execute(f"ANALYZE {table.sql}")

    async def _estimate(self, statement: str) -> int:
        """Return how many rows a statement would insert or change, as the planner says; 0 where it can't."""
        try:
            async with self.connection.transaction():
                plan = json.loads(await self.connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}"))[0]["Plan"]
        except asyncpg.PostgresError:
            return 0  # several statements, or one that fails and is named then
        return int(max((node["Plan Rows"] for node in plan.get("Plans", [plan])), default=0))

    async def remove(self, schema: str, table: str) -> None:
        """Remove the rows of a table that don't fit to a revision, and note it."""
        self._note(f"the made rows of {table} don't satisfy a later revision, and were removed before it")
        await self.connection.execute(f"TRUNCATE {quoted(schema, table)} CASCADE")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
