"""The history of a service by the headers of its files, without importing them or Alembic.

Importing Alembic takes longer than reading the revisions of a hundred databases. A header that can't be read with
certainty makes the history unknown, and Alembic has to read it.
"""

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from service_migrations.history import graph
from service_migrations.history.files.fingerprint import checksum
from service_migrations.history.files.locations import revision_files, unread_revision
from service_migrations.history.files.parsing import parse
from service_migrations.history.revision import Revision, first_line, id_problem
from service_migrations.monorepo import Service
from service_migrations.pyproject import read_alembic_table

__all__ = ["Chain", "bindings", "certain_revision", "read_chain"]

_LIBRARIES = frozenset(("datetime", "decimal", "logging", "re", "sqlalchemy", "textwrap", "uuid"))
"""The libraries that a plain revision may call at its top: ``sa.table(…)``, ``UUID(…)``, ``logging.getLogger(…)``."""


def bindings(module: ast.Module) -> list[tuple[str, ast.expr | None]] | None:
    """Return each name that a module binds, in order, with the value of its assignment.

    Returns:
        The names; None where the module does anything but import installed modules, assign plain values and define
        functions.

    """
    pairs: list[tuple[str, ast.expr | None]] = []
    known = {"__file__": ""}
    for statement in module.body:
        names = _bound(statement, known)
        if names is None:
            return None
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        for name, library in names.items():
            known[name] = library
            pairs.append((name, value))
    return pairs


def _bound(statement: ast.stmt, known: Mapping[str, str]) -> dict[str, str] | None:
    """Return the names that a statement binds, each with its library; None where they aren't certain."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return {}
        case ast.Assign(targets=targets, value=value) if _is_plain(value, known):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            return dict.fromkeys(names, "") if len(names) == len(targets) else None
        case ast.AnnAssign(target=ast.Name(id=name), value=value) if _is_plain(value, known):
            return {name: ""} if _is_type(statement.annotation, known) else None
        case ast.Import() | ast.ImportFrom(level=0):
            return _imported(statement)
        case ast.FunctionDef() | ast.AsyncFunctionDef() if _is_plain_function(statement, known):
            return {statement.name: ""}
    return None


def _imported(statement: ast.Import | ast.ImportFrom) -> dict[str, str] | None:
    libraries = {}
    for alias in statement.names:
        module = statement.module if isinstance(statement, ast.ImportFrom) else None
        library = (module or alias.name).partition(".")[0]
        libraries[alias.asname or (alias.name if module else library)] = library
    return libraries if "*" not in libraries and all(map(_is_installed, libraries.values())) else None


@cache
def _is_installed(library: str) -> bool:
    try:
        return library in sys.modules or find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _is_plain_function(function: ast.FunctionDef | ast.AsyncFunctionDef, known: Mapping[str, str]) -> bool:
    if function.decorator_list:
        return False
    signature = function.args
    arguments = (*signature.posonlyargs, *signature.args, signature.vararg, *signature.kwonlyargs, signature.kwarg)
    annotations = (function.returns, *(argument.annotation for argument in arguments if argument))
    defaults = (*signature.defaults, *signature.kw_defaults)
    return all(_is_type(annotation, known) for annotation in annotations) and all(
        _is_plain(default, known) for default in defaults
    )


def _is_plain(node: ast.expr | None, known: Mapping[str, str]) -> bool:
    """Whether an expression only makes a value from constants and known names."""
    parts: Iterable[ast.expr | None] = ()
    match node:
        case None | ast.Constant():
            return True
        case ast.Name(id=name):
            return name in known or hasattr(builtins, name)
        case ast.Attribute(value=part) | ast.UnaryOp(operand=part):
            parts = (part,)
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            parts = elements
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
    """Return the library that a chain of attributes and calls starts from."""
    while isinstance(function, ast.Attribute | ast.Call):
        function = function.func if isinstance(function, ast.Call) else function.value
    return known.get(function.id) if isinstance(function, ast.Name) else None


_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_ILLEGAL = re.compile(r"[@+:-]")
"""Characters that Alembic refuses in an id."""
_NAME = rb"\b(?:" + "|".join(_NAMES).encode() + rb")\b"
_DYNAMIC = re.compile(rb"globals|exec\(|__getattr__|\bglobal\b(?:[^\r\n]*\\|[^\r\n]*" + _NAME + rb")")
_FUNCTION = re.compile(rb"^def ", re.MULTILINE)
_MORE_THAN_FUNCTIONS = re.compile(rb"^(?!def \w+\(\)(?: -> None)?:)[^ \t\n#)\]}]|\r|" + _NAME, re.MULTILINE)
"""Text that may be more than a function without arguments: another line at the margin, or one of the names."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A history with one head, or with several that each have a branch label of their own.

    Attributes:
        revisions: its revisions, each behind those that it follows or depends on.
        checksums: the checksum of each file.
        effective_heads: the revisions that a database has at the heads, sorted.

    """

    revisions: tuple[Revision, ...]
    checksums: dict[str, str]
    effective_heads: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the revisions, in their order."""
        return tuple(revision.revision for revision in self.revisions)

    @property
    def heads(self) -> tuple[str, ...]:
        """The ids of the revisions that no other follows, sorted; none in an empty history."""
        return tuple(sorted(graph.heads(self.revisions)))

    def pending(self, current: tuple[str, ...]) -> int | None:
        """Return how many revisions an upgrade to the heads runs; None where the current ones can't be right.

        That is where one of them isn't in the history, or one implies another.
        """
        by_id = {each.revision: each for each in self.revisions}
        try:
            if graph.overlapping(by_id, current):
                return None
            return len(self.revisions) - len(graph.implied(by_id, current))
        except KeyError:
            return None


