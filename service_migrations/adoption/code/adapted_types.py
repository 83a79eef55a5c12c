"""Types of a team's own whose columns are of another type over asyncpg than over psycopg2."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from service_migrations.adoption.code.modules import Code, Module, Remark, dotted, keyword

__all__ = ["adapted_types"]

_WITHOUT_ITS_NAME = {"Text": "VARCHAR", "TEXT": "VARCHAR", "UnicodeText": "VARCHAR", "NCHAR": "VARCHAR"}
"""SQLAlchemy's dialect of asyncpg replaces these by its own type for strings, and of that it writes the name."""
_WITHOUT_PRECISION = ("TIMESTAMP", "TIME")


def adapted_types(modules: Iterable[Module], code: Code, folders: tuple[Path, ...]) -> Iterator[Remark]:
    """Yield where a ``load_dialect_impl`` asks the dialect for a type that is another one over asyncpg.

    Args:
        modules: the revisions, and what of a team's own works with Alembic's operations. What they import is read too.
        code: the files that were read already.
        folders: those on ``sys.path``.

    """
    read: dict[Path, Module] = {}
    for module in modules:
        read[module.path] = module
        for name in module.imports:
            place = code.imported(module, name, folders)
            imported = code.with_word(place[0], "type_descriptor") if place and place[0] not in read else None
            if imported is not None:
                read[imported.path] = imported
    for path in sorted(read):
        for node in read[path].nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                result = _over_asyncpg(node.args[0]) if node.func.attr == "type_descriptor" else None
                if result:
                    text = f"{ast.unparse(node)} is {result} over asyncpg"
                    yield Remark(path, node.lineno, text)


def _over_asyncpg(node: ast.expr) -> str | None:
    """Return what a type, or a class of one, becomes; None where it stays as it is."""
    call = node if isinstance(node, ast.Call) else None
    name = (dotted(call.func if call else node) or "").rpartition(".")[2]
    if name in _WITHOUT_PRECISION and call and keyword(call, "precision"):
        return f"{name} without its precision"
    return _WITHOUT_ITS_NAME.get(name)
