"""The changes of owners and grants, which most histories leave to an administrator: compared on request only."""

from collections.abc import Iterator

from service_migrations.catalog.objects import Catalog, Grant, Object
from service_migrations.drift.repair.change import Change

__all__ = ["privilege_changes"]

_TYPES = ("enum", "composite type", "range type", "base type")
_RELATIONS = ("table", "foreign table", "view", "materialized view")


def privilege_changes(here: Object, there: Object, catalog: Catalog) -> Iterator[Change]:
    """Yield what differs in owner and grants; of the schema public both are the server's and no history's."""
    if here.kind in ("extension", "index") or (here.kind == "schema" and here.name == "public"):
        return
    if here.part_of is None and here.owner != there.owner:
        text = f"belongs to {here.owner} here, to {there.owner} in the history"
        word = "TYPE" if here.kind in _TYPES else here.kind.upper()
        yield Change(text, f'ALTER {word} {there.address} OWNER TO "{there.owner}";')
    for grant in here.grants:
        if grant not in there.grants:
            yield Change(
                f"grants {_told(grant)} here only", f"REVOKE {_on(grant, there, catalog)} FROM {_who(grant, here)};"
            )
    for grant in there.grants:
        if grant not in here.grants:
            option = " WITH GRANT OPTION" if grant.grantable else ""
            sql = f"GRANT {_on(grant, there, catalog)} TO {_who(grant, here)}{option};"
            yield Change(f"grants {_told(grant)} in the history only", sql)


def _told(grant: Grant) -> str:
    return f"{grant.privilege} to {grant.grantee or 'its owner'}{' with grant option' if grant.grantable else ''}"


def _who(grant: Grant, one: Object) -> str:
    return grant.grantee or f'"{one.owner}"'


def _on(grant: Grant, one: Object, catalog: Catalog) -> str:
    if one.kind == "column":
        return f"{grant.privilege} ({one.address}) ON {catalog.on(one)}"
    word = "TYPE" if one.kind in _TYPES else "TABLE" if one.kind in _RELATIONS else one.kind.upper()
    word = "FUNCTION" if word == "AGGREGATE" else word
    return f"{grant.privilege} ON {word} {one.address}"
