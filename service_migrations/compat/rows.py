"""Rows for the tables of some models, made by the types, keys and checks that the models declare.

Like ``probe.py``, which imports it, this file is run by the interpreter of the models, and imports SQLAlchemy alone.
"""

import datetime as dt
import decimal
import itertools
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

if TYPE_CHECKING or __package__:
    from service_migrations.sql.patterns import matching
else:
    from patterns import matching

__all__ = ["Rows", "Run", "UnfillableError", "constraints", "is_named_in", "is_written", "known_keys"]

Run = Callable[[Any, "sa.Table"], "list[sa.RowMapping]"]
"""Runs a statement on a table, and returns its rows."""

_TEXT = 400
"""The characters of a long text without a limit."""
_LONGEST = 10_000
"""The characters of the longest text."""
_INTEGERS: tuple[tuple[type[Any], int], ...] = (
    (sa.SmallInteger, 2**15 - 1),
    (sa.BigInteger, 2**63 - 1),
    (sa.Integer, 2**31 - 1),
)
_PARENTS = 20
"""How far foreign keys are followed."""
_MOMENT = dt.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=dt.UTC)


class UnfillableError(Exception):
    """No row can be made; the text is why."""


class Rows:
    """The maker of rows, with a number that makes each value of a unique column another one."""

    def __init__(self, tables: Mapping[str, sa.Table], kinds: Mapping[Any, list[Any]]) -> None:
        """Take the tables by key, and the values of the discriminator columns."""
        self.tables, self._kinds = tables, kinds
        self._numbers = itertools.count(1)
        self.chosen: dict[str, dict[str, int]] = {}
        """Which candidate a plain row has, by table and column; the first where there is none."""
        self.left_out: set[tuple[str, str]] = set()
        """The columns, by table and name, that no row gets a value of, as the database takes none of those known."""

    def candidates(self, column: "sa.Column[Any]") -> list[Any]:
        """Return the values to try in a column; there is none where its type is unknown."""
        if column in self._kinds:
            return self._kinds[column]
        number = next(self._numbers) if _is_unique(column) else 1
        named = _named_by_checks(column)
        if _is_unique(column):  # each row gets another text
            texts = [each for each in named if isinstance(each, str)]
            named = [*(each for text in texts for each in (f"{text}{number}", f"{number}{text}")), *named]
        return [*named, *_values(column.type, number, is_unique=_is_unique(column))]

    def insert(
        self,
        run: Run,
        table: sa.Table,
        *,
        only_needed: bool = False,
        given: Mapping[str, Any] | None = None,
        below: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Insert a row, its parents first, and return the values of the columns that lead to it.

        Args:
            run: runs a statement.
            table: the table.
            only_needed: whether to leave out what the database fills in.
            given: values of some columns.
            below: the tables for which this row is made.

        Raises:
            UnfillableError: no value is known for a column, or the foreign keys form a circle.

        """
        values = dict(given or {})
        for column in table.columns:
            if column.name not in values and not column.foreign_keys and self._is_filled(column, only_needed):
                value = self.plain(column)
                if value is not None:
                    values[column.name] = value
                elif _is_needed(column):
                    raise UnfillableError(f"no value is known for {table.key}.{column.name}, {column.type!r}")
        for key in sorted(table.foreign_key_constraints, key=lambda key: sorted(key.column_keys)):
            needed = any(_is_needed(column) for column in key.columns)
            if all(column.name in values for column in key.columns) or (only_needed and not needed):
                continue
            if why := self._unfollowed(key, below):
                if needed:
                    raise UnfillableError(why)
                continue
            parent = self.insert(run, key.referred_table, below=(*below, table.key))
            values |= {element.parent.name: parent[element.column.name] for element in key.elements}
        returned = [sa.literal_column(_quoted(each.name), each.type).label(each.name) for each in self._leading(table)]
        by_column = {column: values[column.name] for column in table.columns if column.name in values}
        (inserted,) = run(sa.insert(table).values(by_column).returning(*returned), table)
        return dict(inserted)

    @staticmethod
    def _unfollowed(key: "sa.ForeignKeyConstraint", below: tuple[str, ...]) -> str:
        """Return why a foreign key has no row to refer to; empty where one can be made."""
        if not _is_known(key):
            return f"{key.table.key} refers to {_target(key)}, which these models don't have"
        if key.referred_table.key in (*below, key.table.key) or len(below) > _PARENTS:
            return f"the foreign keys of {key.table.key} form a circle"
        return ""

    def optional(self, table: sa.Table) -> "list[sa.Column[Any]]":
        """Return the columns that a plain row has a value of, and that the database doesn't need."""
        columns = [column for column in table.columns if not column.foreign_keys and self.plain(column) is not None]
        return [column for column in columns if self._is_filled(column, False) and not _is_needed(column)]

    def plain(self, column: "sa.Column[Any]") -> Any:
        """Return the value of a column in a plain row; None where none is known."""
        candidates = self.candidates(column) or [None]
        number = self.chosen.get(column.table.key, {}).get(column.name, 0)
        return candidates[number if number < len(candidates) else 0]

    def _is_filled(self, column: "sa.Column[Any]", only_needed: bool) -> bool:
        if only_needed:
            return _is_needed(column)
        if (column.table.key, column.name) in self.left_out:
            return False
        # what Python or a sequence fills in is left to them
        return is_written(column) and column.default is None and column is not column.table.autoincrement_column

    def _leading(self, table: sa.Table) -> "Iterable[sa.Column[Any]]":
        """Return the columns that identify a row, and those that other tables refer to."""
        known = (key for each in self.tables.values() for key in known_keys(each))
        keys = {element for key in known for element in key.elements if element.column.table is table}
        names = [column.name for column in table.primary_key.columns] + sorted(key.column.name for key in keys)
        by_name = {column.name: column for column in table.columns}  # Column(…, key=…) has another key in the table
        return [by_name[name] for name in dict.fromkeys(names)] or list(table.columns)


def is_written(column: "sa.Column[Any]") -> bool:
    """Whether an INSERT may name a column."""
    return column.computed is None and not (column.identity is not None and column.identity.always)


def constraints(table: "sa.Table") -> "list[sa.Constraint]":
    """Return the constraints of a table, with those that stand in a column, which SQLAlchemy keeps there."""
    return [*table.constraints, *(each for column in table.columns for each in column.constraints)]


def known_keys(table: "sa.Table") -> "list[sa.ForeignKeyConstraint]":
    """Return the foreign keys of a table whose other table these models have: a sibling's is a mere name."""
    return [key for key in table.foreign_key_constraints if _is_known(key)]


def _is_known(key: "sa.ForeignKeyConstraint") -> bool:
    try:
        return all(element.column is not None for element in key.elements)
    except sa.exc.NoReferenceError:
        return False


def _target(key: "sa.ForeignKeyConstraint") -> str:
    return ", ".join(element.target_fullname for element in key.elements)


def is_named_in(column: "sa.Column[Any]", text: str) -> bool:
    """Whether an expression names a column."""
    return re.search(rf"\b{re.escape(column.name)}\b", text) is not None


def _is_needed(column: "sa.Column[Any]") -> bool:
    """Whether an INSERT has to name a column, for all that the models know."""
    if column.nullable or not is_written(column):
        return False
    filled = (column.server_default, column.default, column.identity)
    return all(each is None for each in filled) and column is not column.table.autoincrement_column


def _is_unique(column: "sa.Column[Any]") -> bool:
    table = column.table
    keys = [each.columns for each in table.constraints if isinstance(each, sa.UniqueConstraint | pg.ExcludeConstraint)]
    expressions = [str(each) for index in table.indexes if index.unique for each in index.expressions]
    in_index = any(is_named_in(column, text) for text in expressions)  # such as lower(email), which has no column
    return column.primary_key or in_index or any(each is column for columns in keys for each in columns)


def _named_by_checks(column: "sa.Column[Any]") -> list[Any]:
    """Return values beside a column in a CHECK of its table, and their neighbours."""
    values: list[Any] = []
    for check in constraints(column.table):
        text = str(getattr(check, "sqltext", ""))
        if not is_named_in(column, text):
            continue
        if isinstance(column.type, sa.Integer | sa.Numeric):
            numbers = [decimal.Decimal(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text)]
            kind = int if isinstance(column.type, sa.Integer) else decimal.Decimal
            values += [kind(number + step) for number in numbers for step in (1, 0, -1)]
        elif isinstance(column.type, sa.String) and not isinstance(column.type, sa.Enum):
            words = [word.strip("%") for word in re.findall(r"'((?:[^']|'')*)'", text)]
            values += [each for word in words for each in (word, matching(word)) if len(each) <= _longest(column.type)]
    most = next((limit for kind, limit in _INTEGERS if isinstance(column.type, kind)), None)
    return [value for value in values if most is None or abs(value) <= most]


def _longest(kind: "sa.String") -> int:
    return min(kind.length or _TEXT, _LONGEST)


def _values(kind: Any, number: int, *, is_unique: bool) -> list[Any]:  # noqa: C901, PLR0911, PLR0912 - a case for each type
    """Return an ordinary value of a type, then extreme ones."""
    if isinstance(kind, sa.Interval):  # a TypeDecorator over a date, for the databases that have no intervals
        return [dt.timedelta(number, 2, 3)]
    if isinstance(kind, sa.types.TypeDecorator):
        inner = kind.impl_instance
        return [sa.type_coerce(value, inner) for value in _values(inner, number, is_unique=is_unique)]
    if isinstance(kind, sa.ARRAY):
        return [[value] for value in _values(kind.item_type, number, is_unique=is_unique)]
    for integer, most in _INTEGERS:
        if isinstance(kind, integer):
            return [number] if is_unique else [1, 0, -1, most]
    match kind:
        case sa.Enum():
            return list(kind.enum_class or kind.enums)
        case sa.Float():
            return [number + 0.5, -1.5, 0.1]
        case sa.Numeric():
            precision, scale = min(kind.precision or 12, 28), kind.scale or 0
            most_decimal = decimal.Decimal(10**precision - 1).scaleb(-scale)
            fractions = [] if kind.precision else [decimal.Decimal("0.5")]
            return [decimal.Decimal(number), -most_decimal, most_decimal, *fractions]
        case sa.String():
            length = _longest(kind)
            text = str(number)[-length:]
            return [text, text.rjust(length, "x")]
        case sa.Boolean():
            return [True, False]
        case sa.DateTime():
            moment = _MOMENT + dt.timedelta(number)
            return [moment if kind.timezone else moment.replace(tzinfo=None)]
        case sa.Date():
            return [_MOMENT.date() + dt.timedelta(number)]
        case sa.Time():
            return [_MOMENT.timetz() if kind.timezone else _MOMENT.time()]
        case pg.INTERVAL():
            return [dt.timedelta(number, 2, 3)]
        case sa.Uuid():
            return [uuid.UUID(int=number) if kind.as_uuid else str(uuid.UUID(int=number))]
        case sa.LargeBinary():
            return [b"\0" + str(number).encode()]
        case sa.JSON():
            return [{"a": [number, None]}, []]
        case pg.HSTORE():
            return [{"a": "1"}]
        case pg.TSVECTOR():
            return [sa.func.to_tsvector("simple", "a b")]
    text = _LITERALS.get(kind.__visit_name__, "")
    if isinstance(kind, pg.BIT):
        text = "1" * (kind.length or 1)
    elif isinstance(kind, pg.ranges.AbstractMultiRange):
        text = "{}"
    elif isinstance(kind, pg.ranges.AbstractRange):
        text = "empty"
    return [sa.cast(sa.literal_column(f"'{text}'"), kind)] if text else []


_LITERALS = {"INET": "10.0.0.1", "CIDR": "10.0.0.0/24", "MACADDR": "08:00:2b:01:02:03", "MONEY": "1.50"}
"""The values of types that each driver takes in another form, as PostgreSQL's own text."""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
