"""The SQL that creates or drops an object of a catalog, in one line."""

from service_migrations.catalog import creation
from service_migrations.catalog.creation import keyword
from service_migrations.catalog.objects import Catalog, Key, Object
from service_migrations.sql.quoting import one_line

__all__ = ["comment", "create", "create_with_parts", "detach", "drop", "parts_of_view", "with_parts"]

_ON_TABLE = ("constraint", "trigger", "rule", "policy")


def create(item: Object, catalog: Catalog) -> str | None:
    """Return the SQL that creates an object with its comment; None for a kind without SQL in the catalog."""
    statements = creation.statements(item, catalog)
    if statements is None:
        return None
    if item.kind == "index":
        statements[0] = statements[0].replace(" INDEX ", f" INDEX {_concurrently(item, catalog)}", 1)
    return one_line(" ".join(f"{statement};" for statement in statements))


def create_with_parts(item: Object, catalog: Catalog, live_catalog: Catalog) -> str:
    """Return the SQL that creates an object again with what was dropped with it: the parts of a view."""
    parts = parts_of_view(item, catalog, live_catalog)
    return " ".join(create(part, catalog) or "" for part in (item, *parts))


def parts_of_view(item: Object, catalog: Catalog, live_catalog: Catalog) -> list[Object]:
    """Return the parts that are created again with a view; none of another object.

    One that the database didn't have before, or had with another definition, has a difference of its own.
    """
    if item.kind not in ("view", "materialized view"):
        return []
    both = [(part, live_catalog.by_key.get(part.key)) for part in catalog.parts(item, "index", "trigger", "rule")]
    same = ("definition", "valid")
    return [part for part, live in both if live and all(live.facts.get(name) == part.facts.get(name) for name in same)]


def with_parts(key: Key, catalog: Catalog) -> list[Key]:
    """Return an object and the parts that its creation creates too, such as the columns of a table."""
    item = catalog.by_key[key]
    parts = []
    if item.kind == "table":
        parts = [
            part.key
            for part in catalog.parts(item, "column", "sequence", "constraint", "index")
            if "foreign_key" not in part.facts and (part.kind != "index" or "constraint" in part.facts)
        ]
    if item.kind in ("column", "constraint"):
        table = catalog.parent(item)
        owner = f"{catalog.on(item)}.{item.address}"
        parts += [
            part.key
            for part in (catalog.parts(table, "sequence", "index") if table else [])
            if owner == part.facts.get("owned_by") or item.name == part.facts.get("constraint")
        ]
    replica = str(item.facts.get("replica_identity"))
    if item.kind == "table" and replica.startswith("USING INDEX "):
        parts += [part.key for part in catalog.parts(item, "index") if "replica_identity" in part.facts]
    return [key, *parts]


def drop(item: Object, catalog: Catalog) -> str:
    """Return the SQL that drops an object; without CASCADE it fails where another object depends on it."""
    if item.kind == "column":
        return f"ALTER TABLE {catalog.on(item)} DROP COLUMN {item.address};"
    if item.kind == "constraint":
        return f"ALTER TABLE {catalog.on(item)} DROP CONSTRAINT {item.address};"
    if item.kind == "domain constraint":
        return f"ALTER DOMAIN {catalog.on(item)} DROP CONSTRAINT {item.address};"
    if item.kind in _ON_TABLE:
        return f"DROP {item.kind.upper()} {item.address} ON {catalog.on(item)};"
    if item.kind == "index":
        return f"DROP INDEX {_concurrently(item, catalog)}{item.address};"
    return f"DROP {keyword(item)} {item.address};"


def detach(partition: Object) -> str:
    """Return the SQL that makes a partition a table of its own, with its rows."""
    parent, end = partition.facts["inherits"][0], " FINALIZE" if "detach_pending" in partition.facts else ""
    return f"ALTER TABLE {parent} DETACH PARTITION {partition.address}{end};"


def comment(item: Object, catalog: Catalog) -> str:
    """Return the SQL that sets or removes the comment of an object."""
    return f"{creation.comment(item, catalog)};"


def _concurrently(index: Object, catalog: Catalog) -> str:
    """Return CONCURRENTLY, except for an index of a partitioned table, where no server allows it."""
    parent = catalog.parent(index)
    return "" if parent is None or "partition_key" in parent.facts else "CONCURRENTLY "