def read_chain(service: Service) -> Chain | None:
    """Return the history of a service; None where only Alembic can read it, or refuse it."""
    revisions: list[Revision] = []
    checksums: dict[str, str] = {}
    try:
        if _has_compiled_revisions(service.root) or unread_revision(service) is not None:
            return None
        for path in revision_files(service):
            source = path.read_bytes()
            revision = certain_revision(source, service.relative(path))
            if revision is None:
                return None
            revisions.append(revision)
            checksums[revision.revision] = checksum(source)
        ordered = graph.topological(graph.resolved(revisions))
    except (OSError, graph.GraphError):
        return None
    return None if graph.clashing_heads(ordered) else Chain(ordered, checksums, graph.effective_heads(ordered))


def _has_compiled_revisions(root: Path) -> bool:
    """Whether ``[tool.alembic]`` lets Alembic read files without their source."""
    return bool(read_alembic_table(root).get("sourceless"))


def certain_revision(source: bytes, path: str) -> Revision | None:
    """Return a file's revision by its header; None where the header isn't plain assignments."""
    constants = _constants(source)
    revision = constants.get("revision")
    if (
        not isinstance(revision, str)
        or _ILLEGAL.search(revision)
        or id_problem(revision)
        or "down_revision" not in constants
    ):
        return None
    names = []
    for name in _NAMES[1:]:
        value = constants.get(name)
        values = (value,) if isinstance(value, str) else () if value is None else value
        if not isinstance(values, tuple) or not all(isinstance(text, str) and text for text in values):
            return None
        names.append(values)
    down, labels, depends_on = names
    if any(len(set(values)) < len(values) for values in names):
        return None
    return Revision(revision, down, first_line(str(constants.get("__doc__") or "")), path, False, labels, depends_on)


def _constants(source: bytes) -> dict[str, object]:
    """Return the constants of a file's header by name, with the docstring; empty where they aren't certain."""
    if _DYNAMIC.search(source):
        return {}
    tree = _parsed(source)
    if tree is None:
        return {}
    # from Python 3.13 on the compiler removes the indentation
    constants: dict[str, object] = {"__doc__": ast.get_docstring(tree, clean=sys.version_info >= (3, 13))}
    pairs = bindings(tree)
    if pairs is None:
        return {}
    for name, value in pairs:
        if name == "__doc__":
            return {}
        if name in _NAMES:
            parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
            values = [part.value for part in parts if isinstance(part, ast.Constant)]
            if name in constants or len(values) < len(parts):
                return {}
            constants[name] = values[0] if isinstance(value, ast.Constant) else tuple(values)
    return constants


def _parsed(source: bytes) -> ast.Module | None:
    """Return the syntax tree of a file, without the functions at its end: they are most of it."""
    function = _FUNCTION.search(source)
    ends = [function.start()] if function and not _MORE_THAN_FUNCTIONS.search(source, function.start()) else []
    for end in (*ends, len(source)):
        with suppress(SyntaxError, ValueError):  # "def" was inside a string
            return parse(source[:end])
    return None
