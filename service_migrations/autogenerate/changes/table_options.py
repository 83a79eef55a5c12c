"""What a model says of its table besides columns and keys: its options, UNLOGGED, and the comments on constraints.

An option that the model doesn't name is the database's own: those who run it set storage parameters, and a history may
partition a table of which the model knows nothing. UNLOGGED counts where only one side has it: such rows are lost in a
crash.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Index, Table, text

from service_migrations._sqlalchemy import generated_name
from service_migrations.autogenerate.changes.change import Change, Note, Phase
from service_migrations.autogenerate.changes.matches import Matches
from service_migrations.autogenerate.changes.table_pair import Pair
from service_migrations.autogenerate.comparison import Comparison, Key
from service_migrations.catalog.tables import TableState
from service_migrations.errors import ConfigurationError
from service_migrations.models.metadata import place_of_table
from service_migrations.models.tables.inheritance import parents_of
from service_migrations.sql.quoting import literal, quoted

__all__ = ["TableOptions", "changed_persistence", "new_comments"]

_OPTIONS = text(
    """
    SELECT coalesce(x.indrelid, c.oid)::bigint AS relation,
        CASE WHEN x.indrelid IS NOT NULL THEN c.relname END::text AS part,
        c.reloptions::text[] AS storage, t.reloptions::text[] AS toast, t.oid IS NOT NULL AS has_toast,
        coalesce(s.spcname, d.spcname)::text AS tablespace, a.amname::text AS method,
        ARRAY(SELECT p.relname::text FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
            WHERE i.inhrelid = c.oid AND x.indrelid IS NULL ORDER BY i.inhseqno) AS parents
    FROM pg_class c JOIN pg_database b ON b.datname = current_database() JOIN pg_tablespace d ON d.oid = b.dattablespace
    LEFT JOIN pg_index x ON x.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace LEFT JOIN pg_am a ON a.oid = c.relam
    WHERE c.oid = ANY(:oids) OR x.indrelid = ANY(:oids)
    """
)
_COMMENTS = text(
    """
    SELECT k.conrelid::bigint, k.conname::text, obj_description(k.oid, 'pg_constraint')
    FROM pg_constraint k WHERE k.conrelid = ANY(:oids)
    """
)
_SET_METHOD_SINCE = (15,)
"""The first version with ALTER TABLE … SET ACCESS METHOD."""

_REWRITES = Note("This rewrites the table and its indexes under an exclusive lock.")
_COPIES = Note("This copies the files under an exclusive lock.")
_BOOLEANS = {"on": "true", "yes": "true", "off": "false", "no": "false"}


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of a table or of an index in the database."""

    storage: Mapping[str, str]
    has_toast: bool
    tablespace: str
    method: str | None
    parents: tuple[str, ...]


class TableOptions:
    """The options that the models name, beside those of the database."""

    def __init__(self, comparison: Comparison) -> None:
        """Read the options of the tables whose models name any, and the comments of their constraints."""
        self._comparison = comparison
        self._live: dict[tuple[int, str | None], _Options] = {}
        self._comments: dict[tuple[int, str], str | None] = {}
        models = {comparison.oids[key]: comparison.models[key] for key in comparison.pairs}
        connection = comparison.connection
        if named := [oid for oid, model in models.items() if _names_options(model)]:
            for row in connection.execute(_OPTIONS, {"oids": named}):
                storage = _storage(row.storage) | {f"toast.{key}": value for key, value in _storage(row.toast).items()}
                options = _Options(storage, row.has_toast, row.tablespace, row.method, tuple(row.parents))
                self._live[row.relation, row.part] = options
        if commented := [oid for oid, model in models.items() if _comments(comparison, model)]:
            rows = connection.execute(_COMMENTS, {"oids": commented})
            self._comments = {(oid, name): comment for oid, name, comment in rows}

    def changes(self, key: Key, pair: Pair) -> Iterator[Change]:
        """Yield the changes of a table that both sides have.

        Raises:
            ConfigurationError: what can't be altered differs: the partition key, the parents, before 15 the method.

        """
        model, oid = self._comparison.models[key], self._comparison.oids[key]
        if (oid, None) in self._live:
            self._refuse_fixed(model, pair, self._live[oid, None])
            yield from self._table(model, pair.live, self._live[oid, None])
            for index in model.indexes:
                yield from self._index(index, pair.live, self._live.get((oid, str(index.name))))
        matches = Matches.of(pair, self._comparison.named[key])
        former_names = {match.name: name for name, match in matches.constraints.items()}
        for name, comment in _comments(self._comparison, model).items():
            former = former_names.get(name)
            live = self._comments.get((oid, former)) if former else None
            if comment != live:
                yield _comment(pair, name, comment, live, is_new=former is None)

    def _refuse_fixed(self, model: Table, pair: Pair, live: _Options) -> None:
        wanted, reason = _of(model, "partition_by"), ""
        if wanted and pair.target.partition_key != pair.live.partition_key:
            actual = f"by {pair.live.partition_key}" if pair.live.partition_key else "not at all"
            reason = f"the models partition it by {pair.target.partition_key}, and the database {actual}"
        parents = parents_of(model)
        if parents and set(parents) != set(live.parents):
            actual = ", ".join(live.parents) or "none"
            reason = f"the models let it inherit from {', '.join(parents)}, and the database from {actual}"
        method = _of(model, "using")
        version = self._comparison.connection.dialect.server_version_info or ()
        if method and live.method not in (None, str(method).lower()) and version < _SET_METHOD_SINCE:
            reason = f"the models store it by {method}, and the database by {live.method}"
        if pair.live.partition_key and pair.live.unlogged != pair.target.unlogged:
            reason = f"it is {'UNLOGGED' if pair.live.unlogged else 'LOGGED'} and partitioned, and the models differ"
        if reason:
            raise ConfigurationError(
                f"table {pair.live.sql} can't be compared: {reason}, which this server can't alter.",
                path=place_of_table(model),
                hint="Write the revision by hand (--empty): create a new table and copy the rows.",
            )

    def _table(self, model: Table, table: TableState, live: _Options) -> Iterator[Change]:
        alter, before, after = f"ALTER TABLE {table.sql}", {}, {}
        for name, value in (_of(model, "with") or {}).items():
            wanted, actual = _normal(value), live.storage.get(name)
            if wanted != actual and (live.has_toast or not name.startswith("toast.")):
                before[name], after[name] = actual, wanted
        if after:
            former = {name: value for name, value in before.items() if value is not None}
            gone = [name for name, value in before.items() if value is None]
            backward = [f"{alter} SET ({_listed(former)})"] if former else []
            backward += [f"{alter} RESET ({', '.join(gone)})"] if gone else []
            shown = f"{_listed(former) or 'none'} -> {_listed(after)}"
            forward = f"{alter} SET ({_listed(after)})"
            yield Change(Phase.SET_OPTIONS, (forward,), tuple(backward), f"alter_table {table.sql}: with {shown}")
        tablespace = _of(model, "tablespace")
        if tablespace and str(tablespace) != live.tablespace:
            yield _moved(alter, table.sql, live.tablespace, str(tablespace))
        method = _of(model, "using")
        if method and live.method and str(method).lower() != live.method:
            forward, former_method = f"{alter} SET ACCESS METHOD {method}", quoted(live.method)
            steps = ((_REWRITES, forward), (f"{alter} SET ACCESS METHOD {former_method}",))
            yield Change(Phase.SET_OPTIONS, *steps, f"alter_table {table.sql}: using {live.method} -> {method}")

    def _index(self, index: Index, table: TableState, live: _Options | None) -> Iterator[Change]:
        tablespace = index.dialect_options["postgresql"].get("tablespace")
        if live and tablespace and str(tablespace) != live.tablespace:
            name = quoted(table.schema, str(index.name))
            yield _moved(f"ALTER INDEX {name}", name, live.tablespace, str(tablespace))


