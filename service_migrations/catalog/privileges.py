"""The statements that grant and revoke a privilege on an object of a catalog."""

from service_migrations.catalog.objects import Catalog, Grant, Object

__all__ = ["grant", "privileges", "revoke"]

_TYPES = ("enum", "composite type", "range type", "base type")
_RELATIONS = ("table", "foreign table", "view", "materialized view")


def grant(privilege: Grant, item: Object, catalog: Catalog, owner: str) -> str:
    """Return the statement that grants a privilege; ``owner`` is the role that the object belongs to."""
    option = " WITH GRANT OPTION" if privilege.grantable else ""
    return f"GRANT {_on(privilege, item, catalog)} TO {_grantee(privilege, owner)}{option}"


def revoke(privilege: Grant, item: Object, catalog: Catalog, owner: str) -> str:
    """Return the statement that revokes a privilege."""
    return f"REVOKE {_on(privilege, item, catalog)} FROM {_grantee(privilege, owner)}"


def privileges(item: Object, catalog: Catalog) -> list[str]:
    """Return the statements that give a new object the grants of one that was there."""
    return [
        *(revoke(each, item, catalog, item.owner) for each in item.defaults if each not in item.grants),
        *(grant(each, item, catalog, item.owner) for each in item.grants if each not in item.defaults),
    ]


def _grantee(privilege: Grant, owner: str) -> str:
    return privilege.grantee or '"' + owner.replace('"', '""') + '"'


def _on(privilege: Grant, item: Object, catalog: Catalog) -> str:
    if item.kind == "column":
        return f"{privilege.privilege} ({item.address}) ON {catalog.on(item)}"
    keyword = "TYPE" if item.kind in _TYPES else "TABLE" if item.kind in _RELATIONS else item.kind.upper()
    keyword = "FUNCTION" if keyword == "AGGREGATE" else keyword
    return f"{privilege.privilege} ON {keyword} {item.address}"
