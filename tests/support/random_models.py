"""Random models: modules of a service, as text, over a wide set of what a table can have."""

from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["modules"]

Draw = st.DrawFn

HEAD = """
from sqlalchemy import (
    BigInteger, Boolean, CheckConstraint, Column, Computed, Date, DateTime, Double, Enum, ForeignKeyConstraint,
    Identity, Index, Integer, Interval, JSON, LargeBinary, MetaData, Numeric, SmallInteger, String, Table, Text,
    PrimaryKeyConstraint, Time, UniqueConstraint, Uuid, column, func, text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BIT, CIDR, ExcludeConstraint, INET, INT4RANGE, JSONB, MONEY, TSVECTOR
from shared_models import NAMING_CONVENTION

metadata = MetaData({metadata})
"""


@dataclass(frozen=True)
class Kind:
    """A type, its defaults, and the conditions and expressions that a column of it can stand in."""

    sql: str
    defaults: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    expressions: tuple[str, ...] = ()
    sorts: bool = True
    family: str = ""


_NUMBERS = {
    "checks": ("{c} > 0", "{c} BETWEEN 1 AND 10", "{c} IN (1, 2, 3)", "{c} > 1 AND {c} < 9", "{c} % 2 = 0"),
    "expressions": ("{c} + 1", "abs({c})"),
    "family": "number",
}
_TEXTS = {
    "defaults": ("'x'", '"it\'s"', "'a:b'", "text(\"'%' || 'y'\")", "text(\"lower('X')\")", "''", "'back\\\\slash'"),
    "checks": (
        "{c} <> ''",
        "{c} <> ':all'",
        "length({c}) > 2",
        "{c} LIKE 'a:b%'",
        "{c} ~ '^[a-z]+$'",
        "{c} IN ('a', 'B')",
    ),
    "expressions": ("lower({c})", "upper({c}) || 'x'", "left({c}, 3)"),
    "family": "text",
}
_TIMES = {"checks": ("{c} > '2020-01-01'",)}

KINDS = (
    Kind("Integer()", ("text('0')", "text('1 + 1')", "'7'"), **_NUMBERS),
    Kind("BigInteger()", ("text('0')",), **_NUMBERS),
    Kind("SmallInteger()", ("text('3')",), **_NUMBERS),
    Kind("String(10)", **_TEXTS),
    Kind("String(20)", **_TEXTS),
    Kind("String()", **_TEXTS),
    Kind("String(20, collation='C')", **_TEXTS),
    Kind("Text()", **_TEXTS),
    Kind("Text(collation='POSIX')", **_TEXTS),
    Kind("Numeric(10, 2)", ("text('0')", "text('1.50')"), ("{c} >= 0.5",), ("round({c})",)),
    Kind("Numeric(12, 3)", ("text('0')",), ("{c} >= 0.5",), ("round({c})",)),
    Kind("Numeric()"),
    Kind("Double()", ("text('0')", "text('1e3')"), ("{c} < 1e6",)),
    Kind("Boolean()", ("text('true')", "text('false')", "'f'"), ("{c}", "NOT {c}")),
    Kind("Date()", ("func.current_date()", "text('CURRENT_DATE')"), **_TIMES),
    Kind("Time()"),
    Kind("DateTime()", ("func.now()", "text('LOCALTIMESTAMP')"), **_TIMES),
    Kind("DateTime(timezone=True)", ("func.now()", "text(\"now() - interval '1 day'\")", "text('clock_timestamp()')")),
    Kind("Interval()", ("text(\"'1 day'\")", "'02:00:00'")),
    Kind("Interval(second_precision=3)"),
    Kind("Uuid()", ("text('gen_random_uuid()')",)),
    Kind("LargeBinary()", (), ("octet_length({c}) < 100",)),
    Kind("JSON()", ("text(\"'{}'\")",), sorts=False),
    Kind("JSONB()", ("text(\"'{}'\")", "text(\"'[1]'::jsonb\")"), ("{c} ? 'k'",), family="gin"),
    Kind("ARRAY(Integer)", ("text(\"'{}'\")", "text('ARRAY[1, 2]')"), ("cardinality({c}) < 9",), family="gin"),
    Kind("ARRAY(String(5))", ("'{}'",), ("'a' = ANY ({c})",), family="gin"),
    Kind("ARRAY(Text, dimensions=2)", family="gin"),
    Kind("INET()", ("'10.0.0.1'",)),
    Kind("CIDR()"),
    Kind("BIT(3)"),
    Kind("BIT(varying=True)"),
    Kind("MONEY()"),
    Kind("INT4RANGE()", ("text(\"'[1,5)'\")",), ("NOT isempty({c})",), family="range"),
    Kind("TSVECTOR()", sorts=False, family="gin"),
)
LABELS = ("new", "open", "paid", "it's", "on hold", "a:b")
COMMENTS = (None, None, None, "plain", "it's 100%: all :of it", "two\\nlines")
COUNTING = (
    "", "", "autoincrement=False", "Identity()", "Identity(always=True)", "Identity(start=5, increment=2)",
    "Identity(always=True, cache=3, cycle=True, maxvalue=1000)",
)  # fmt: skip
NAMES = ("one", "two", "Three", "order", "five", "six%", "seven")
KEYED = {"seven": "seventh", "six%": "sixth"}
"""The columns that have another key than their name, by which the parts of a table name them."""

