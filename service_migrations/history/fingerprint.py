"""What tells whether a revision file is still the one that was run: a checksum of its text, and one of its meaning.

A comment, another quote or a docstring changes nothing that was run, and whoever runs a formatter must not be told
that they have rewritten history. So the second one is of the syntax tree, without what carries no meaning.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

__all__ = ["Prints", "checksum", "fingerprint", "prints"]

_SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_SKIPPED = frozenset({"annotation", "returns", "ctx", "kind", "simple", "type_comment", "type_ignores"})
"""Fields that change nothing that a revision does, or that follow from where a node stands."""


@dataclass(frozen=True, slots=True)
class Prints:
    """Both values of one file."""

    checksum: str
    fingerprint: str


def prints(path: Path) -> Prints:
    """Return both values of a revision file.

    Raises:
        OSError: it can't be read.
        SyntaxError: it is no Python.

    """
    source = path.read_bytes()
    return Prints(checksum(source), fingerprint(source))


def checksum(source: bytes) -> str:
    """Return the SHA-256 of a text, whatever line ends a checkout gave it."""
    return sha256(source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).hexdigest()


@lru_cache(maxsize=1024)
def fingerprint(source: bytes) -> str:
    """Return the SHA-256 of what a module does: the same on every Python, and after any formatter.

    Raises:
        SyntaxError: it is no Python.

    """
    texts: list[str] = []
    # a stack instead of recursion: a long chain of + is as deep as it is long
    todo: list[object] = [ast.parse(source)]
    while todo:
        found = todo.pop()
        if isinstance(found, str):
            texts.append(found)
        elif isinstance(found, ast.AST):
            todo.extend(reversed(_parts(found)))
        elif isinstance(found, list):
            todo.extend(("]", *reversed(found), "["))
        else:
            texts.append("None ")  # such as the key of ** in a dict
    return sha256("".join(texts).encode()).hexdigest()


def _parts(node: ast.AST) -> list[object]:
    """Return what a node is made of, in order; strings are ready to be digested."""
    if isinstance(node, ast.Constant):
        # ascii(), since repr() asks the Unicode tables of this Python what can be printed
        return [f"(Constant {type(node.value).__name__} {node.value!a})"]
    if isinstance(node, ast.Name):  # most of the others
        return [f"(Name id={node.id!a} )"]
    # an annotation is dropped, so an annotated assignment is one like any other
    parts: list[object] = ["(Assign " if isinstance(node, ast.AnnAssign) else f"({type(node).__name__} "]
    for field in node._fields:
        if field in _SKIPPED:
            continue
        value = getattr(node, field, None)
        if isinstance(node, _SCOPES) and field == "body":
            value = _body(node.body)
        elif isinstance(node, ast.AnnAssign) and field == "target":
            field, value = "targets", [value]  # noqa: PLW2901 - the name that a plain assignment has
        elif isinstance(node, ast.Delete) and field == "targets":
            value = _flat(node.targets)
        elif isinstance(node, ast.JoinedStr) and field == "values":
            # only 3.12 has an empty text behind the last field of a format
            value = [one for one in node.values if not (isinstance(one, ast.Constant) and one.value == "")]
        if value is None or value == [] or _is_empty(value):
            continue
        # a name, a level of an import: what is no node is text or a number
        parts += (f"{field}=", value if isinstance(value, ast.AST | list) else f"{value!a} ")
    parts.append(")")
    return parts


def _body(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without the docstring, and without those that do nothing."""
    first = statements[0] if statements else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        statements = statements[1:]
    return [
        one
        for one in statements
        if not isinstance(one, ast.Pass) and not (isinstance(one, ast.AnnAssign) and one.value is None)
    ]


def _flat(targets: list[ast.expr]) -> list[ast.expr]:
    """Return what is deleted; ``del (a, b)`` and ``del a, b`` are the same."""
    return [inner for one in targets for inner in (_flat(one.elts) if isinstance(one, ast.Tuple | ast.List) else [one])]


def _is_empty(value: object) -> bool:
    """Whether it is the format after the colon of ``f"{x:}"``, which says nothing."""
    return isinstance(value, ast.JoinedStr) and not value.values
