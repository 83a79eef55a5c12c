"""The SQL that a revision executes, as far as it is written in its file."""

import ast
from collections.abc import Iterator
from textwrap import dedent

from service_migrations.adoption.code.modules import Module, assigned, dotted
from service_migrations.sql.lexer import tokenize

__all__ = ["EXECUTES", "is_of_a_file", "sql_constants", "sql_text"]

EXECUTES = ("execute", "exec_driver_sql", "scalar", "scalars")
_COMMANDS = frozenset(
    (
        *("alter", "analyze", "begin", "call", "comment", "copy", "create", "delete", "do", "drop", "grant", "insert"),
        *("lock", "merge", "refresh", "reindex", "revoke", "savepoint", "select", "set", "truncate", "update", "with"),
    )
)
"""The first words of commands; a text that begins otherwise may be no SQL."""


def sql_text(node: ast.expr, module: Module) -> str | None:
    """Return the SQL of an expression, with a word for what isn't constant; None where it is no text."""
    return _text(node, _values(node, module), frozenset())


def _text(  # noqa: PLR0911 - one for each kind of expression
    node: ast.expr, values: dict[str, list[ast.expr]], seen: frozenset[str]
) -> str | None:
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)
        case ast.BinOp(left=left, op=ast.Mod()):
            return _text(left, values, seen)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            texts = (_text(left, values, seen), _text(right, values, seen))
            return None if texts == (None, None) else "".join("x" if text is None else text for text in texts)
        case ast.Name(id=name) if name in values and name not in seen:
            return _text(values[name][-1], values, seen | {name})
        case ast.Call(func=ast.Attribute(value=owner, attr="format" | "strip" | "bindparams" | "execution_options")):
            return _text(owner, values, seen)
        case ast.Call(func=function, args=[argument, *_]) if (dotted(function) or "").endswith(
            ("text", "dedent", "DDL")
        ):
            text = _text(argument, values, seen)
            return dedent(text) if text else text
    return None


def is_of_a_file(node: ast.expr, module: Module) -> bool:
    """Whether a text is read from a file."""
    values = _values(node, module)
    for item in ast.walk(node):
        value = values[item.id][-1] if isinstance(item, ast.Name) and item.id in values else item
        name = value.func.attr if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else ""
        if name in ("read", "read_text"):
            return True
    return False


def sql_constants(module: Module) -> Iterator[tuple[str, int]]:
    """Yield each text of a file that begins like a command of SQL, and its line: it may be executed by way of a name.

    A docstring isn't one, nor a part of an f-string.
    """
    parts = {id(part) for node in module.nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    parts |= {id(node.value) for node in module.nodes if isinstance(node, ast.Expr)}
    for node in module.nodes:
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in parts:
            text = _text(node, {}, frozenset())
            if text and next(tokenize(text), None) in _COMMANDS:
                yield text, node.lineno


def _values(node: ast.expr, module: Module) -> dict[str, list[ast.expr]]:
    """Return the values of the names that an expression may use: those of its function before those of the file."""
    line = getattr(node, "lineno", 0)
    functions = (item for item in module.functions.values() if item.lineno <= line <= (item.end_lineno or line))
    return module.values | {name: values for item in functions for name, values in assigned(item.body).items()}