RULES = ("", ", ondelete='CASCADE'", ", ondelete='SET NULL'", ", onupdate='RESTRICT'", ", deferrable=True",
         ", deferrable=True, initially='DEFERRED'", ", match='FULL'", ", comment='100% :its'")  # fmt: skip


def enum_kinds(name: str, labels: tuple[str, ...], schema: str) -> list[Kind]:
    """Return an enum type, several times so that it is drawn often, and an array of it."""
    checks = tuple(f"{{c}} <> {literal(label)}" for label in labels)
    kind = Kind(name, (repr(labels[0]), repr(labels[-1])), checks, family="enum")
    defaults: tuple[str, ...] = ("'{}'",)
    if labels[0].isalpha():
        full = f"{schema}.{name}" if schema else name
        defaults += (f"text(\"ARRAY['{labels[0]}']::{full}[]\")",)
    return [kind] * 4 + [Kind(f"ARRAY({name})", defaults)]


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def sql(text: str) -> str:
    """Return a condition as Python source: a colon is escaped, as models have to."""
    return repr(text.replace(":", "\\:"))


@st.composite
def modules(draw: Draw, version: int) -> str:
    """Return the text of a module of models for a PostgreSQL version."""
    convention = draw(st.booleans())
    schema = draw(st.sampled_from(("", "", "", "", "extra")))
    places = {"beta": schema, "gamma": draw(st.sampled_from(("", "", "", "Other 1%")))}
    prefixes = draw(
        st.sampled_from(("", "", "", "", "prefixes=['UNLOGGED']"))
    )  # one that is logged can't refer to them
    lines = [HEAD.format(metadata="naming_convention=NAMING_CONVENTION" if convention else "")]
    kinds = list(KINDS)
    for name, place in (("mood", schema), ("state", "")):
        labels = tuple(draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=4, unique=True)))
        inside = f", schema={place!r}" if place else ""
        lines.append(f"{name} = Enum({', '.join(map(repr, labels))}, name='{name}'{inside})")
        kinds += enum_kinds(name, labels, place)
    names: list[str] = []
    keys: list[str] = []
    for name in draw(st.lists(st.sampled_from(("alpha", "beta", "gamma", "User")), max_size=3, unique=True)):
        place = places.get(name, "")
        columns = draw(_columns(kinds))
        parts = [draw(_key()), *(column.sql for column in columns)]
        found = {column.name: column.kind for column in columns}
        if found:
            numbers = range(draw(st.integers(0, 4)))
            parts += [
                draw(_part(f"{name.lower()}_{number}", found, version, unnamed=not convention)) for number in numbers
            ]
        full = f"{place}.{name}" if place else name
        keys.append(f"{full}.id")
        parts += draw(_foreign_keys(name, found, keys))
        unique = [
            one for one in found if any(part.startswith(f"UniqueConstraint({key_of(one)!r}, name") for part in parts)
        ]
        keys += [f"{full}.{key_of(one)}" for one in unique if found[one].family == "number"]
        comment = draw(st.sampled_from(COMMENTS))
        parts += [f"comment='''{comment}'''"] if comment else []
        parts += [f"schema={place!r}"] if place else []
        parts += [prefixes] if prefixes else []
        lines += [f"{name} = Table({name!r}, metadata,", *(f"    {part}," for part in parts), ")"]
        names.append(name)
    lines.append(f"__all__ = {[*names, 'metadata']!r}")
    return Module("\n".join(lines))


