"""Changes that leave partitions and children their own defaults and NOT NULL.

``ALTER TABLE`` sets those of a table in all that inherits from it, whatever they have of their own: partitions and
children that nobody has mapped, and such as have a model, which is compared without its parents.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Column

from service_migrations.autogenerate.changes.change import Change, Note, Phase, Step
from service_migrations.autogenerate.changes.table_pair import NEITHER, Directions, converted_columns, either
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.catalog.definitions import rerunnable
from service_migrations.catalog.objects import Object
from service_migrations.catalog.tables import ColumnState
from service_migrations.sql.quoting import literal

__all__ = ["other_defaults", "own_columns"]

_NAMED_NOT_NULLS = (18,)
"""From this version on, a NOT NULL is a constraint, and a part's own stays."""


class _Altered(NamedTuple):
    """A column of a table that both sides have, and what ALTER TABLE does to it, in which direction."""

    live: ColumnState
    target: ColumnState
    default: Directions = NEITHER
    converted: Directions = NEITHER

    @property
    def before(self) -> str | None:
        return None if self.live.default is None else rerunnable(self.live.default)

    @property
    def after(self) -> str | None:
        if not self.target.serial:
            return self.target.expression
        name = (self.target.sequence or {})["name"]
        return self.before if self.live.serial else f"nextval({literal(name)}::regclass)"

    @property
    def not_null(self) -> bool:
        return self.live.not_null != self.target.not_null


class _Defaults(NamedTuple):
    """The default of a column behind the upgrade, and behind the downgrade; None for no default."""

    up: str | None
    down: str | None


def own_columns(comparison: Comparison) -> dict[Key, list[Change]]:
    """Return the changes for all that inherits from a table whose columns change, by the key of such a table."""
    return _OwnColumns(comparison).changes()


def other_defaults(comparison: Comparison, key: Key, name: str) -> Iterator[Key]:
    """Yield the mapped tables that inherit a column of a table and have another default of it behind the upgrade."""
    columns = _OwnColumns(comparison)
    for child in comparison.former.children(comparison.live[key]):
        column, child_key = comparison.former.columns(child).get(name), comparison.key(child.schema, child.name)
        if column is not None and child_key in comparison.pairs:
            defaults = columns.defaults(child, column)
            if defaults.up != defaults.down:
                yield child_key


