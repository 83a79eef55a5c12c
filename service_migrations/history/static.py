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
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from service_migrations.history.fingerprint import checksum
from service_migrations.history.revision import Revision
from service_migrations.monorepo import Service

__all__ = ["Chain", "bindings", "read_chain"]

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
_OPTIONS = (b"sourceless", b"recursive_version_locations")
"""Options of Alembic that change which files are revisions."""
_REVISION_CHARACTERS = 32
_NAME = rb"\b(?:" + "|".join(_NAMES).encode() + rb")\b"
_DYNAMIC = re.compile(rb"globals|exec\(|__getattr__|\bglobal\b(?:[^\r\n]*\\|[^\r\n]*" + _NAME + rb")")
_FUNCTION = re.compile(rb"^def ", re.MULTILINE)
_MORE_THAN_FUNCTIONS = re.compile(rb"^(?!def \w+\(\)(?: -> None)?:)[^ \t\n#)\]}]|\r|" + _NAME, re.MULTILINE)
"""Text that may be more than a function without arguments: another line at the margin, or one of the names."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A history without branches: its revisions, oldest first, and the checksum of each file."""

    revisions: tuple[Revision, ...]
    checksums: dict[str, str]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the revisions, oldest first."""
        return tuple(revision.revision for revision in self.revisions)

    @property
    def head(self) -> str | None:
        """The id of the newest revision; None in an empty history."""
        return self.revisions[-1].revision if self.revisions else None


def read_chain(service: Service) -> Chain | None:
    """Return the history of a service; None where only Alembic can read it."""
    if not _has_plain_options(service.root):
        return None
    revisions_by_id: dict[str, Revision] = {}
    checksums: dict[str, str] = {}
    try:
        paths = sorted(service.versions.iterdir()) if service.versions.is_dir() else []
        for path in paths:
            if path.suffix != ".py" or path.name.startswith((".#", "__init__")):
                continue
            source = path.read_bytes()
            revision = _revision(source, service.relative(path))
            if revision is None or revision.revision in revisions_by_id:
                return None
            revisions_by_id[revision.revision] = revision
            checksums[revision.revision] = checksum(source)
    except OSError:
        return None
    revisions = _linked(revisions_by_id)
    return None if revisions is None else Chain(revisions, checksums)


def _has_plain_options(root: Path) -> bool:
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return False
    return not any(option in text for option in _OPTIONS)


def _revision(source: bytes, path: str) -> Revision | None:
    """Return a file's revision by its header; None where the header isn't plain assignments."""
    constants = _constants(source)
    revision, down = constants.get("revision"), constants.get("down_revision", 0)
    if not isinstance(revision, str) or not (down is None or isinstance(down, str)):
        return None
    if constants.get("branch_labels") is not None or constants.get("depends_on") is not None:
        return None
    characters = revision.replace("_", "").replace("-", "").replace(".", "")
    if not characters.isalnum() or len(revision) > _REVISION_CHARACTERS:
        return None
    message = str(constants.get("__doc__") or "").strip().split("\n\n")[0]
    return Revision(revision, (down,) if down else (), message, path, is_head=False)


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
        if name in _NAMES:
            if name in constants or not isinstance(value, ast.Constant):
                return {}
            constants[name] = value.value
    return constants


def _parsed(source: bytes) -> ast.Module | None:
    """Return the syntax tree of a file, without the functions at its end: they are most of it."""
    function = _FUNCTION.search(source)
    ends = [function.start()] if function and not _MORE_THAN_FUNCTIONS.search(source, function.start()) else []
    for end in (*ends, len(source)):
        with suppress(SyntaxError, ValueError):  # "def" was inside a string
            return ast.parse(source[:end])
    return None


def _linked(revisions_by_id: dict[str, Revision]) -> tuple[Revision, ...] | None:
    """Return the revisions oldest first; None where they aren't a single chain."""
    followers: dict[str | None, Revision] = {}
    for revision in revisions_by_id.values():
        parent = revision.down_revision[0] if revision.down_revision else None
        if parent in followers:
            return None
        followers[parent] = revision
    chain: list[Revision] = []
    while (follower := followers.get(chain[-1].revision if chain else None)) and len(chain) < len(revisions_by_id):
        chain.append(follower)
    if len(chain) < len(revisions_by_id):
        return None
    return (*chain[:-1], replace(chain[-1], is_head=True)) if chain else ()
