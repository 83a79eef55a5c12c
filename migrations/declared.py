"""The schema that a service's models declare for their MetaData, read without importing them.

Its version table is in that schema. A table of the same name elsewhere says nothing of where the service is.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from migrations.discovery import Service

__all__ = ["UNSURE", "declared", "declared_schema"]

UNSURE = ""
"""What ``declared_schema`` returns where only an import could tell; no schema has this name."""


def declared_schema(service: Service, shared: frozenset[str]) -> str | None:
    """Return the schema that the MetaData of a service is in, None for that of the ``search_path``, or ``UNSURE``.

    Args:
        service: the service.
        shared: what ``declared`` finds in the models that services share.

    """
    found = declared(service.path) | shared
    if len(found) > 1 or UNSURE in found:
        return UNSURE
    return next(iter(found), None)


def declared(folder: Path) -> frozenset[str]:
    """Return the schemas of every MetaData below a folder, with ``UNSURE`` among them where that can't be read."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        try:
            text = path.read_bytes()
            # most models never say the word
            if b"schema" in text or b"MetaData as" in text:
                found.update(_schemas(ast.parse(text)))
        except (OSError, SyntaxError, ValueError):
            found.add(UNSURE)
    return frozenset(found)


def _schemas(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func).endswith("MetaData"):
            if node.args or any(keyword.arg is None for keyword in node.keywords):
                yield UNSURE
            for keyword in node.keywords:
                if keyword.arg == "schema":
                    value = keyword.value
                    constant = value.value if isinstance(value, ast.Constant) else 0
                    if constant is not None:
                        yield constant if isinstance(constant, str) else UNSURE
        elif isinstance(node, ast.ImportFrom):
            if any(alias.name == "MetaData" and alias.asname for alias in node.names):
                yield UNSURE
        elif isinstance(node, ast.Attribute) and node.attr == "schema" and isinstance(node.ctx, ast.Store):
            yield UNSURE


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