class Module(str):
    """Its text, which also a failing test shows as it is written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)[len(HEAD) - 20 :]


@dataclass(frozen=True)
class Made:
    """A column: its name, its type and its source."""

    name: str
    kind: Kind
    sql: str


@st.composite
def _key(draw: Draw) -> str:
    kind = draw(st.sampled_from(("Integer()", "BigInteger()", "SmallInteger()")))
    counting = draw(st.sampled_from(COUNTING))
    return f"Column('id', {kind}, {counting + ', ' if counting else ''}primary_key=True)"


@st.composite
def _columns(draw: Draw, kinds: list[Kind]) -> list[Made]:
    found: list[Made] = []
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=True)):
        kind = draw(st.sampled_from(kinds))
        options = []
        numbers = [column.name for column in found if column.kind.family == "number"]
        if kind.family == "number" and numbers and draw(st.integers(0, 3)) == 0:
            expression = f"{quote(draw(st.sampled_from(numbers)))} * {draw(st.integers(2, 3))}"
            options.append(f"Computed({sql(expression)}, persisted=True)")
            kind = Kind(kind.sql, (), kind.checks, kind.expressions, family="computed")
        options.append(f"nullable={draw(st.booleans())}")
        if kind.defaults and draw(st.booleans()):
            options.append(f"server_default={draw(st.sampled_from(kind.defaults))}")
        comment = draw(st.sampled_from(COMMENTS))
        options += [f"comment='''{comment}'''"] if comment else []
        if kind.sorts:
            options += [f"{word}=True" for word in ("unique", "index") if draw(st.integers(0, 7)) == 0]
        options += [f"key={KEYED[name]!r}"] if name in KEYED else []
        found.append(Made(name, kind, f"Column({name!r}, {kind.sql}, {', '.join(options)})"))
    return found


@st.composite
def _foreign_keys(draw: Draw, table: str, columns: dict[str, Kind], keys: list[str]) -> list[str]:
    numbers = [name for name, kind in columns.items() if kind.family == "number"]
    found = []
    for key in keys:
        if numbers and draw(st.integers(0, 2)) == 0:
            name = draw(st.sampled_from((f", name='fk_{table}_{'_'.join(key.split('.')[-2:])}'", "")))
            local, rule = key_of(draw(st.sampled_from(numbers))), draw(st.sampled_from(RULES))
            rule = rule if name or "comment" not in rule else ""  # SQLAlchemy can't say on which constraint it is
            found.append(f"ForeignKeyConstraint([{local!r}], [{key!r}]{name}{rule})")
    return found


@st.composite
def _part(draw: Draw, name: str, columns: dict[str, Kind], version: int, *, unnamed: bool) -> str:
    column, other = draw(st.sampled_from(sorted(columns))), draw(st.sampled_from(sorted(columns)))
    kind, quoted, key, other_key = columns[column], quote(column), key_of(column), key_of(other)
    conditions = [check.format(c=quoted) for check in kind.checks]
    found = [f"CheckConstraint({sql(one)}, name='ck{name}')" for one in (f"{quoted} IS NOT NULL", *conditions)]
    if unnamed:
        found += [f"CheckConstraint({sql(condition)})" for condition in conditions[:1]]
    found += [f"Index('ix{name}', text({sql(f'({expression.format(c=quoted)})')}))" for expression in kind.expressions]
    if kind.sorts:
        found += _of_a_column_that_sorts(name, column, conditions, version)
        if column != other and columns[other].sorts:
            found += [f"UniqueConstraint({key!r}, {other_key!r}{given})" for given in (f", name='uq{name}'", "")]
            found += [f"Index('ix{name}', {key!r}, {other_key!r}, postgresql_include=[{key!r}])"]
    if kind.family == "gin":
        found.append(f"Index('ix{name}', {key!r}, postgresql_using='gin')")
    if kind.sql == "JSONB()":
        ops = f"postgresql_ops={{{key!r}: 'jsonb_path_ops'}}"
        found.append(f"Index('ix{name}', {key!r}, postgresql_using='gin', {ops})")
    if kind.family == "range":
        found.append(f"ExcludeConstraint((column({column!r}), '&&'), using='gist', name='ex{name}')")
    return draw(st.sampled_from(found))


def _of_a_column_that_sorts(name: str, column: str, conditions: list[str], version: int) -> list[str]:
    given = sql(f"{quote(column)} IS NOT NULL")
    key = key_of(column)
    distinct = ["", ", postgresql_nulls_not_distinct=True"] if version >= 15 else [""]
    return [
        *(f"UniqueConstraint({key!r}, name='uq{name}'{option})" for option in distinct),
        *(f"Index('ix{name}', {key!r}, unique=True{option})" for option in distinct),
        f"UniqueConstraint({key!r}, name='uq{name}', deferrable=True, initially='DEFERRED')",
        f"Index('ix{name}', {key!r})",
        f"Index('ix{name}', text({sql(f'{quote(column)} DESC NULLS LAST')}))",
        *(f"Index('ix{name}', {key!r}, postgresql_where=text({sql(condition)}))" for condition in conditions),
        f"Index('ix{name}', {key!r}, postgresql_where=text({given}))",
        f"ExcludeConstraint((column({column!r}), '='), using='btree', name='ex{name}')",
        f"ExcludeConstraint((column({column!r}), '='), using='btree', name='ex{name}', where=text({given}))",
    ]


def quote(name: str) -> str:
    return f'"{name}"' if name in ("Three", "order", "six%") else name


def key_of(name: str) -> str:
    return KEYED.get(name, name)