def new_comments(comparison: Comparison, model: Table, table: TableState) -> Iterator[str]:
    """Yield the statements for the comments on the constraints of a new table, which Alembic doesn't render."""
    for name, comment in _comments(comparison, model).items():
        yield f"COMMENT ON CONSTRAINT {quoted(name)} ON {table.sql} IS {literal(comment)}"


def changed_persistence(tables: list[Pair]) -> Iterator[Change]:
    """Yield the changes of the tables that become UNLOGGED or LOGGED.

    Args:
        tables: those that both sides have, each behind those that it refers to: a logged one never refers to an
            unlogged one.

    """
    logged = [pair for pair in tables if pair.live.unlogged and not pair.target.unlogged]
    unlogged = [pair for pair in reversed(tables) if pair.target.unlogged and not pair.live.unlogged]
    for pair in [*logged, *unlogged]:
        before, after = ("UNLOGGED", "LOGGED") if pair.live.unlogged else ("LOGGED", "UNLOGGED")
        alter = f"ALTER TABLE {pair.live.sql} SET"
        forward = (_REWRITES, f"{alter} {after}")
        yield Change(
            Phase.SET_OPTIONS, forward, (f"{alter} {before}",), f"alter_table {pair.live.sql}: {before} -> {after}"
        )


def _comment(pair: Pair, name: str, comment: str, live: str | None, *, is_new: bool) -> Change:
    sql = f"COMMENT ON CONSTRAINT {quoted(name)} ON {pair.live.sql} IS"
    backward = () if is_new else (f"{sql} {literal(live)}",)
    description = "" if is_new else f"comment on {name} of {pair.live.sql}: {live!r} -> {comment!r}"
    return Change(Phase.COMMENT, (f"{sql} {literal(comment)}",), backward, description)


def _moved(alter: str, name: str, before: str, after: str) -> Change:
    steps = ((_COPIES, f"{alter} SET TABLESPACE {quoted(after)}"), (f"{alter} SET TABLESPACE {quoted(before)}",))
    return Change(Phase.SET_OPTIONS, *steps, f"alter_table {name}: tablespace {before} -> {after}")


def _names_options(model: Table) -> bool:
    names = ("with", "tablespace", "using", "partition_by", "inherits")
    return any(_of(model, name) for name in names) or any(
        index.dialect_options["postgresql"].get("tablespace") for index in model.indexes
    )


def _of(model: Table, option: str) -> Any:
    return model.dialect_options["postgresql"].get(option)


def _comments(comparison: Comparison, model: Table) -> dict[str, str]:
    """Return the comments on the constraints of a model, by the name in the database."""
    preparer = comparison.connection.dialect.identifier_preparer
    commented = [each for each in model.constraints if each.comment]
    names = {generated_name(preparer, each): str(each.comment) for each in commented}
    return {name: comment for name, comment in sorted(names.items(), key=str) if name}


def _storage(options: list[str] | None) -> dict[str, str]:
    pairs = (option.partition("=") for option in options or ())
    return {name: _normal(value) for name, _, value in pairs}


def _normal(value: Any) -> str:
    """Return the value of a storage parameter in one notation: PostgreSQL keeps the one that was typed."""
    word = str(value).lower()
    return _BOOLEANS.get(word, word)


def _listed(storage: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in storage.items())
