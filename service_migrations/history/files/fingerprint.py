"""Two hashes of a revision file: a checksum of its text, and a fingerprint of its meaning.

They show whether a file is still the one that was run. A comment, another quote, a docstring or the order of imports
changes nothing that was run, and a formatter must not look like an edit of history. So the fingerprint is of the syntax
tree, without the parts that have no meaning.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from service_migrations.history.files.import_order import normalise_imports
from service_migrations.history.files.parsing import parse

__all__ = [
    "Hashes",
    "body_fingerprint",
    "checksum",
    "fingerprint",
    "fingerprint_or_checksum",
    "former_fingerprint",
    "hashes",
    "is_fingerprint",
]

_SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_SKIPPED = frozenset({"annotation", "returns", "ctx", "simple"})
"""Fields that don't change what a revision does, or that follow from the place of a node."""

_HEADER = frozenset({"revision", "down_revision", "branch_labels", "depends_on"})
"""What a file assigns for its place in the history."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """The checksum and the fingerprint of one file."""

    checksum: str
    fingerprint: str


def hashes(path: Path) -> Hashes:
    """Return the checksum and the fingerprint of a revision file.

    Raises:
        OSError: the file can't be read.
        SyntaxError: the file isn't valid Python.

    """
    source = path.read_bytes()
    return Hashes(checksum(source), fingerprint(source))


def checksum(source: bytes) -> str:
    """Return the SHA-256 of a source text, with every line end as LF: a checkout may change them."""
    return sha256(source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).hexdigest()


@lru_cache(maxsize=1024)
def fingerprint(source: bytes) -> str:
    """Return the SHA-256 of what a module does, which is the same on every Python and after any formatter.

    Raises:
        SyntaxError: the source isn't valid Python.

    """
    module = parse(source)
    normalise_imports(module)
    return _hash(module)


def former_fingerprint(source: bytes) -> str:
    """Return the fingerprint that ledgers and committed files have from before, in which imports have their order.

    Raises:
        SyntaxError: the source isn't valid Python.

    """
    return _hash(parse(source))


def is_fingerprint(stored: object, source: bytes) -> bool:
    """Whether a fingerprint that was stored, perhaps long ago, is that of a source text.

    Raises:
        SyntaxError: the source isn't valid Python.

    """
    return stored == fingerprint(source) or stored == former_fingerprint(source)


def fingerprint_or_checksum(source: bytes) -> str:
    """Return the fingerprint of a source text, or the checksum of one that isn't Python: what imports it names it."""
    try:
        return fingerprint(source)
    except (SyntaxError, ValueError):
        return checksum(source)


def body_fingerprint(source: bytes) -> str:
    """Return the fingerprint of a revision file without its place in the history: its id, its parents, its labels.

    Raises:
        SyntaxError: the source isn't valid Python.

    """
    module = parse(source)
    normalise_imports(module)
    module.body = [statement for statement in module.body if not _assigned(statement) & _HEADER]
    return _hash(module)


def _assigned(statement: ast.stmt) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _hash(module: ast.Module) -> str:
    texts: list[str] = []
    # a stack instead of recursion: a chain of many + is a deep tree
    stack: list[object] = [module]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, ast.AST):
            stack.extend(reversed(_parts(part)))
        elif isinstance(part, list):
            stack.extend(("]", *reversed(part), "["))
        else:
            texts.append("None ")  # such as the key of ** in a dict
    return sha256("".join(texts).encode()).hexdigest()


def _parts(node: ast.AST) -> list[object]:
    """Return the parts of a node, in order; strings are ready to be hashed."""
    if isinstance(node, ast.Constant):
        # ascii(): repr() depends on the Unicode tables of this Python
        return [f"(Constant {type(node.value).__name__} {node.value!a})"]
    if isinstance(node, ast.Name):  # the most frequent kind of the others
        return [f"(Name id={node.id!a} )"]
    # an annotation is dropped, so an annotated assignment equals a plain one
    parts: list[object] = ["(Assign " if isinstance(node, ast.AnnAssign) else f"({type(node).__name__} "]
    for field in node._fields:
        if field in _SKIPPED:
            continue
        value = getattr(node, field, None)
        if isinstance(node, _SCOPES) and field == "body":
            value = _body(node.body)
        elif isinstance(node, ast.AnnAssign) and field == "target":
            field, value = "targets", [value]  # noqa: PLW2901 - the name that a plain assignment has
        elif isinstance(node, ast.Delete):  # it has targets only
            value = _flat(node.targets)
        elif isinstance(node, ast.JoinedStr):  # it has values only
            # only 3.12 has an empty text behind the last field of a format
            value = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        if value is None or value == [] or _is_empty(value):
            continue
        # anything but a node is text or a number, such as a name or the level of an import
        parts += (f"{field}=", value if isinstance(value, ast.AST | list) else f"{value!a} ")
    parts.append(")")
    return parts


def _body(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return a body's statements without its docstring and without those that do nothing."""
    first = statements[0] if statements else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        statements = statements[1:]
    return [
        statement
        for statement in statements
        if not isinstance(statement, ast.Pass)
        and not (isinstance(statement, ast.AnnAssign) and statement.value is None)
    ]


def _flat(targets: list[ast.expr]) -> list[ast.expr]:
    """Return the single targets of ``del``; ``del (a, b)`` and ``del a, b`` are the same."""
    return [
        target
        for outer in targets
        for target in (_flat(outer.elts) if isinstance(outer, ast.Tuple | ast.List) else [outer])
    ]


def _is_empty(value: object) -> bool:
    """Whether a value is an empty format specification, as in ``f"{x:}"``."""
    return isinstance(value, ast.JoinedStr) and not value.values
