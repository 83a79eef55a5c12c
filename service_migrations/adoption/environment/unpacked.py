"""The options of ``**options``, where these are written in the file: a dict, and what is added to it."""

import ast
from collections.abc import Iterator, Mapping

from service_migrations.adoption.code.modules import Module, dotted, statements
from service_migrations.adoption.code.variables import constant

__all__ = ["unpacked"]

_DEEPEST = 5
"""Dicts inside another; a longer chain is a circle, such as ``options = {**options}``."""

_Piece = tuple[str | None, ast.expr | None]
"""An option with its value; another mapping, without a name; or what can't be read, without both."""
_UNKNOWN: _Piece = (None, None)


def unpacked(
    module: Module, node: ast.expr, function: ast.AST | None, depth: int = 0
) -> tuple[Mapping[str, ast.expr], bool]:
    """Return the options of a mapping, and whether these are all.

    Args:
        module: the file.
        node: the expression behind the two stars.
        function: the function that it is in.
        depth: how many mappings it is inside of.

    """
    options: dict[str, ast.expr] = {}
    is_whole = True
    for name, value in _pieces(module, node, function) if depth < _DEEPEST else ():
        if value is None:
            is_whole = False
        elif name is not None:
            options[name] = value
        else:
            others, are_whole = unpacked(module, value, function, depth + 1)
            options |= others
            is_whole = is_whole and are_whole
    return options, is_whole


def _pieces(module: Module, node: ast.expr, function: ast.AST | None) -> Iterator[_Piece]:
    match node:
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                name = constant(key)
                yield (name, value) if name is not None or key is None else _UNKNOWN
        case ast.Call(func=ast.Name(id="dict")):
            yield from _arguments(node)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from ((None, left), (None, right))
        case ast.Name() | ast.Attribute():
            yield from _of_name(module, dotted(node), function)
        case _:
            yield _UNKNOWN


def _arguments(call: ast.Call) -> Iterator[_Piece]:
    """Yield what ``dict()`` and ``options.update()`` are given."""
    yield from ((None, argument) for argument in call.args)
    yield from ((item.arg, item.value) for item in call.keywords)


def _of_name(module: Module, name: str | None, function: ast.AST | None) -> Iterator[_Piece]:
    """Yield the values of a name, and what is added to them."""
    is_known = False
    for statement in statements([*module.tree.body, *getattr(function, "body", [])]):
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign) and statement.value is not None:
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                if dotted(target) == name:
                    is_known = True
                    yield None, statement.value
                elif isinstance(target, ast.Subscript) and dotted(target.value) == name:
                    key = constant(target.slice)
                    yield (key, statement.value) if key is not None else _UNKNOWN
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value
            method = dotted(call.func)
            if method == f"{name}.update":
                yield from _arguments(call)
            elif method == f"{name}.setdefault" and len(call.args) > 1:
                yield constant(call.args[0]), call.args[1] if constant(call.args[0]) is not None else None
    if not is_known:
        yield _UNKNOWN
