"""Types that take all that a column's former type took: written as ``op.alter_column()`` with both of them.

A statement names the new type only; from the operation a reader, and ``db.plan``, see that no value becomes too long.
"""

import re
from typing import Any

import sqlalchemy as sa
from alembic.operations.ops import AlterColumnOp

from service_migrations.catalog.tables import ColumnState, TableState
from service_migrations.sql.quoting import quoted

__all__ = ["widening"]

_TYPE = re.compile(r"(smallint|integer|bigint|text|character varying|numeric)(?:\((\d+)(?:,(\d+))?\))?")
_INTEGERS = {"smallint": sa.SmallInteger, "integer": sa.Integer, "bigint": sa.BigInteger}


def widening(table: TableState, before: ColumnState, after: ColumnState) -> AlterColumnOp | None:
    """Return the operation that widens a column; None where its new type is no wider one, or a name needs quotes."""
    names = [name for name in (table.schema, table.name, before.name) if name is not None]
    old, new = _TYPE.fullmatch(before.kind), _TYPE.fullmatch(after.kind)
    if old is None or new is None or not _is_wider(old, new) or any(quoted(name) != name for name in names):
        return None
    existing, new_type = _sqlalchemy(old), _sqlalchemy(new)
    return AlterColumnOp(table.name, before.name, schema=table.schema, existing_type=existing, modify_type=new_type)


def _is_wider(old: re.Match[str], new: re.Match[str]) -> bool:
    if old[0] == new[0]:
        return False
    if old[1] in _INTEGERS and new[1] in _INTEGERS:
        return list(_INTEGERS).index(old[1]) < list(_INTEGERS).index(new[1])
    if (old[1] == "numeric") != (new[1] == "numeric") or {old[1], new[1]} & _INTEGERS.keys():
        return False
    if new[2] is None or old[2] is None:
        return new[2] is None
    digits, scale, new_digits, new_scale = (int(part or 0) for part in (old[2], old[3], new[2], new[3]))
    return scale <= new_scale and digits - scale <= new_digits - new_scale


def _sqlalchemy(match: re.Match[str]) -> Any:
    base, first, second = match.groups()
    if base in _INTEGERS:
        return _INTEGERS[base]()
    if base == "numeric":
        return sa.Numeric(int(first), int(second)) if first else sa.Numeric()
    return sa.Text() if base == "text" else sa.String(int(first) if first else None)
