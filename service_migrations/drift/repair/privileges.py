"""Changes of owners and grants, which most histories leave to an administrator: compared on request only."""

from collections.abc import Iterator

from service_migrations.catalog import privileges
from service_migrations.catalog.objects import Catalog, Grant, Object
from service_migrations.drift.repair.change import Change

__all__ = ["privilege_changes"]

_OF_ANY_OWNER = ("table", "foreign table", "statistics")
"""The kinds whose owner needn't be that of what they are part of, such as of a partitioned table."""

_TYPES = ("enum", "composite type", "range type", "base type")


def privilege_changes(live: Object, expected: Object, catalog: Catalog) -> Iterator[Change]:
    """Yield the changes of owner and grants; those of the schema public are the server's and no history's."""
    if live.kind in ("extension", "index") or (live.kind == "schema" and live.name == "public"):
        return
    if (live.part_of is None or live.kind in _OF_ANY_OWNER) and live.owner != expected.owner:
        text = f"belongs to {live.owner} in the database, to {expected.owner} in the history"
        keyword = "TYPE" if live.kind in _TYPES else live.kind.upper()
        owner = expected.owner.replace('"', '""')
        yield Change(text, f'ALTER {keyword} {expected.address} OWNER TO "{owner}";')
    # the owner is changed before, and the grants of the former one are then the new one's
    for grant in live.grants:
        if grant not in expected.grants and not _is_default(grant, live, expected):
            yield Change(
                f"grants {_description(grant)} in the database only",
                f"{privileges.revoke(grant, expected, catalog, expected.owner)};",
            )
    for grant in expected.grants:
        if grant not in live.grants and not _is_revoked_by_default(grant, live, expected):
            sql = f"{privileges.grant(grant, expected, catalog, expected.owner)};"
            yield Change(f"grants {_description(grant)} in the history only", sql)


def _is_default(grant: Grant, live: Object, expected: Object) -> bool:
    """Whether the database's default privileges give it to each new object, and no revision has set these."""
    return grant in live.defaults and grant not in expected.defaults


def _is_revoked_by_default(grant: Grant, live: Object, expected: Object) -> bool:
    """Whether PostgreSQL gives it to everybody, which the database's default privileges have revoked."""
    return grant.grantee == "PUBLIC" and grant in expected.defaults and grant not in live.defaults


def _description(grant: Grant) -> str:
    return f"{grant.privilege} to {grant.grantee or 'its owner'}{' with grant option' if grant.grantable else ''}"