class _OwnColumns:
    """The columns that change, and those that they change with them."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison, self._former = comparison, comparison.former
        self._altered = {key: columns for key in comparison.pairs if (columns := _altered(comparison, key))}

    def changes(self) -> dict[Key, list[Change]]:
        changes: dict[Key, list[Change]] = {}
        done: set[tuple[str, str]] = set()
        for key, columns in self._altered.items():
            for child in self._former.children(self._comparison.live[key]):
                for name in columns:
                    if (child.address, name) not in done and not self._is_dropped(child):
                        done.add((child.address, name))
                        changes.setdefault(key, []).extend(self._of_column(child, name))
        return changes

    def _is_dropped(self, table: Object) -> bool:
        key = self._key(table)
        return key in self._comparison.live and key not in self._comparison.pairs

    def _of_column(self, child: Object, name: str) -> Iterator[Change]:
        column = self._former.columns(child).get(name)
        if column is None or "generated" in column.facts:
            return
        ancestors = [each for each in self._former.ancestors(child) if name in self._former.columns(each)]
        altered = (self._altered.get(self._key(each), {}).get(name) for each in ancestors)
        altering = [state for state in altered if state is not None]
        yield from self._default(child, column, altering)
        yield from self._not_null(child, column, altering)

    def _default(self, child: Object, column: Object, altering: list[_Altered]) -> Iterator[Change]:
        """Yield the changes that set a default again, behind what sets those of the ancestors in both directions."""
        own, default = self.defaults(child, column), _live_default(column)
        alter = f"ALTER TABLE ONLY {child.address} ALTER COLUMN {column.address}"
        itself = self._altered.get(self._key(child), {}).get(column.name)
        upgrade = [state for state in (*altering, itself) if state is not None and state.default.up]
        downgrade = [state for state in altering if state.default.down]
        if any(state.after != own.up for state in upgrade):
            step: Step = _set_default(alter, own.up)
            is_kept = own.up == own.down and self._pair(child, column.name) is None
            if own.up and is_kept and any(state.converted.up for state in upgrade):
                step = Note(
                    f"WARNING: {child.address} loses its own default of {column.address}, {default}: it may not fit."
                )
            yield Change(Phase.SET_OPTIONS, (step,), ())
        if any(state.before != own.down for state in downgrade):
            yield Change(Phase.DROP_CONSTRAINTS, (), (_set_default(alter, own.down),))

    def defaults(self, table: Object, column: Object) -> _Defaults:
        """Return the defaults that a column is to have: that of its model, or its own, or with an ancestor's equal one.

        The one that a column has in common with the nearest ancestor came from there, and goes on with it.
        """
        live, pair = _live_default(column), self._pair(table, column.name)
        model = self._model(table, column.name)
        if pair is not None and (pair[1].serial or (model is not None and model.server_default is not None)):
            return _Defaults(_Altered(*pair).after, live)
        for ancestor in self._former.ancestors(table):
            inherited = self._former.columns(ancestor).get(column.name)
            if inherited is not None and (pair is not None or _live_default(inherited) == live):
                # where a model names no default, its column has that of the first parent
                return _Defaults(self.defaults(ancestor, inherited).up, live)
        return _Defaults(live if pair is None else pair[1].expression, live)

    def _not_null(self, child: Object, column: Object, altering: list[_Altered]) -> Iterator[Change]:
        altering = [state for state in altering if state.not_null]
        alter, pair = f"ALTER COLUMN {column.address}", self._pair(child, column.name)
        is_old = (self._comparison.connection.dialect.server_version_info or ()) < _NAMED_NOT_NULLS
        if any(state.live.not_null for state in altering):
            model = self._model(child, column.name)
            if pair is not None and model is not None and not model.nullable:
                yield Change(Phase.SET_OPTIONS, (f"ALTER TABLE {child.address} {alter} SET NOT NULL",), ())
            elif pair is None and is_old and column.facts["not_null"] and "bound" not in child.facts:
                note = f"WARNING: {child.address} loses the NOT NULL of {column.address} too, also one of its own."
                yield Change(Phase.SET_OPTIONS, (Note(note),), ())
        if not is_old:
            return
        if any(state.target.not_null for state in altering) and column.facts["not_null"]:
            # PostgreSQL refuses ONLY for what has partitions
            table = f"{'' if 'partition_key' in child.facts else 'ONLY '}{child.address}"
            yield Change(Phase.DROP_CONSTRAINTS, (), (f"ALTER TABLE {table} {alter} SET NOT NULL",))
        elif any(state.live.not_null for state in altering) and not column.facts["not_null"]:
            yield Change(Phase.DROP_CONSTRAINTS, (), (f"ALTER TABLE ONLY {child.address} {alter} DROP NOT NULL",))

    def _pair(self, table: Object, name: str) -> tuple[ColumnState, ColumnState] | None:
        """Return both states of a column that has a model."""
        pair = self._comparison.pairs.get(self._key(table))
        if pair is None or name not in pair.live.columns or name not in pair.target.columns:
            return None
        return pair.live.columns[name], pair.target.columns[name]

    def _model(self, table: Object, name: str) -> Column[Any] | None:
        """Return the column of a model, which may leave what it inherits to the parents."""
        model = self._comparison.models.get(self._key(table))
        return None if model is None else next((each for each in model.columns if each.name == name), None)

    def _key(self, table: Object) -> Key:
        return self._comparison.key(table.schema, table.name)


def _altered(comparison: Comparison, key: Key) -> dict[str, _Altered]:
    """Return the columns of a table whose default or NOT NULL changes, also where a default is only converted."""
    pair, types = comparison.pairs[key], comparison.recreated_types
    converted, columns = converted_columns(pair, types), {}
    for live, target in pair.common:
        if live.generated or target.generated:
            continue
        conversion = converted.get(live.name, NEITHER)
        again = either(conversion, types.includes(*live.types))
        differs = (live.expression, live.serial) != (target.expression, target.serial)
        default = Directions(
            differs or (again.up and target.expression is not None),
            differs or (again.down and live.expression is not None),
        )
        if any(default) or live.not_null != target.not_null:
            columns[live.name] = _Altered(live, target, default, conversion)
    return columns


def _live_default(column: Object) -> str | None:
    default = column.facts.get("default")
    return rerunnable(default) if default else None


def _set_default(alter: str, default: str | None) -> str:
    return f"{alter} SET DEFAULT {default}" if default else f"{alter} DROP DEFAULT"
