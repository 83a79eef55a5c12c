"""Whether a downgrade certainly does nothing else than to emit SQL, so that an upgrade may run it offline.

It may name operations of Alembic, expressions of SQLAlchemy, functions of Python without an effect, and values that are
made of these. Whatever else a file has, such as a client of a service or an engine, would be used by an upgrade that
nobody has asked to take anything back.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from service_migrations.history.files.parsing import tree_of

__all__ = ["is_plain"]

_PURE = frozenset(
    ("bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range", "repr", "set", "sorted", "str",
     "sum", "tuple", "zip", "Exception")
)  # fmt: skip
_TRUSTED = {"alembic": ("op",), "service_migrations": ("safe",)}
"""Of these packages, what may be imported; of SQLAlchemy all but what connects."""

_CONNECTING_PARTS = ("engine", "sessionmaker", "scoped_session")
_CONNECTING = ("Session", "AsyncSession", "connect", "event", "pool", "raw_connection", "run_async", "*")
"""Names of SQLAlchemy, or parts of them, and operations, that reach a database by another way or run what is no SQL."""

_NEVER = (
    *(ast.Import, ast.ImportFrom, ast.While, ast.Lambda, ast.Global, ast.Nonlocal, ast.ClassDef),
    *(ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await, ast.Yield, ast.YieldFrom),
)


def is_plain(path: Path) -> bool:
    """Whether the downgrade of a file does nothing else than to emit SQL; False also for what isn't certain."""
    try:
        tree = tree_of(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "downgrade"]
    if len(functions) != 1:
        return False
    known = set(_PURE)
    for node in tree.body:
        names = set(_bound(node))
        known = known | names if _gives_plain_values(node, known) else known - names
    nodes = list(ast.walk(functions[0]))
    local = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    local |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    local |= {node.name for node in nodes[1:] if isinstance(node, ast.FunctionDef)}
    return _are_plain(nodes, known | local)


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names of the module that a statement at its top binds, also inside of an ``if`` or by ``global``."""
    is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    for item in ast.walk(node):
        if isinstance(item, ast.Global):
            yield from item.names
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield item.name
        elif not is_definition and isinstance(item, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in item.names)
        elif not is_definition and isinstance(item, ast.Name) and not isinstance(item.ctx, ast.Load):
            yield item.id


def _gives_plain_values(node: ast.stmt, known: Iterable[str]) -> bool:
    """Whether a statement at the top of a module imports or assigns only what is trusted."""
    if isinstance(node, ast.Import):
        return all(_is_sqlalchemy(alias.name) or alias.name == "alembic.op" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        package = "" if node.level else node.module or ""
        trusted = _TRUSTED.get(package, ())
        return all(
            alias.name in trusted or (_is_sqlalchemy(package) and not _may_connect(alias.name)) for alias in node.names
        )
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return node.value is not None and _are_plain(ast.walk(node.value), known)
    return False


def _is_sqlalchemy(name: str) -> bool:
    return name.partition(".")[0] == "sqlalchemy" and not _may_connect(name)


def _may_connect(name: str) -> bool:
    names = name.split(".")
    return any(part in name for part in _CONNECTING_PARTS) or any(each in _CONNECTING for each in names)


def _are_plain(nodes: Iterable[ast.AST], known: Iterable[str]) -> bool:
    names = frozenset(known)
    for node in nodes:
        if isinstance(node, _NEVER):
            return False
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in names:
            return False
        if isinstance(node, ast.Attribute) and (_may_connect(node.attr) or node.attr.startswith("__")):
            return False
    return True
