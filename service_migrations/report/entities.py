"""The entities of a database and their foreign keys: from its catalog, or from the models of a service."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Column, MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError

from service_migrations.catalog.objects import Catalog, Object
from service_migrations.ownership.attribution import Owned
from service_migrations.report.model import Attribute, Entity, Reference
from service_migrations.sql.clauses import names_in_parentheses
from service_migrations.sql.lexer import tokenize

__all__ = ["from_catalog", "from_models", "shown_name"]

_KEPT_APART = ("version table", "ledger")
"""The beginnings of the reasons of tables that no model has: the library's own."""
_DEFAULT_SCHEMA = "public"
_NO_TYPE = "?"


def shown_name(schema: str | None, name: str) -> str:
    """Return the name of a table as a person reads it: with its schema where that isn't the default one."""
    return name if schema in (None, _DEFAULT_SCHEMA) else f"{schema}.{name}"


def from_catalog(objects: Sequence[Object], owned: Iterable[Owned]) -> tuple[tuple[Entity, ...], tuple[Reference, ...]]:
    """Return the tables of a database with their owners, and their foreign keys.

    Args:
        objects: all of the database.
        owned: those of them that belong to somebody or nobody; what is ignored isn't among them.

    """
    owners = {
        (item.schema, item.name): item.owner or ""
        for item in owned
        if item.kind in ("table", "foreign table") and not item.why.startswith(_KEPT_APART)
    }
    catalog = Catalog(objects)
    tables = [
        item
        for item in objects
        if (item.schema, item.name) in owners
        and item.kind in ("table", "foreign table")
        and item.extension is None
        and item.part_of is None
    ]
    shown = {item.address: shown_name(item.schema, item.name) for item in tables}
    entities: list[Entity] = []
    references: list[Reference] = []
    for item in tables:
        keys: dict[str, list[str]] = {}
        for constraint in catalog.parts(item, "constraint"):
            tokens = list(tokenize(constraint.definition or ""))
            if tokens[:2] == ["primary", "key"]:
                _mark(keys, names_in_parentheses(tokens), "PK")
            target = constraint.facts.get("foreign_key")
            if target is not None and target in shown:
                columns = names_in_parentheses(tokens)
                _mark(keys, columns, "FK")
                place = next((index for index, token in enumerate(tokens) if token == "references"), len(tokens))
                references.append(
                    Reference(shown[item.address], columns, shown[target], names_in_parentheses(tokens[place:]))
                )
        attributes = tuple(
            Attribute(
                column.name,
                str(column.facts.get("type", _NO_TYPE)),
                tuple(keys.get(column.name, ())),
                bool(column.facts.get("not_null")),
            )
            for column in catalog.parts(item, "column")
        )
        owner = owners[item.schema, item.name]
        entities.append(Entity(shown[item.address], owner, attributes, item.comment or ""))
    return _ordered(entities), tuple(dict.fromkeys(references))


def from_models(metadata: Mapping[str, MetaData]) -> tuple[tuple[Entity, ...], tuple[Reference, ...]]:
    """Return the tables of models, and their foreign keys, also to tables of a sibling's.

    Args:
        metadata: that of each service that has the database, by its name.

    """
    entities: list[Entity] = []
    references: list[Reference] = []
    for owner, tables in metadata.items():
        for table in tables.tables.values():
            name = shown_name(table.schema, table.name)
            attributes = tuple(
                Attribute(column.name, _type(column), _keys(column), not column.nullable) for column in table.columns
            )
            entities.append(Entity(name, owner, attributes, table.comment or ""))
            for constraint in table.foreign_key_constraints:
                targets = [key.target_fullname.rpartition(".") for key in constraint.elements]
                schema, _, target = targets[0][0].rpartition(".")
                columns = tuple(column.name for column in constraint.columns)
                target_columns = tuple(column for _, _, column in targets)
                references.append(Reference(name, columns, shown_name(schema or None, target), target_columns))
    known = {entity.name for entity in entities}
    return _ordered(entities), tuple(reference for reference in references if reference.target in known)


def _ordered(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    return tuple(sorted({entity.name: entity for entity in entities}.values(), key=lambda entity: entity.name))


def _mark(keys: dict[str, list[str]], columns: Iterable[str], key: str) -> None:
    for column in columns:
        if key not in keys.setdefault(column, []):
            keys[column].append(key)


def _keys(column: "Column[object]") -> tuple[str, ...]:
    return (*(("PK",) if column.primary_key else ()), *(("FK",) if column.foreign_keys else ()))


def _type(column: "Column[object]") -> str:
    """Return the type of a column as PostgreSQL names it, or its class where it can't be written."""
    try:
        return column.type.compile(dialect=postgresql.dialect()).lower()  # type: ignore[no-untyped-call]
    except (SQLAlchemyError, NotImplementedError):
        return type(column.type).__name__.lower()
