"""The room on a server: how many connections it has left, and how many of its roles have."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Room"]

_FREE = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0)
           - (SELECT count(*)::int FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL) + 1
"""
_ROLES = """
    SELECT r.rolname, r.rolconnlimit - (SELECT count(*)::int FROM pg_stat_activity a WHERE a.usesysid = r.oid)
           + (r.rolname = current_user)::int
    FROM pg_roles r WHERE r.rolname = ANY ($1::text[]::name[]) AND r.rolconnlimit >= 0 AND NOT r.rolsuper
"""
"""Both leave out the connection that asks, which is going to be closed."""


@dataclass(slots=True)
class Room:
    """How many connections a server has left, and how many of its roles have; None where it didn't say."""

    free: int | None = None
    roles: dict[str, int] = field(default_factory=dict)

    def of(self, role: str) -> int | None:
        """Return how many connections a role can have."""
        known = [count for count in (self.free, self.roles.get(role)) if count is not None]
        return min(known, default=None)

    async def ask(self, connection: Any, roles: Iterable[str]) -> None:
        """Ask the server; the connection that asks is going to be closed, and isn't counted."""
        self.free = await connection.fetchval(_FREE)
        self.roles = dict(await connection.fetch(_ROLES, list(roles)))
