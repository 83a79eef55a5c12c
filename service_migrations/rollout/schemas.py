"""The schema that a service's models declare for their MetaData, read without importing them.

Its version table is in that schema. A table of the same name elsewhere says nothing of where the service is.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from service_migrations.monorepo import Service
from service_migrations.rollout.imports import Imports

__all__ = ["UNSURE", "Schemas"]

UNSURE = ""
"""What stands for a schema where only an import could tell; no schema has this name."""

_PLAIN = re.compile(
    rb"^from sqlalchemy import (?![\w\s,(]*\bas\b)(?:\([\w\s,]*\)|[\w ,\r]*$)"
    rb"|\bMetaData\((?:naming_convention=[\w.]+)?\)",
    re.MULTILINE,
)
"""Where the word stands in nearly all models that say it; to parse each of these would take longer than all else."""
_DYNAMIC = (b"import_module", b"__import__")


class Schemas:
    """The schemas of a repository's models; each file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._imports = Imports(root)
        self._declared: dict[str, frozenset[str]] = {}

    def of(self, service: Service) -> str | None:
        """Return the schema that the MetaData of a service is in, None for the ``search_path``'s, or ``UNSURE``.

        What counts is every file of the repository that its models import, however indirectly.
        """
        found: set[str] = set()
        for path in self._imports.of(service):
            if path not in self._declared:
                self._declared[path] = frozenset(_declared(self._root, path))
            found |= self._declared[path]
        if len(found) > 1 or UNSURE in found:
            return UNSURE
        return next(iter(found), None)


def _declared(root: Path, path: str) -> set[str]:
    """Return the schemas of every MetaData in a file, with ``UNSURE`` among them where that can't be read."""
    if not path.endswith(".py"):
        return set()
    try:
        text = (root / path).read_bytes()
        if any(word in text for word in _DYNAMIC):
            return {UNSURE}
        if b"schema" in text or (b"MetaData" in text and b"MetaData" in _PLAIN.sub(b"", text)):
            return set(_schemas(ast.parse(text)))
    except (OSError, SyntaxError, ValueError):
        return {UNSURE}
    return set()


def _schemas(tree: ast.Module) -> Iterator[str]:
    harmless: set[ast.AST] = set()
    for node in ast.walk(tree):  # what holds others comes before them
        match node:
            case ast.Call(func=function) if _is_metadata(function):
                harmless.add(function)
                yield from _schema(node)
            case ast.AnnAssign(annotation=note) | ast.arg(annotation=note) | ast.FunctionDef(returns=note) if note:
                harmless.update(ast.walk(note))
            case ast.ImportFrom(names=aliases):
                if any(alias.name == "MetaData" and alias.asname for alias in aliases):
                    yield UNSURE
            case ast.Attribute(attr="schema", ctx=ast.Store()):
                yield UNSURE
            case ast.Name() | ast.Attribute() if _is_metadata(node) and node not in harmless:
                yield UNSURE  # another name for it, or a class of one's own


def _schema(call: ast.Call) -> Iterator[str]:
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        yield UNSURE
    for keyword in call.keywords:
        if keyword.arg == "schema":
            value = keyword.value
            constant = value.value if isinstance(value, ast.Constant) else 0
            if constant is not None:
                yield constant if isinstance(constant, str) else UNSURE


def _is_metadata(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.endswith("MetaData")
