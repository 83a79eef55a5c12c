"""The part of a revision's file that its upgrade or downgrade reaches on PostgreSQL.

A file often serves several databases, or has functions that only the other direction calls.
"""

import ast
import re
from collections.abc import Iterator, Sequence

__all__ = ["reached"]

_POSTGRESQL = "postgresql"
_OTHERS = ("cockroachdb", "db2", "duckdb", "mariadb", "mssql", "mysql", "oracle", "redshift", "snowflake", "sqlite")
"""The names of other databases in SQLAlchemy; a dialect whose name is compared with one isn't PostgreSQL's."""

_DIALECT = re.compile(r"\b(?:dialect|engine)\.name\b|\b__dialect__\b|\bget_backend_name\b")
_URL = re.compile(r"\bengine\.url\b|\bdrivername\b|\bdialect_description\b")
"""What has the name of the dialect in it, beside that of the driver."""

_BY_TEXT = frozenset(("__dict__", "attrgetter", "eval", "exec", "getattr", "globals", "locals", "methodcaller", "vars"))
"""What may call a function whose name the file doesn't have, as ``globals()["upgrade_" + name]()``."""

_DEPTH = 2
"""Names that are followed to a comparison, one after the other."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def reached(tree: ast.Module, start: str) -> Iterator[ast.AST]:
    """Yield the nodes outside of functions, those of the function *start*, and those of what these name.

    Left out are a branch for another database, and what follows a branch for PostgreSQL that returns. A function that
    may be called without its name counts too.
    """
    return _Functions(tree, start).nodes()


class _Functions:
    """A file's functions, and the names that are given one value."""

    def __init__(self, tree: ast.Module, start: str) -> None:
        self._tree, self._start = tree, start
        self._functions: dict[str, list[_Function]] = {}
        self._values: dict[str, list[ast.expr | None]] = {}
        named: set[str] = set()
        methods: set[ast.stmt] = set()
        assigned: set[ast.expr] = set()  # a node is before the nodes in it
        for node in ast.walk(tree):
            if isinstance(node, _Function):
                self._functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                methods.update(node.body)
            elif isinstance(node, ast.Attribute):
                named.add(node.attr)
            elif isinstance(node, ast.Name):
                named.add(node.id)
                if isinstance(node.ctx, ast.Store) and node not in assigned:  # as by a loop, or by +=
                    self._values.setdefault(node.id, []).append(None)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                assigned.add(node.targets[0])
                self._values.setdefault(node.targets[0].id, []).append(node.value)
            elif isinstance(node, ast.arg):
                self._values.setdefault(node.arg, []).append(None)
        other = "downgrade" if start == "upgrade" else "upgrade"
        self._unnamed = {
            function
            for name, functions in self._functions.items()
            for function in functions
            if name not in named and not name.startswith(other)
            if function in methods or function.decorator_list or not named.isdisjoint(_BY_TEXT)
        }

    def nodes(self) -> Iterator[ast.AST]:
        """Yield what is reached."""
        names, done = [self._start], {self._start}
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
        """Yield the parts of a node that run where it does; most functions only run where they are named."""
        if isinstance(node, _Function):
            yield from node.decorator_list
            if node in self._unnamed:
                yield from (node.args, *self._statements(node.body))
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
                return self._comparison(left, operator, right)
            case ast.Call(func=ast.Attribute(value=owner, attr="startswith"), args=[prefix]):
                return self._beginning(owner, _texts(prefix))
            case ast.Name() | ast.Call(func=ast.Name()) if depth < _DEPTH:
                return self._truth(self._named(test), depth + 1)
        return None

    def _named(self, node: ast.Name | ast.Call) -> ast.expr | None:
        """Return the one value of a name, or what a function returns that is called by its name."""
        if isinstance(node, ast.Name):
            values = self._values.get(node.id, [])
            return values[0] if len(values) == 1 else None
        return self._returned(node.func.id) if isinstance(node.func, ast.Name) else None

    def _returned(self, name: str) -> ast.expr | None:
        """Return what a function returns, where it has one return."""
        if len(known := self._functions.get(name, [])) != 1:
            return None
        last = known[0].body[-1]
        returns = sum(isinstance(node, ast.Return) for node in ast.walk(known[0]))
        return last.value if isinstance(last, ast.Return) and returns == 1 else None

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> bool | None:
        if not isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            return None
        is_positive = isinstance(operator, ast.Eq | ast.In)
        if isinstance(operator, ast.In | ast.NotIn) and (texts := _texts(left)):
            if not self._is_of_dialect(right, _URL):
                return None
            return is_positive if texts[0] in _POSTGRESQL else not is_positive if texts[0] in _OTHERS else None
        names, other = (_texts(right), left) if _texts(right) else (_texts(left), right)
        if not names or not self._is_of_dialect(other):
            return None
        if _POSTGRESQL in names:
            return is_positive
        return not is_positive if all(name in _OTHERS for name in names) else None

    def _beginning(self, owner: ast.expr, prefixes: Sequence[str]) -> bool | None:
        """Return whether the name of the dialect, or what has it at its beginning, begins with one of some texts."""
        if not prefixes or not self._is_of_dialect(owner, _URL):
            return None
        if any(_POSTGRESQL.startswith(prefix) for prefix in prefixes):
            return True
        return False if all(prefix in _OTHERS for prefix in prefixes) else None

    def _is_of_dialect(self, node: ast.expr | None, url: re.Pattern[str] | None = None, depth: int = 0) -> bool:
        """Whether a value is the name of the dialect, or with *url* one that has it in it."""
        if node is None:
            return False
        text = ast.unparse(node)
        if _DIALECT.search(text) or (url and url.search(text)):
            return True
        return depth < _DEPTH and any(
            self._is_of_dialect(value, url, depth + 1)
            for name in ast.walk(node)
            if isinstance(name, ast.Name)
            for value in self._values_of(name.id)
        )

    def _values_of(self, name: str) -> list[ast.expr | None]:
        """Return the value of a name, or what a function returns; none where it may have another one."""
        if name in self._functions:
            return [self._returned(name)]
        values = self._values.get(name, [])
        return values if len(values) == 1 else []


def _texts(node: ast.expr) -> list[str]:
    """Return the texts of a constant or of a list of constants; none for anything else."""
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    texts = [part.value for part in elements if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return texts if len(texts) == len(elements) else []
