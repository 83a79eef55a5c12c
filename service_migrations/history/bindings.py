"""What the top of a module binds, where it visibly does nothing else: no call, loop or decorator that could do more.

A call of a library that only makes values is all that is let through, since constants of revisions need it. What such
a call could be made to call in turn isn't followed.
"""

import ast
import builtins
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec

__all__ = ["bindings"]

_LIBRARIES = frozenset(("datetime", "decimal", "logging", "re", "sqlalchemy", "textwrap", "uuid"))
"""Where calls at the top of a revision come from: ``sa.table(…)``, ``UUID(…)``, ``logging.getLogger(…)``."""


def bindings(module: ast.Module) -> list[tuple[str, ast.expr | None]] | None:
    """Return each name that a module binds, in order, with its value where that is an assignment's.

    Returns:
        The names; None where anything is done that isn't surely one of these: importing what is installed, making
        a plain value, defining a function.

    """
    found: list[tuple[str, ast.expr | None]] = []
    known = {"__file__": ""}
    for node in module.body:
        bound = _bound(node, known)
        if bound is None:
            return None
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for name, library in bound.items():
            known[name] = library
            found.append((name, value))
    return found


def _bound(node: ast.stmt, known: Mapping[str, str]) -> dict[str, str] | None:
    """Return the names that a statement binds, each with the library that it is from; None where that can't be seen."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return {}
        case ast.Assign(targets=targets, value=value) if _is_plain(value, known):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            return dict.fromkeys(names, "") if len(names) == len(targets) else None
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if _is_plain(value, known):
            return {name: ""} if _is_type(node.annotation, known) else None
        case ast.Import() | ast.ImportFrom(level=0):
            return _imported(node)
        case ast.FunctionDef() | ast.AsyncFunctionDef() if not node.decorator_list and _is_plain_signature(node, known):
            return {node.name: ""}
    return None


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, str] | None:
    found = {}
    for alias in node.names:
        module = node.module if isinstance(node, ast.ImportFrom) else None
        library = (module or alias.name).partition(".")[0]
        found[alias.asname or (alias.name if module else library)] = library
    return found if "*" not in found and all(map(_is_installed, found.values())) else None


@cache
def _is_installed(library: str) -> bool:
    try:
        return library in sys.modules or find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _is_plain_signature(node: ast.FunctionDef | ast.AsyncFunctionDef, known: Mapping[str, str]) -> bool:
    given = node.args
    arguments = (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg)
    annotations = (node.returns, *(argument.annotation for argument in arguments if argument))
    values = (*given.defaults, *given.kw_defaults)
    return all(_is_type(one, known) for one in annotations) and all(_is_plain(one, known) for one in values)


def _is_plain(node: ast.expr | None, known: Mapping[str, str]) -> bool:
    """Whether an expression only makes a value, of constants and what is known."""
    parts: Iterable[ast.expr | None] = ()
    match node:
        case None | ast.Constant():
            return True
        case ast.Name(id=name):
            return name in known or hasattr(builtins, name)
        case ast.Attribute(value=part) | ast.UnaryOp(operand=part):
            parts = (part,)
        case ast.Tuple(elts=several) | ast.List(elts=several) | ast.Set(elts=several):
            parts = several
        case ast.Dict(keys=keys, values=values):
            parts = (*keys, *values)
        case ast.Call(func=function, args=arguments, keywords=keywords) if _library(function, known) in _LIBRARIES:
            parts = (function, *arguments, *(keyword.value for keyword in keywords))
        case _:
            return False
    return all(_is_plain(part, known) for part in parts)


def _is_type(node: ast.expr | None, known: Mapping[str, str]) -> bool:
    """Whether an annotation only names types: ``str | Sequence[str] | None``."""
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right) | ast.Subscript(value=left, slice=right):
            return _is_type(left, known) and _is_type(right, known)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return all(_is_type(part, known) for part in parts)
    return not isinstance(node, ast.Call) and _is_plain(node, known)


def _library(function: ast.expr, known: Mapping[str, str]) -> str | None:
    """Return from which library a chain of attributes and calls begins."""
    while isinstance(function, ast.Attribute | ast.Call):
        function = function.func if isinstance(function, ast.Call) else function.value
    return known.get(function.id) if isinstance(function, ast.Name) else None
