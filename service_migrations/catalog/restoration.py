"""The way back of a drop: what creates a table with all that it had, and the rest of a part that is created by itself.

It is made of the same facts that ``db.drift`` compares. What no statement of a history can bring back is named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from service_migrations.catalog import creation
from service_migrations.catalog.creation import SWITCHES, comment, index_of, of_index
from service_migrations.catalog.definitions import column_settings, identity_sequence, sequence_options, sequences_of
from service_migrations.catalog.objects import Catalog, Object
from service_migrations.catalog.privileges import privileges
from service_migrations.sql.quoting import quoted

__all__ = [
    "NOTHING",
    "Restoration",
    "column",
    "constraint_rest",
    "foreign_keys",
    "index_rest",
    "numbering",
    "sequence_rest",
    "table",
]


@dataclass(frozen=True, slots=True)
class Restoration:
    """Statements in their order, and in words what they don't bring back."""

    statements: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


NOTHING = Restoration()


def table(item: Object, catalog: Catalog, role: str) -> Restoration:
    """Return what creates a table with its parts and its partitions, without the foreign keys.

    Args:
        item: the table.
        catalog: its catalog.
        role: the one that will own the new table.

    """
    statements = creation.statements(item, catalog) or []
    lost = list(_lost(item))
    if item.owner != role:
        lost.append(f"the owner {item.owner} of {item.address}")
    for part in catalog.parts(item, "index", "statistics", "rule", "trigger", "policy"):
        if not _is_implicit(part):
            statements += creation.statements(part, catalog) or []
        elif part.kind == "trigger" and part.facts["enabled"] != _state_of_parent(part, catalog):
            statements.append(f"ALTER TABLE {item.address} {SWITCHES[part.facts['enabled']]} TRIGGER {part.address}")
        lost += _lost_comment(part) if part.kind != "index" else ()
    for part in catalog.parts(item, "index", "constraint"):
        lost += _lost(part)
    for sequence in catalog.parts(item, "sequence"):
        statements += _of_sequence(sequence, catalog)
    for owned in (item, *catalog.parts(item, "column")):
        statements += privileges(owned, catalog)
    for partition in catalog.parts(item, "table", "foreign table"):
        if partition.kind == "table":
            restored = table(partition, catalog, role)
            statements += restored.statements
            lost += restored.lost
        else:
            lost.append(f"the foreign table {partition.address}, a partition")
    return Restoration(tuple(statements), tuple(lost))


def foreign_keys(item: Object, catalog: Catalog) -> Iterator[Object]:
    """Yield the foreign keys that only partitions of a table have."""
    for partition in catalog.parts(item, "table"):
        for key in catalog.parts(partition, "constraint"):
            if "foreign_key" in key.facts and not _is_implicit(key):
                yield key
        yield from foreign_keys(partition, catalog)


def column(item: Object, catalog: Catalog) -> Restoration:
    """Return what creates a column with all that it has, also its sequence, and what it has in partitions."""
    statements = creation.statements(item, catalog) or []
    for sequence in (*sequences_of(item, catalog), identity_sequence(item, catalog)):
        statements += _of_sequence(sequence, catalog) if sequence else ()
    return Restoration((*statements, *privileges(item, catalog), *_in_partitions(item, catalog)))


def _in_partitions(item: Object, catalog: Catalog) -> Iterator[str]:
    """Yield the statements for what a column has in the partitions of its table, apart from what comes with it."""
    table = catalog.parent(item)
    for partition in catalog.parts(table, "table") if table else ():
        for own in (each for each in catalog.parts(partition, "column") if each.name == item.name):
            yield from creation.own_column(partition, own, item)
            yield from column_settings(own, catalog)
            yield from [comment(own, catalog)] if own.comment is not None else []
            yield from privileges(own, catalog)
            yield from _in_partitions(own, catalog)


def constraint_rest(item: Object, catalog: Catalog, name: str) -> Restoration:
    """Return what a constraint and its index have apart from their definition, where they are created by a name."""
    own = index_of(item, catalog)
    item, own = _renamed(item, name), _renamed(own, name) if own else None
    comments = [comment(item, catalog)] if item.comment is not None else []
    return Restoration((*comments, *of_index(own, catalog)), (*_lost(item), *(_lost(own) if own else ())))


def index_rest(item: Object, catalog: Catalog, name: str) -> Restoration:
    """Return what an index has apart from its definition, where it is created by a name."""
    item = _renamed(item, name)
    return Restoration(tuple(of_index(item, catalog)), tuple(_lost(item)))


def _renamed(part: Object, name: str) -> Object:
    doubled = part.name.replace('"', '""')
    prefix = part.address.removesuffix(f'"{doubled}"' if part.address.endswith('"') else part.name)
    return replace(part, name=name, address=f"{prefix}{quoted(name)}")


def numbering(sequence: Object, kind: str) -> tuple[str, ...]:
    """Return the statement for the options in which a sequence differs from that of a new serial of a type."""
    bits = {"smallint": 15, "integer": 31}.get(kind, 63)
    usual = {"increment": 1, "minimum": 1, "maximum": 2**bits - 1, "start": 1, "cache": 1, "cycle": False}
    facts = sequence.facts
    if facts["type"] == kind and all(facts[name] == value for name, value in usual.items()):
        return ()
    return (f"ALTER SEQUENCE {sequence.address} AS {facts['type']} {sequence_options(facts)} RESTART",)


def sequence_rest(sequence: Object, catalog: Catalog) -> Restoration:
    """Return what a sequence has apart from its definition."""
    return Restoration(tuple(_of_sequence(sequence, catalog)))


def _of_sequence(sequence: Object, catalog: Catalog) -> list[str]:
    comments = [comment(sequence, catalog)] if sequence.comment is not None else []
    return [*comments, *privileges(sequence, catalog)]


def _is_implicit(part: Object) -> bool:
    """Whether a part is created with its constraint, or with the same part of the parent of a partition."""
    return "constraint" in part.facts or "inherited" in part.facts


def _state_of_parent(trigger: Object, catalog: Catalog) -> str:
    partition = catalog.parent(trigger)
    parent = catalog.parent(partition) if partition else None
    triggers = catalog.parts(parent, "trigger") if parent else []
    return next((str(each.facts["enabled"]) for each in triggers if each.name == trigger.name), "O")


def _lost_comment(part: Object) -> Iterator[str]:
    """Yield the comment on a part of a partition that comes with its parent's, under a name that the server chooses."""
    if part.comment is not None and "inherited" in part.facts:
        yield f"the comment on the {part.kind} {part.address} of {part.table}"


def _lost(item: Object) -> Iterator[str]:
    facts = item.facts
    for each in facts.get("outside", ()):
        yield f"the {each} of {item.address}"
    if item.kind == "index" and not facts["valid"]:
        yield f"that the index {item.address} is INVALID"
    if "enforced" in facts:
        yield f"the disabled triggers of the constraint {item.address}"
