"""The revision files of a service by their headers alone: read, and neither imported nor handed to Alembic.

Importing Alembic takes longer than asking a hundred databases where they are. What can't be read with
certainty counts as unknown here, and is Alembic's to decide.
"""

import ast
import builtins
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from service_migrations.history.fingerprint import checksum
from service_migrations.history.revision import Revision
from service_migrations.monorepo import Service

__all__ = ["Chain", "bindings", "read_chain"]

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


_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")
_OPTIONS = (b"sourceless", b"recursive_version_locations")
"""Options of Alembic's that change which files are revisions."""
_REVISION_CHARACTERS = 32
_NAME = rb"\b(?:" + "|".join(_NAMES).encode() + rb")\b"
_TOO_CLEVER = re.compile(rb"globals|exec\(|__getattr__|\bglobal\b(?:[^\r\n]*\\|[^\r\n]*" + _NAME + rb")")
_FUNCTION = re.compile(rb"^def ", re.MULTILINE)
_NO_FUNCTION = re.compile(rb"^(?!def \w+\(\)(?: -> None)?:)[^ \t\n#)\]}]|\r|" + _NAME, re.MULTILINE)
"""What may be more than a function of no arguments: a line at the margin, and wherever one of the names stands."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A history without branches, oldest first: its revisions, each with the checksum of its file."""

    headers: tuple[Revision, ...]
    checksums: dict[str, str]

    @property
    def revisions(self) -> tuple[str, ...]:
        """The ids, oldest first."""
        return tuple(header.revision for header in self.headers)

    @property
    def head(self) -> str | None:
        """The newest revision; None where there is none."""
        return self.headers[-1].revision if self.headers else None


def read_chain(service: Service) -> Chain | None:
    """Return a service's history, or None where only Alembic can tell what it is."""
    if not _has_plain_options(service.root):
        return None
    headers: dict[str, Revision] = {}
    checksums: dict[str, str] = {}
    try:
        paths = sorted(service.versions.iterdir()) if service.versions.is_dir() else []
        for path in paths:
            if path.suffix != ".py" or path.name.startswith((".#", "__init__")):
                continue
            text = path.read_bytes()
            header = _header(text, service.relative(path))
            if header is None or header.revision in headers:
                return None
            headers[header.revision] = header
            checksums[header.revision] = checksum(text)
    except OSError:
        return None
    linked = _linked(headers)
    return None if linked is None else Chain(linked, checksums)


def _has_plain_options(root: Path) -> bool:
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return False
    return not any(option in text for option in _OPTIONS)


def _header(text: bytes, path: str) -> Revision | None:
    """Return a file's header; None where more than plain assignments could make it."""
    found = _constants(text)
    revision, down = found.get("revision"), found.get("down_revision", 0)
    if not isinstance(revision, str) or not (down is None or isinstance(down, str)):
        return None
    if found.get("branch_labels") is not None or found.get("depends_on") is not None:
        return None
    letters = revision.replace("_", "").replace("-", "").replace(".", "")
    if not letters.isalnum() or len(revision) > _REVISION_CHARACTERS:
        return None
    message = str(found.get("__doc__") or "").strip().split("\n\n")[0]
    return Revision(revision, (down,) if down else (), message, path, is_head=False)


def _constants(text: bytes) -> dict[str, object]:
    """Return what a file binds the names to that make a header; nothing where that can't be seen."""
    if _TOO_CLEVER.search(text):
        return {}
    tree = _parsed(text)
    if tree is None:
        return {}
    # from 3.13 on the compiler takes the indentation away
    found: dict[str, object] = {"__doc__": ast.get_docstring(tree, clean=sys.version_info >= (3, 13))}
    bound = bindings(tree)
    if bound is None:
        return {}
    for name, value in bound:
        if name in _NAMES:
            if name in found or not isinstance(value, ast.Constant):
                return {}
            found[name] = value.value
    return found


def _parsed(text: bytes) -> ast.Module | None:
    """Return what a file does when it is imported; of functions at its end, which are most of it, nothing is read."""
    first = _FUNCTION.search(text)
    ends = [first.start()] if first and not _NO_FUNCTION.search(text, first.start()) else []
    for end in (*ends, len(text)):
        with suppress(SyntaxError, ValueError):  # "def" was in the middle of something
            return ast.parse(text[:end])
    return None


def _linked(headers: dict[str, Revision]) -> tuple[Revision, ...] | None:
    """Return the headers oldest first; None where they are no single chain."""
    after: dict[str | None, Revision] = {}
    for header in headers.values():
        down = header.down_revision[0] if header.down_revision else None
        if down in after:
            return None
        after[down] = header
    chain: list[Revision] = []
    while (following := after.get(chain[-1].revision if chain else None)) and len(chain) < len(headers):
        chain.append(following)
    if len(chain) < len(headers):
        return None
    return (*chain[:-1], replace(chain[-1], is_head=True)) if chain else ()
