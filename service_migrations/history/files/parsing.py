"""The syntax tree of a revision file, without Python's warnings of it: those come when the file is imported."""

import ast
import threading
import warnings
from functools import lru_cache
from importlib.util import decode_source

__all__ = ["FILTERS", "has_state", "parse", "source_text", "tree_of"]

FILTERS = threading.RLock()
"""The filters of warnings belong to the process: of two threads that change them, one would restore the other's."""


_SETTERS = ("delattr", "eval", "exec", "globals", "setattr", "vars")
"""Functions of Python that may set what a module has."""


def parse(source: bytes | str) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        SyntaxError, ValueError: it isn't valid Python.

    """
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


@lru_cache(maxsize=32)
def tree_of(source: bytes) -> ast.Module:
    """Return the syntax tree of a file, which is that of all who ask: nobody may change it.

    Raises:
        SyntaxError, ValueError: it isn't valid Python.

    """
    return parse(source)


def has_state(tree: ast.Module) -> bool:
    """Whether a module may keep something of its own that a call of its functions changes, such as a list.

    One that has imports, functions and constants at its top has nothing of the kind, unless a function sets an
    attribute, which may be its own; what the module imports is others' own.
    """
    return any(map(_may_set, ast.walk(tree))) or not all(map(_is_stateless, tree.body))


def _may_set(node: ast.AST) -> bool:
    """Whether a part of a function may set a name of its module, or an attribute of a function."""
    match node:
        case ast.Global():
            return True
        case ast.Attribute():
            return not isinstance(node.ctx, ast.Load) or node.attr.startswith("__")
        case ast.Name():
            return node.id in _SETTERS
    return False


def _is_stateless(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef():
            arguments = statement.args
            defaults = [*arguments.defaults, *(value for value in arguments.kw_defaults if value)]
            return not statement.decorator_list and all(map(_is_constant, defaults))
        case ast.Assign() | ast.AnnAssign():
            return statement.value is None or _is_constant(statement.value)
        case ast.Expr():
            return isinstance(statement.value, ast.Constant)
    return False


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(map(_is_constant, node.elts))
    return isinstance(node, ast.Constant)


def source_text(source: bytes) -> str:
    """Return the text of a file in the encoding that its first lines name, as Python reads it."""
    try:
        return decode_source(source)
    except (SyntaxError, UnicodeDecodeError):
        return source.decode(errors="replace")  # its import reports it
