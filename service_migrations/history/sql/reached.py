"""The part of a revision's file that its upgrade or downgrade reaches on PostgreSQL.

A file often serves several databases, or has functions that only the other direction calls.
"""

import ast
from collections.abc import Iterator, Sequence

__all__ = ["reached"]

_POSTGRESQL = ("postgresql", "postgres")
_OTHERS = ("cockroachdb", "db2", "duckdb", "mariadb", "mssql", "mysql", "oracle", "redshift", "snowflake", "sqlite")
"""The names of other databases in SQLAlchemy; a value that is compared with one isn't PostgreSQL's."""

_DEPTH = 2
"""Names that are followed to a comparison, one after the other."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def reached(tree: ast.Module, start: str) -> Iterator[ast.AST]:
    """Yield the nodes outside of functions, those of the function *start*, and those of what these name.

    Left out are a branch for another database, and what follows a branch for PostgreSQL that returns.
    """
    return _Reach(tree).nodes(start)


class _Reach:
    """A file's functions, and the names that are given one value."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._functions: dict[str, list[_Function]] = {}
        self._values: dict[str, list[ast.expr | None]] = {}
        for node in ast.walk(tree):
            if isinstance(node, _Function):
                self._functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._values.setdefault(node.targets[0].id, []).append(node.value)
            elif isinstance(node, ast.arg):
                self._values.setdefault(node.arg, []).append(None)

    def nodes(self, start: str) -> Iterator[ast.AST]:
        """Yield what is reached from a function."""
        names, done = [start], {start}
        waiting: list[ast.AST] = list(self._statements(self._tree.body))
        while waiting or names:
            if not waiting:
                for function in self._functions.get(names.pop(), ()):
                    waiting += [function.args, *self._statements(function.body)]
                continue
            node = waiting.pop()
            yield node
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
            if name in self._functions and name not in done:
                names.append(name)
                done.add(name)
            waiting += self._below(node)

    def _below(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the parts of a node that run where it does; a function only runs where it is named."""
        if isinstance(node, _Function):
            yield from node.decorator_list
            return
        truth = self._truth(node.test) if isinstance(node, ast.If | ast.IfExp) else None
        for field, value in ast.iter_fields(node):
            if (field == "body" and truth is False) or (field == "orelse" and truth is True):
                continue
            if isinstance(value, list):
                yield from self._statements([part for part in value if isinstance(part, ast.AST)])
            elif isinstance(value, ast.AST):
                yield value

    def _statements(self, body: Sequence[ast.AST]) -> Iterator[ast.AST]:
        """Yield statements up to one that certainly leaves the block."""
        for node in body:
            yield node
            if self._leaves(node):
                return

    def _leaves(self, node: ast.AST) -> bool:
        if isinstance(node, ast.If):
            truth = self._truth(node.test)
            taken = node.body if truth else node.orelse if truth is False else []
            return any(map(self._leaves, taken))
        return isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break)

    def _truth(self, test: ast.expr | None, depth: int = 0) -> bool | None:
        """Return what a test is on PostgreSQL; None where that isn't certain."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                truth = self._truth(operand, depth)
                return None if truth is None else not truth
            case ast.BoolOp(op=operator, values=operands):
                decisive = isinstance(operator, ast.Or)
                truths = [self._truth(operand, depth) for operand in operands]
                return decisive if decisive in truths else None if None in truths else not decisive
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return _comparison(left, operator, right)
            case ast.Name(id=name) if len(values := self._values.get(name, [])) == 1 and depth < _DEPTH:
                return self._truth(values[0], depth + 1)
            case ast.Call(func=ast.Name(id=name)) if (
                len(known := self._functions.get(name, [])) == 1 and depth < _DEPTH
            ):
                last = known[0].body[-1]
                returns = sum(isinstance(node, ast.Return) for node in ast.walk(known[0]))
                return self._truth(last.value, depth + 1) if isinstance(last, ast.Return) and returns == 1 else None
        return None


def _comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> bool | None:
    names = _texts(right) or _texts(left)
    if not isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) or not names:
        return None
    if any(name in _POSTGRESQL for name in names):
        return isinstance(operator, ast.Eq | ast.In)
    if all(name in _OTHERS for name in names):
        return isinstance(operator, ast.NotEq | ast.NotIn)
    return None


def _texts(node: ast.expr) -> list[str]:
    """Return the texts of a constant or of a list of constants; none for anything else."""
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    texts = [part.value.lower() for part in elements if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return texts if len(texts) == len(elements) else []
