"""The schema that a service's models declare for their MetaData, read without importing them.

The service's version table is in that schema; a table of the same name in another schema isn't its own.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from service_migrations.imports import Imports
from service_migrations.monorepo import Service

__all__ = ["UNSURE", "Schemas"]

UNSURE = ""
"""The value for a schema that only an import could show; no schema has this name."""

_PLAIN = re.compile(
    rb"^from sqlalchemy import (?![\w\s,(]*\bas\b)(?:\([\w\s,]*\)|[\w ,\r]*$)"
    rb"|\bMetaData\((?:naming_convention=[\w.]+)?\)",
    re.MULTILINE,
)
"""The usual uses of the name MetaData, which need no parsing: it would take most of the time."""
_ASSIGNED = re.compile(rb"\.(?:[\s\\]|#[^\n]*\n)*schema\b(?!\s*\()")
"""What may set the schema of a metadata."""
_BASES = {"DeclarativeBase", "DeclarativeBaseNoMeta"}
_MAKERS = {"declarative_base", "as_declarative", "automap_base", "registry"}
"""What makes a metadata where it is given none."""
_DYNAMIC = (b"import_module", b"__import__")


class Schemas:
    """The schemas of a repository's models; each file is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._imports = Imports(root)
        self._declared: dict[str, frozenset[str]] = {}
        self._bare: dict[str, bool] = {}

    def of(self, service: Service) -> str | None:
        """Return the schema of a service's MetaData, None for the ``search_path``'s, or ``UNSURE``.

        Every file of the repository counts that its models import, directly or indirectly. A schema doesn't count where
        the service itself has a metadata without one beside it.
        """
        schemas: set[str] = set()
        paths = self._imports.of(service)
        for path in paths:
            if path not in self._declared:
                self._declared[path] = frozenset(_declared(self._root, path))
            schemas |= self._declared[path]
        if len(schemas) > 1 or UNSURE in schemas:
            return UNSURE
        package = service.source.joinpath(*service.package.split(".")).relative_to(service.root).as_posix()
        own = [path for path in paths if path.startswith((f"{package}/", f"{package}.py"))]
        return UNSURE if schemas and any(map(self._has_bare, own)) else next(iter(schemas), None)

    def _has_bare(self, path: str) -> bool:
        """Whether a file may have a metadata without a schema."""
        if path not in self._bare:
            self._bare[path] = path.endswith(".py") and _has_bare(ast.parse((self._root / path).read_bytes()))
        return self._bare[path]


def _has_bare(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(bases=bases, body=body):
                names = {_last_name(base) for base in bases}
                if "SQLModel" in names or (names & _BASES and not any(map(_sets_metadata, body))):
                    return True
            case ast.Call(func=function, keywords=keywords):
                given = {keyword.arg for keyword in keywords}
                if _last_name(function) in _MAKERS and "metadata" not in given:
                    return True
                if _is_metadata(function) and not list(_schema(node)):
                    return True
    return False


def _sets_metadata(statement: ast.stmt) -> bool:
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == "metadata" for target in targets)


def _declared(root: Path, path: str) -> set[str]:
    """Return the schemas of every MetaData in a file; ``UNSURE`` stands for one that can't be read."""
    if not path.endswith(".py"):
        return set()
    try:
        source = (root / path).read_bytes()
        if any(word in source for word in _DYNAMIC):
            return {UNSURE}
        has_metadata = b"MetaData" in source and (b"schema" in source or b"MetaData" in _PLAIN.sub(b"", source))
        if has_metadata or _ASSIGNED.search(source):
            return set(_schemas(ast.parse(source)))
    except (OSError, SyntaxError, ValueError):
        return {UNSURE}
    return set()


def _schemas(tree: ast.Module) -> Iterator[str]:
    accepted: set[ast.AST] = set()
    for node in ast.walk(tree):  # a node is before the nodes in it
        match node:
            case ast.Call(func=function) if _is_metadata(function):
                accepted.add(function)
                yield from _schema(node)
            case (
                ast.AnnAssign(annotation=annotation)
                | ast.arg(annotation=annotation)
                | ast.FunctionDef(returns=annotation)
            ) if annotation:
                accepted.update(ast.walk(annotation))
            case ast.ImportFrom(names=aliases):
                if any(alias.name == "MetaData" and alias.asname for alias in aliases):
                    yield UNSURE
            case ast.Attribute(attr="schema", ctx=ast.Store()):
                yield UNSURE
            case ast.Name() | ast.Attribute() if _is_metadata(node) and node not in accepted:
                yield UNSURE  # another name for MetaData, or a subclass


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
    return _last_name(node).endswith("MetaData")


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else str(getattr(node, "id", ""))
