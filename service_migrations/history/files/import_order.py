"""The imports of a module in one order, without those that only type hints need.

A linter sorts, joins and removes them in every revision file at once, and takes ``Union`` for ``|``: that is no edit of
history. An import that may do something else than give a name stays.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["normalise_imports"]

_NAMES_ONLY = frozenset({"__future__", "alembic", "collections", "sqlalchemy", "typing", "typing_extensions"})
"""Packages whose import does nothing but give names; any other one may register something."""
_UNUSED = ("annotation", "returns", "ctx")
"""Fields in which a name isn't used when the module runs."""
_BODIES = ("body", "orelse", "finalbody")


@dataclass(frozen=True, slots=True, order=True)
class _Import:
    """One name that is imported; ``level`` is -1 of a plain ``import``."""

    level: int
    module: str
    name: str
    alias: str

    @property
    def bound(self) -> str:
        return self.alias or (self.name.partition(".")[0] if self.level < 0 else self.name)

    @property
    def package(self) -> str:
        return (self.name if self.level < 0 else "." * self.level + self.module).partition(".")[0]

    @property
    def node(self) -> ast.stmt:
        names = [ast.alias(name=self.name, asname=self.alias or None)]
        if self.level < 0:
            return ast.Import(names=names)
        return ast.ImportFrom(module=self.module or None, names=names, level=self.level)


def normalise_imports(module: ast.Module) -> None:
    """Sort the imports of a module, one name in each, and remove those that only its type hints need, or nothing."""
    bodies, used = _bodies_and_names(module)
    for body in bodies:
        if any(isinstance(each, ast.Import | ast.ImportFrom) for each in body):
            body[:] = _normal(body, used if body is module.body else None)


def _bodies_and_names(module: ast.Module) -> tuple[list[list[ast.stmt]], set[str]]:
    """Return the lists of statements, after removing what is for type checkers, and the names used outside of hints.

    It looks at each node once: an upgrade hashes each of its revisions, and ``ast.walk`` takes three times as long.
    """
    bodies: list[list[ast.stmt]] = []
    names: set[str] = set()
    stack: list[ast.AST] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif not isinstance(node, ast.AnnAssign) or node.value is not None:
            for field in node._fields:
                value = None if field in _UNUSED else getattr(node, field, None)
                if isinstance(value, list) and field in _BODIES:
                    value[:] = [each for each in value if not _is_for_type_checkers(each)]
                    bodies.append(value)
                values = value if isinstance(value, list) else [value]
                stack += [each for each in values if isinstance(each, ast.AST)]
    return bodies, names


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = statement.test
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    imports = ast.Import | ast.ImportFrom | ast.Pass
    return name == "TYPE_CHECKING" and all(isinstance(each, imports) for each in statement.body)


def _normal(statements: Iterable[ast.stmt], used: set[str] | None) -> list[ast.stmt]:
    normal: list[ast.stmt] = []
    run: list[_Import] = []
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            run += _imports(statement)
        else:
            normal += _ordered(run, used)
            normal.append(statement)
            run = []
    return [*normal, *_ordered(run, used)]


def _imports(statement: ast.Import | ast.ImportFrom) -> Iterator[_Import]:
    is_plain = isinstance(statement, ast.Import)
    module, level = ("", -1) if isinstance(statement, ast.Import) else (statement.module or "", statement.level)
    for alias in statement.names:
        # `import a as a` and `from a import b as b` bind what they would without
        is_same = alias.asname == alias.name and (not is_plain or "." not in alias.name)
        yield _Import(level, module, alias.name, "" if is_same else alias.asname or "")


def _ordered(imports: Iterable[_Import], used: set[str] | None) -> list[ast.stmt]:
    run = list(dict.fromkeys(imports))
    if used is not None:
        run = [each for each in run if each.package not in _NAMES_ONLY or each.bound in (*used, "*")]
    named = [each.bound for each in run if each.level >= 0 or each.alias]
    plain = {each.bound for each in run if each.level < 0 and not each.alias}
    # of two that give one name, the later one counts
    is_free = len(set(named)) == len(named) and plain.isdisjoint(named) and "*" not in named
    return [each.node for each in (sorted(run) if is_free else run)]
