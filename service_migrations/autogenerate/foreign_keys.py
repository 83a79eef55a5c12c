"""Foreign keys of a model as the catalog would list them: a temporary table can't have any, so no twin tells."""

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
        dialect: what their SQL is written for.
        default_schema: the one that a name without a schema means.

    Raises:
        ConfigurationError: two have the same name.

    """
    found: list[Constraint] = []
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    for key in (one for one in table.constraints if isinstance(one, ForeignKeyConstraint)):
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
        plain = name[1:-1].replace('""', '"') if name.startswith('"') else name
        names = {one.name for one in found}
        if plain in names:
            raise ConfigurationError(
                f"the models' table {table.fullname} has two foreign keys named {plain}.", hint="Give one another name."
            )
        chosen, uses = plain or _chosen(f"{table.name}_{'_'.join(local)}", names), frozenset(local)
        place = (schema, remote, tuple(columns), local)
        valid = not key.dialect_options["postgresql"].get("not_valid")
        found.append(Constraint(chosen, "f", definition, *place, _rules(key), valid, None, uses, frozenset()))
    return found


def _rules(key: ForeignKeyConstraint) -> str:
    """Return the rules as ``shapes.sql`` does: pg_constraint's letters, and the columns of SET NULL or SET DEFAULT."""
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
    """Return the names of a list as PostgreSQL reads it."""
    return [quoted.replace('""', '"') or bare.lower() for quoted, bare in _NAME.findall(sql)]


def _chosen(stem: str, taken: set[str]) -> str:
    """Return a name for a foreign key that has none, as PostgreSQL would but for where it cuts a long one."""
    stem = stem.encode()[:56].decode(errors="ignore")
    return next(name for name in (f"{stem}_fkey{number or ''}" for number in count()) if name not in taken)
