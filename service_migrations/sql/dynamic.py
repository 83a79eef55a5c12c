"""Texts that are put together when they run: what is known of them before."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice, product

from service_migrations.sql.clauses import actions, own_at, statement_inside
from service_migrations.sql.lexer import Token

__all__ = ["UNKNOWN", "executed_texts", "fits", "possible_texts"]

UNKNOWN = "…"
"""What stands for a part that isn't known, such as a name that ``format`` or ``||`` fills in; a letter of a name."""

_PLACE = re.compile(r"%(?:%|(?:(?P<number>\d+)\$)?-?(?:\d+|\*(?:\d+\$)?)?(?P<kind>[ILs]))")
"""Where ``format`` fills something in (documentation, 9.4.1 format)."""
_PLAIN_NAME = re.compile(rf"[a-z_{UNKNOWN}][a-z0-9_{UNKNOWN}]*")
_MOST = 64
"""How many texts of one expression are read: each CASE and each COALESCE has several. Further ones are unknown."""
_SAME = ("string_agg", "min", "max", "nullif", "upper", "lower", "trim", "btrim", "ltrim", "rtrim")
"""Functions whose result is their first argument, but for letters, spaces and repetition."""
_FUNCTIONS = (*_SAME, "coalesce", "concat", "concat_ws", "format", "quote_ident", "replace")
_ENDS = (",", ";", ":", "=", "]", "as", "else", "end", "from", "into", "loop", "then", "using", "when")
"""What a text in a statement ends before."""
_SHOWN = ("raise", "assert")
"""Statements of a block whose texts nobody runs."""
_STARTS_AFTER = (";", "begin", "then", "else", "loop")


def executed_texts(expression: Sequence[Token]) -> Iterator[str]:
    """Yield the texts that the EXECUTE of a block may run; INTO and USING may follow its expression."""
    for word in ("into", "using"):
        expression = expression[: own_at(expression, word)]
    yield from _texts(expression)


def possible_texts(body: Sequence[Token]) -> Iterator[str]:
    """Yield the texts that the body of a block may keep in a variable, and execute later."""
    start, end = 0, 0
    for index, token in enumerate(body):
        before = body[index - 1] if index else None
        start = index if before in _STARTS_AFTER else start
        is_text = token.kind == "string" or (token in _FUNCTIONS and list(body[index + 1 : index + 2]) == ["("])
        if not is_text or index < end or before == "execute" or body[start] in _SHOWN:
            continue
        expression = statement_inside(body[index:])
        expression = list(_to_end(expression))
        end = index + len(expression)
        yield from map(_formatted, _texts(expression))


def fits(name: str, pattern: str) -> bool:
    """Whether a name may be one of which only parts are known."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split(UNKNOWN))), name, re.DOTALL) is not None


def _to_end(expression: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens of the text with which an expression begins."""
    depth = 0
    for token in expression:
        depth += (token == "(") - (token == ")")
        if not depth and token in _ENDS:
            return
        yield token


def _texts(expression: Sequence[Token]) -> list[str]:
    """Return what an expression may be."""
    return _joined([_operand(operand) for operand in _split(expression)])


def _joined(parts: Sequence[Sequence[str]], separator: str = "") -> list[str]:
    texts = _combined(parts, lambda *texts: separator.join(texts))
    return [re.sub(f"{UNKNOWN}+", UNKNOWN, text) for text in texts]


def _combined(parts: Sequence[Sequence[str]], combine: Callable[..., str]) -> list[str]:
    """Return what a function makes of each combination of texts; an unknown text stands for those beyond the most."""
    combinations = list(islice(product(*parts), _MOST + 1))
    return [combine(*texts) for texts in combinations[:_MOST]] + [UNKNOWN] * (len(combinations) > _MOST)


def _split(expression: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield the operands of ``||``."""
    start, depth = 0, 0
    for index, token in enumerate(expression):
        depth += (token in ("(", "case")) - (token in (")", "end"))
        if not depth and token == "|" and expression[index - 1] == "|" and index > start:
            yield expression[start : index - 1]
            start = index + 1
    yield expression[start:]


def _operand(operand: Sequence[Token]) -> list[str]:
    if list(operand[:1]) == ["case"]:
        return [text for branch in _branches(operand) for text in _texts(branch)] or [UNKNOWN]
    operand = operand[2 * (list(operand[:2]) == ["pg_catalog", "."]) : own_at(operand, "::")]
    if len(operand) == 1 and operand[0].kind == "string":
        return [operand[0].value]
    start = next((index for index, token in enumerate(operand) if token == "("), len(operand))
    inside = statement_inside(operand[start + 1 :])
    if not inside or start > 1 or start + len(inside) + 2 < len(operand):
        return [UNKNOWN]  # a variable, or another operator
    if start:
        return _result(operand[0], list(actions(inside)))
    if inside[0] == "select":
        inside = next(actions(inside[1 : own_at(inside, "from")]), [])
        inside = inside[: own_at(inside, "as")]
    return _texts(inside)


def _result(function: Token, arguments: Sequence[Sequence[Token]]) -> list[str]:
    """Return what a function may return."""
    if function not in _FUNCTIONS or not arguments:
        return [UNKNOWN]
    values = [_texts(argument) for argument in arguments]
    if function == "concat_ws":
        return [text for separator in values[0] for text in _joined(values[1:], separator)]
    if function == "coalesce":
        return [text for texts in values for text in texts]
    if function not in _COMBINING:
        return values[0]
    return _combined(values, _COMBINING[function.value])


def _name(text: str) -> str:
    """Return a text as ``quote_ident`` does, where it needs no quotes."""
    return text if _PLAIN_NAME.fullmatch(text) else UNKNOWN


def _formatted(pattern: str, *arguments: str) -> str:
    """Return what ``format`` makes of a pattern; a literal isn't known."""
    numbers = count(1)

    def fill(place: re.Match[str]) -> str:
        if place["kind"] is None:
            return "%"
        argument = next(iter(arguments[int(place["number"] or next(numbers)) - 1 :]), UNKNOWN)
        return argument if place["kind"] == "s" else _name(argument) if place["kind"] == "I" else UNKNOWN

    return _PLACE.sub(fill, pattern)


def _concatenated(*texts: str) -> str:
    return "".join(texts)


def _replaced(text: str, old: str = "", new: str = "", *_: str) -> str:
    return text.replace(old, new) if old else text


_COMBINING: dict[str, Callable[..., str]] = {
    "concat": _concatenated,
    "format": _formatted,
    "quote_ident": _name,
    "replace": _replaced,
}


def _branches(case: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield the results of a CASE."""
    start, depth = None, 0
    for index, token in enumerate(case):
        depth += (token in ("(", "case")) - (token in (")", "end"))
        is_own = depth == (0 if token == "end" else 1)
        if is_own and token in ("when", "else", "end") and start is not None:
            yield case[start:index]
            start = None
        if is_own and token in ("then", "else"):
            start = index + 1
