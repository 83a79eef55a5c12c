"""The order in which the SQL of all differences can be run, by what depends on what.

What the server refuses to drop or to give another type while others depend on it is run without them: the SQL of the
line drops those first. They are created again in their own line, where they differ too, else in the last line that
changes anything of what they depend on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from service_migrations.catalog.objects import Catalog, Key, Object
from service_migrations.drift.dependencies import ROUTINES, Catalogs, column_of, unique_name, uses_of
from service_migrations.drift.difference import Difference
from service_migrations.drift.repair import detach, in_the_way, parts_of_view, tables_of, with_parts
from service_migrations.drift.step import Step

__all__ = ["ordered"]

_REFUSE_ANOTHER_TYPE = ("view", "materialized view", "rule", "policy", "trigger", *ROUTINES)
_GRANTS_AGAIN = "What was granted on {} has to be granted again."
_ROWS_AGAIN = "The rows of {} are no longer in the table: insert them again where they belong."
_TYPE_FIRST = "Alter the type of its table first."


def ordered(steps: Iterable[Step], live: Catalog, expected: Catalog) -> tuple[Difference, ...]:
    """Return the differences of the steps in an order in which their SQL can be run."""
    plan = _Plan(sorted(steps, key=lambda step: (step.place, step.difference.name)), live, expected)
    return plan.differences()


class _Plan:
    """What was planned so far: the steps, and which objects of the database are gone."""

    def __init__(self, steps: list[Step], live: Catalog, expected: Catalog) -> None:
        self._steps, self._live, self._expected = steps, live, expected
        self._catalogs = Catalogs(live, expected)
        self._removing = {step.key: step for step in steps if step.removes}
        self._making: dict[Key, list[Step]] = {}
        for step in steps:
            if not step.removes and not step.is_of_privileges:
                self._making.setdefault(step.key, []).append(step)
        self._users: dict[Key, list[tuple[Key, bool]]] = {}
        for item in live.by_key.values():
            for used, automatic in uses_of(item, live):
                self._users.setdefault(used[0], []).append((used[1], automatic))
        self._names: dict[tuple[str, str], list[Object]] = {}
        for item in live.by_key.values():
            self._names.setdefault(unique_name(item), []).append(item)
        self._started: set[Step] = set()
        self._planned: list[tuple[Step, list[str], list[str]]] = []
        self._gone: set[Key] = set()
        self._removed: set[Key] = set()
        self._dropped_for: dict[Key, Step] = {}
        self._restored_for: dict[Key, Step] = {}
        self._detached: set[Key] = set()
        self._waiting: set[Step] = set()
        self._untyped: list[tuple[Object, Step]] = []

    def differences(self) -> tuple[Difference, ...]:
        """Plan all steps, and return their differences with the SQL that was planned."""
        for step in self._steps:
            self._visit(step)
        self._create_the_rest()
        self._type_again()
        return tuple(
            replace(step.difference, sql=None, note=_TYPE_FIRST) if step in self._waiting else step.with_sql(sql, notes)
            for step, sql, notes in self._planned
        )

    def _visit(self, step: Step) -> None:
        """Plan a step, after the steps that have to run before it."""
        if step in self._started:
            return
        self._started.add(step)
        before = self._before_columns(step)
        for first in before:
            self._visit(first)
        if any(first.difference.sql is None for first in before):
            self._waiting.add(step)
        sql: list[str] = []
        notes: list[str] = []
        if step.difference.sql is not None and step not in self._waiting and not step.is_of_privileges:
            if not step.removes:
                sql += self._prepare(step)
                for partition in self._free_bounds(step):
                    sql.append(detach(partition))
                    notes += [_ROWS_AGAIN.format(partition.name)] if partition.key not in self._expected.by_key else []
            drops = step.removes or (step.change is not None and step.change.drops)
            if step.key not in self._gone and (drops or (step.change is not None and step.change.retypes)):
                dropped = self._free(step, drops=drops)
                sql += [self._catalogs.drop(key) for key in dropped]
                notes += [_GRANTS_AGAIN.format(_column_name(key)) for key in dropped if self._has_grants(key)]
            if step.change is not None and step.change.reshapes:
                sql += self._untype(step)
            sql += self._sql(step)
        self._planned.append((step, sql, notes))

    def _sql(self, step: Step) -> list[str]:
        """Return the SQL of a step itself, after what has to be dropped or created before."""
        text, change = step.difference.sql or "", step.change
        if step.removes:
            self._gone.add(step.key)
            self._removed.add(step.key)
            return [text]
        if change is None:
            self._created(step.key)
            return [text]
        if change.types:
            table = self._live.by_key[step.key]
            self._untyped.append((table, step))
            return [f"ALTER TABLE {table.address} NOT OF;" if "of_type" in table.facts else text]
        if step.key not in self._gone:
            if change.drops:
                self._created(step.key)
            return [text.removeprefix(change.detaches).strip() if step.key in self._detached else text]
        whole = self._catalogs.whole(step.key)
        if step.key.kind == "column" and whole and whole.kind in ("view", "materialized view"):
            return []  # it is created with its view, which has what the column has
        self._created(step.key)
        return [change.creation or self._catalogs.create(step.key)]

    def _prepare(self, step: Step) -> list[str]:
        """Plan what an object needs before it is created or changed, and return the SQL that has to come first."""
        sql, gone = [], set(self._gone)
        for key in self._catalogs.needs(with_parts(step.key, self._expected)):
            sql += self._restore(key)
        for key in gone - self._gone:
            self._restored_for.setdefault(key, step)
        if step.change is None or step.key in self._gone:
            sql += self._free_names(step)
        return sql

    def _restore(self, key: Key) -> list[str]:
        """Plan the steps of an object, and return the SQL that creates it if it was dropped for another."""
        whole = self._catalogs.whole(key)
        for each in (key, *([whole] if whole else [])):
            for step in self._making.get(each, ()):
                self._visit(step)
        if key not in self._gone or key not in self._dropped_for:
            return []
        self._created(key)
        sql = [part for used in self._catalogs.needs([key]) for part in self._restore(used)]
        return [*sql, self._catalogs.create(key)]

    def _create_the_rest(self) -> None:
        """Create what was dropped for others, each after the last step of what it depends on."""
        places = {step: number for number, (step, _, _) in enumerate(self._planned)}
        at: dict[Key, int] = {}
        for key in reversed(self._dropped_for):
            if key not in self._gone:
                continue
            needed = self._catalogs.needs([key])
            steps = [step for each in needed for step in self._making.get(each, ())]
            steps += [self._restored_for[each] for each in needed if each in self._restored_for]
            at[key] = max(
                [places[step] for step in (self._dropped_for[key], *steps)] + [at.get(each, 0) for each in needed]
            )
            self._planned[at[key]][1].append(self._catalogs.create(key))
            self._created(key)

    def _free(self, step: Step, *, drops: bool) -> list[Key]:
        """Return what has to be dropped before an object is, or before it gets another type; note what goes with it."""
        dropped = []
        for key, automatic in list(self._dependents(step.key, drops=drops, seen={step.key})):
            remover = self._remover(key)
            if remover is not None:
                self._visit(remover)
            if key in self._gone:
                continue
            if not self._catalogs.is_expected(key) and remover is None:
                continue  # somebody else's
            comes_with_parent = key.kind == "column" and "inherited" in self._live.by_key[key].facts
            if not automatic and not comes_with_parent and not self._catalogs.is_part_of(key, step.key):
                dropped.append(key)
            self._gone.add(key)
            if self._catalogs.is_expected(key) and not self._catalogs.is_implicit(key) and not self._is_made_later(key):
                self._dropped_for[key] = step
        return dropped

    def _dependents(self, key: Key, *, drops: bool, seen: set[Key]) -> Iterator[tuple[Key, bool]]:
        """Yield what depends on an object, the last first, and whether it is dropped with the object by itself."""
        for user, automatic in self._users.get(key, ()):
            if user in seen or user in self._gone or not self._still_uses(user, key):
                continue
            is_inherited = user.kind == key.kind == "column" and user[:3] != key[:3]  # it gets the other type too
            if not drops and not is_inherited and not self._refuses_another_type(user):
                continue
            seen.add(user)
            yield from self._dependents(user, drops=drops or not is_inherited, seen=seen)
            if drops or not is_inherited:
                yield user, automatic and drops

    def _refuses_another_type(self, user: Key) -> bool:
        if user.kind == "column":
            facts = self._live.by_key[user].facts
            return "generated" in facts and "inherited" not in facts  # that is dropped with the parent's
        if user.kind in ("index", "constraint", "statistics"):
            # an expression may not fit the other type, and it is created again anyway
            return any(
                step.change is not None and step.change.drops and step not in self._started
                for step in self._making.get(user, ())
            )
        return user.kind in _REFUSE_ANOTHER_TYPE

    def _still_uses(self, user: Key, key: Key) -> bool:
        """Whether an object depends on another now: its steps may have run, and its dependencies are the history's."""
        remover = self._remover(user)
        if remover is not None and remover.key in self._removed:
            return False
        steps = self._making.get(column_of(user), ())
        if not steps or any(step not in self._started for step in steps) or not self._catalogs.is_expected(user):
            return True
        return any(used == (key, user) for used, _ in uses_of(self._expected.by_key[column_of(user)], self._expected))

    def _free_names(self, step: Step) -> list[str]:
        """Plan the drops of what has a name that is needed now, and return the SQL for what has no drop of its own."""
        sql = []
        for key in with_parts(step.key, self._expected):
            item = self._expected.by_key[key]
            for other in self._names.get(unique_name(item), ()):
                if other.key in self._gone:
                    continue
                remover = self._remover(other.key)
                if remover is not None:
                    self._visit(remover)
                elif other.key == key and other.kind == "sequence":
                    sql += [self._catalogs.drop(each) for each in self._free(replace(step, key=key), drops=True)]
                    sql.append(self._catalogs.drop(key))
                    self._gone.add(key)
        return sql

    def _free_bounds(self, step: Step) -> list[Object]:
        """Return what has to be detached before a partition is created or attached: two may have exchanged bounds."""
        item = self._expected.by_key[step.key]
        parent = self._expected.parent(item)
        if "bound" not in item.facts or parent is None or not (step.change is None or step.change.attaches):
            return []
        partitions = in_the_way(item, self._expected, self._live)
        if step.change is None and any(other.facts["bound"] == item.facts["bound"] for other in partitions):
            return []  # that one is given the name
        for other in (each for steps in self._making.values() for each in steps):
            live = self._live.by_key.get(other.key)
            if other is step or live is None or other.change is None or not other.change.detaches:
                continue
            whole = self._live.parent(live)
            if whole is None or whole.key != parent.key or other in self._started:
                continue
            if other.change.attaches:
                partitions.append(live)
            else:
                self._visit(other)
        partitions = [other for other in partitions if other.key not in self._detached]
        self._detached.update(other.key for other in partitions)
        return partitions

    def _before_columns(self, step: Step) -> list[Step]:
        """Return the steps after which a column's table is no longer OF a type: the server alters none of such a table.

        They are those of its type, and of the type itself.
        """
        item = self._live.by_key.get(step.key) or self._expected.by_key.get(step.key)
        table = self._live.parent(item) if item is not None and item.kind == "column" else None
        return self._typing(table) if table is not None and "of_type" in table.facts else []

    def _typing(self, table: Object) -> list[Step]:
        """Return the steps of what a table is OF, and of both types themselves."""
        expected = self._expected.by_key.get(table.key)
        types = {each.facts.get("of_type") for each in (table, expected) if each is not None}
        typing = [step for step in self._making.get(table.key, ()) if step.change is not None and step.change.types]
        for key, steps in self._making.items():
            if key.kind == "composite type" and self._expected.by_key[key].address in types:
                typing += [step for step in steps if step.change is not None and step.change.reshapes]
        return typing

    def _untype(self, step: Step) -> list[str]:
        """Return the SQL after which no table is OF a type; they are again after the last of their columns.

        With CASCADE instead, what uses an attribute would be dropped, whoever has it.
        """
        sql = []
        for table in tables_of(self._live.by_key[step.key], self._live):
            typed = [each for each in self._typing(table) if each.change is not None and each.change.types]
            for each in typed:
                self._visit(each)
            if not typed and (self._catalogs.is_expected(table.key) or table.key in self._removing):
                sql.append(f"ALTER TABLE {table.address} NOT OF;")
                self._untyped.append((table, step))
        return sql

    def _type_again(self) -> None:
        """Let the tables be OF their types after the last step of their columns and of their types."""
        for table, step in self._untyped:
            expected = self._expected.by_key.get(table.key)
            if expected is None or "of_type" not in expected.facts:
                continue
            steps = {step, *self._typing(table)}
            last = max(
                number
                for number, (planned, _, _) in enumerate(self._planned)
                if planned in steps or planned.key[:3] == ("column", table.schema, table.name)
            )
            if "of_type" in table.facts:
                self._planned[last][1].append(f"ALTER TABLE {table.address} OF {expected.facts['of_type']};")
            else:
                entry = next(entry for entry in self._planned if entry[0] is step)
                self._planned.insert(last + 1, entry)
                self._planned.remove(entry)

    def _remover(self, key: Key) -> Step | None:
        """Return the step that drops an object, or what it is part of."""
        item: Object | None = self._live.by_key.get(column_of(key))
        while item is not None:
            if item.key in self._removing:
                return self._removing[item.key]
            constraint = Key("constraint", item.schema, item.table, item.facts.get("constraint", ""))
            if item.kind == "index" and constraint in self._removing:
                return self._removing[constraint]
            item = self._live.parent(item)
        return None

    def _created(self, key: Key) -> None:
        self._gone -= {key, *(with_parts(key, self._expected) if key in self._expected.by_key else ())}
        item = self._expected.by_key.get(key)
        if item is not None and item.kind in ("view", "materialized view"):
            parts = (*self._expected.parts(item, "column"), *parts_of_view(item, self._expected, self._live))
            self._gone -= {part.key for part in parts}
        for child in [each for each in self._gone if each.kind == key.kind == "column" and each[:3] != key[:3]]:
            column = self._expected.by_key.get(child)
            if column is not None and any(used == key for (used, _), _ in uses_of(column, self._expected)):
                self._created(child)  # it inherits the column

    def _is_made_later(self, key: Key) -> bool:
        whole = self._catalogs.whole(key)
        creates = [step for step in self._making.get(whole, ()) if step.change is None] if whole else []
        return any(step not in self._started for step in [*self._making.get(column_of(key), ()), *creates])

    def _has_grants(self, key: Key) -> bool:
        """Whether grants are lost that no other line names."""
        has_some = key.kind != "column" or bool(self._live.by_key[key].grants)
        return has_some and key.kind in ("column", "view", "materialized view", *ROUTINES) and key in self._dropped_for


def _column_name(key: Key) -> str:
    return f"{key.table}.{key.name}" if key.kind == "column" else key.name
