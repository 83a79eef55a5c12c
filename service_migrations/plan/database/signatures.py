"""What the text of a CREATE says of its object: the arguments of a function, whether a view can be written through."""

from collections.abc import Sequence
from dataclasses import dataclass

from service_migrations.plan.statements.columns import outside, words_of
from service_migrations.sql.clauses import actions, own_at, statement_inside
from service_migrations.sql.lexer import Token

__all__ = ["Signature", "is_unwritten", "signature_of"]

_TYPES = {
    **dict.fromkeys(("int", "int4"), "integer"),
    "int8": "bigint",
    "int2": "smallint",
    "bool": "boolean",
    "float8": "double precision",
    "float4": "real",
    "varchar": "character varying",
    "decimal": "numeric",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}
"""The names that PostgreSQL shows types by, of those that people write in another way."""
_AGGREGATES = (
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "bool_or",
    "bool_and",
)
_NO_WRITING = ("distinct", "group", "having", "limit", "offset", "union", "intersect", "except", "join", "over")
_AFTER_FROM = ("where", "order", "window", "with")


@dataclass(frozen=True, slots=True)
class Signature:
    """The arguments that a call gives: the types of each that are possible, since a name may be before one."""

    types: tuple[frozenset[str], ...]
    defaults: int

    def meets(self, types: Sequence[str], defaults: int) -> int | None:
        """Return with how many arguments a call fits this function and another one that it surely doesn't replace."""
        count, least = min(len(types), len(self.types)), max(len(types) - defaults, len(self.types) - self.defaults)
        pairs = zip(self.types, types, strict=False)
        is_other = len(types) != len(self.types)
        return count if is_other and least <= count and all(shown in possible for possible, shown in pairs) else None


def signature_of(tokens: Sequence[Token]) -> Signature:
    """Return the arguments of a function from the parenthesis on."""
    arguments = list(actions(statement_inside(tokens[1:]))) if tokens[:1] and tokens[0] == "(" else []
    types: list[frozenset[str]] = []
    defaults = 0
    for argument in arguments:
        values = [token.value for token in argument]
        if values[:1] == ["out"]:
            continue
        values = values[values[:1] in (["in"], ["inout"]) :]
        end = next((at for at, value in enumerate(values) if value in ("default", "=")), len(values))
        defaults += end < len(values)
        texts = {" ".join(values[:end]), " ".join(values[1:end])}
        types.append(frozenset(_TYPES.get(text, text) for text in texts))
    return Signature(tuple(types), defaults)


def is_unwritten(statement: Sequence[Token]) -> bool:
    """Whether PostgreSQL surely can't write through a view: its query joins, groups or limits."""
    start = own_at(statement, "as")
    if start is None:
        return False
    query = outside(statement[start + 1 :])
    words = words_of(query)
    if words[:1] in (["with"], ["values"]) or {*_NO_WRITING} & set(words) or "from" not in words:
        return True
    begin = words.index("from")
    end = next((at for at in range(begin, len(words)) if words[at] in _AFTER_FROM), len(words))
    calls = zip(statement[start + 1 :], statement[start + 2 :], strict=False)
    return "," in query[begin:end] or any(name in _AGGREGATES and after == "(" for name, after in calls)
