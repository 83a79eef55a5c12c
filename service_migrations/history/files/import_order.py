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
_HINTS = ("annotation", "returns")
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
    for statements, _ in _blocks(module):
        statements[:] = [each for each in statements if not _is_for_type_checkers(each)]
    used = set(_used(module))
    for statements, is_top in _blocks(module):
        statements[:] = _normal(statements, used if is_top else None)


def _blocks(module: ast.Module) -> list[tuple[list[ast.stmt], bool]]:
    """Return the lists of statements, and whether each is that of the module itself."""
    fields = ((node, getattr(node, name, None)) for node in ast.walk(module) for name in _BODIES)
    return [(statements, node is module) for node, statements in fields if isinstance(statements, list)]


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    test = statement.test
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    imports = ast.Import | ast.ImportFrom | ast.Pass
    return name == "TYPE_CHECKING" and all(isinstance(each, imports) for each in statement.body)


def _used(module: ast.Module) -> Iterator[str]:
    """Yield the names that are used outside of type hints."""
    stack: list[ast.AST] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            yield node.id
        if isinstance(node, ast.AnnAssign) and node.value is None:
            continue
        for field, value in ast.iter_fields(node):
            if field not in _HINTS:
                values = value if isinstance(value, list) else [value]
                stack += [each for each in values if isinstance(each, ast.AST)]


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
