"""Foreign keys of a model, described as in the catalog, since a temporary table can't have any."""

import json
import re
from contextlib import suppress
from itertools import count

from sqlalchemy import Dialect, Table
from sqlalchemy.exc import NoReferencedColumnError, NoReferencedTableError
from sqlalchemy.schema import ForeignKeyConstraint

from service_migrations.catalog.tables import Constraint
from service_migrations.errors import ConfigurationError

__all__ = ["foreign_keys_of"]

_RULES = {"NO ACTION": "a", "RESTRICT": "r", "CASCADE": "c", "SET NULL": "n", "SET DEFAULT": "d"}
_MATCHES = {"FULL": "f", "PARTIAL": "p", "SIMPLE": "s"}

_NAME = re.compile(r'"((?:[^"]|"")+)"|([^\s,"]+)')


def foreign_keys_of(table: Table, dialect: Dialect, default_schema: str | None) -> list[Constraint]:
    """Return a table's foreign keys.

    Args:
        table: of the models.
        dialect: the one of their SQL.
        default_schema: the one that a name without a schema means.

    Raises:
        ConfigurationError: two have the same name.

    """
    constraints: list[Constraint] = []
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    for key in (each for each in table.constraints if isinstance(each, ForeignKeyConstraint)):
        sql = str(compiler.process(key))
        *path, remote = key.elements[0].target_fullname.split(".")[:-1]
        columns = []
        for element in key.elements:
            name = element.target_fullname.rpartition(".")[2]
            with suppress(NoReferencedTableError, NoReferencedColumnError):
                name = element.column.name
                path, remote = [element.column.table.schema or ""], element.column.table.name
            columns.append(name)
        schema = ".".join(path) or default_schema
        name = str(dialect.identifier_preparer.format_constraint(key)) if isinstance(key.name, str) else ""
        local = tuple(element.parent.name for element in key.elements)
        definition = sql[sql.index("FOREIGN KEY") :]
        bare_name = name[1:-1].replace('""', '"') if name.startswith('"') else name
        names = {constraint.name for constraint in constraints}
        if bare_name in names:
            raise ConfigurationError(
                f"the models' table {table.fullname} has two foreign keys named {bare_name}.",
                hint="Give one another name.",
            )
        final_name, uses = bare_name or _default_name(f"{table.name}_{'_'.join(local)}", names), frozenset(local)
        target = (schema, remote, tuple(columns), local)
        valid = not key.dialect_options["postgresql"].get("not_valid")
        constraints.append(
            Constraint(final_name, "f", definition, *target, _rules(key), valid, None, uses, frozenset())
        )
    return constraints


def _rules(key: ForeignKeyConstraint) -> str:
    """Return the rules as ``tables.sql`` does: letters of pg_constraint, and the columns of SET NULL or SET DEFAULT."""
    deferred = (key.initially or "").upper() == "DEFERRED"
    on_delete, _, columns = (key.ondelete or "NO ACTION").partition("(")
    return "".join(
        [
            _RULES.get((key.onupdate or "NO ACTION").upper(), "?"),
            _RULES.get(on_delete.strip().upper(), "?"),
            _MATCHES.get((key.match or "SIMPLE").upper(), "?"),
            "t" if key.deferrable or deferred else "f",
            "t" if deferred else "f",
            json.dumps(sorted(_names(columns.rstrip(" )"))), ensure_ascii=False) if columns else "",
        ]
    )


def _names(sql: str) -> list[str]:
    """Return the names of a list, parsed as by PostgreSQL."""
    return [quoted.replace('""', '"') or bare.lower() for quoted, bare in _NAME.findall(sql)]


def _default_name(stem: str, taken: set[str]) -> str:
    """Return a name for a foreign key without one, as PostgreSQL does except for long names."""
    stem = stem.encode()[:56].decode(errors="ignore")
    return next(name for name in (f"{stem}_fkey{number or ''}" for number in count()) if name not in taken)
