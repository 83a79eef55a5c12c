"""An env.py that leaves its work to functions of another file, as histories that share one do, as one syntax tree."""

import ast
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from service_migrations.adoption.code.modules import Code, Module, dotted
from service_migrations.adoption.code.variables import constant

__all__ = ["OFFSET", "Delegated", "Substitution", "bound", "delegated", "joined", "placed"]

OFFSET = 1_000_000
"""Added to the lines of the other file: in one tree, each line says which file it is of."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CALLERS = ("run_sync", "partial")
"""Functions that call their first argument with the other ones, or lead to that."""
_MOST = 5
"""Different calls of one function that are followed: one that calls itself may go on without an end."""
_OF_TEXTS = ("upper", "lower", "title", "capitalize", "strip", "replace")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Delegated:
    """Both files as one.

    Attributes:
        module: an env.py as if it had the other file's code, with its arguments in place of the parameters.
        path: the other file.

    """

    module: Module
    path: Path

    def place(self, line: int) -> tuple[Path, int]:
        """Return the file and its line for a line of the tree."""
        return (self.path, line - OFFSET) if line > OFFSET else (self.module.path, line)


def delegated(module: Module, code: Code, folders: tuple[Path, ...]) -> Delegated | None:
    """Return an env.py together with the file that calls ``configure()`` for it; None where there is no such file.

    Args:
        module: the env.py.
        code: the files that were read already.
        folders: those on ``sys.path``.

    """
    calls = [call for node in module.nodes if isinstance(node, ast.Call) for call in _calls(node)]
    places = [(call, code.imported(module, dotted(call.function) or "", folders)) for call in calls]
    for path in dict.fromkeys(place[0] for _, place in places if place):
        other = code.try_read(path)
        if other is None or not any(_is_configure(node) for node in other.nodes):
            continue
        named = [(call, place[1]) for call, place in places if place and place[0] == path]
        inlined = _Inlined(other)
        for call, name in named:
            inlined.take(name, call)
        if inlined.configures_once:
            own = {id(call.node): name for call, name in named if name in inlined.functions and call.is_direct}
            return _merged(module, other, inlined, own)
    return None


def joined(module: Module, other: Module, calls: list[tuple[ast.Call, str]]) -> Delegated | None:
    """Return an env.py together with another file; None where that runs several histories or none.

    Args:
        module: the env.py.
        other: the file. What stands in its tree and is of env.py has a line less ``OFFSET``.
        calls: those of env.py, each with the function of the other file that it calls.

    """
    inlined = _Inlined(other)
    for call, name in calls:
        inlined.take(name, _Call(call, call.func, call.args))
    own = {id(call): name for call, name in calls if name in inlined.functions}
    return _merged(module, other, inlined, own) if inlined.configures_once else None


class _Call(NamedTuple):
    """A call of a function, perhaps by another one that is given it."""

    node: ast.Call
    function: ast.expr
    arguments: list[ast.expr]

    @property
    def is_direct(self) -> bool:
        return self.function is self.node.func


def _calls(node: ast.Call) -> Iterator[_Call]:
    """Yield a call, and that of the function that it is given: ``connection.run_sync(migrate, metadata)``."""
    yield _Call(node, node.func, node.args)
    last = (dotted(node.func) or "").rpartition(".")[2]
    if last in _CALLERS and node.args:
        own: list[ast.expr] = [ast.Name("connection", ast.Load())] if last == "run_sync" else []
        yield _Call(node, node.args[0], [*own, *node.args[1:]])


def _is_configure(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and (dotted(node.func) or "").rpartition(".")[2] == "configure"


@dataclass(slots=True)
class _Inlined:
    """The functions of a file that run, each with what its calls give in place of its parameters.

    Where two calls give something else, it has its parameters; with ``configure()`` in it, it runs two histories.
    """

    module: Module
    functions: dict[str, _Function] = field(default_factory=dict)
    given: dict[str, set[str]] = field(default_factory=dict)

    @property
    def configures_once(self) -> bool:
        """Whether ``configure()`` is called, and with the same arguments wherever its function is."""
        names = [name for name, function in self.functions.items() if any(map(_is_configure, ast.walk(function)))]
        return bool(names) and all(len(self.given[name]) == 1 for name in names)

    def take(self, name: str, call: _Call) -> None:
        """Take a function, and those of the same file that it calls."""
        function = self.module.functions.get(name)
        if function is None:
            return
        values = bound(function, call.arguments, call.node.keywords)
        text = str({parameter: ast.dump(value) for parameter, value in values.items()})
        given = self.given.setdefault(name, set())
        if text in given or len(given) > _MOST:
            return
        given.add(text)
        substituted: _Function = Substitution(values).visit(deepcopy(function))
        self.functions[name] = substituted if len(given) == 1 else deepcopy(function)
        for node in ast.walk(substituted):
            for inner in _calls(node) if isinstance(node, ast.Call) else ():
                self.take(dotted(inner.function) or "", inner)


def bound(function: _Function, arguments: list[ast.expr], keywords: list[ast.keyword]) -> dict[str, ast.expr]:
    """Return what a call gives for each parameter of a function, or the default of it; without what isn't certain."""
    parameters = function.args
    positional = [*parameters.posonlyargs, *parameters.args]
    named = {each.arg: each.value for each in keywords if each.arg}
    mappings = [each.value for each in keywords if not each.arg]
    for mapping in mappings:
        keys = [constant(key) for key in mapping.keys] if isinstance(mapping, ast.Dict) else [None]
        if not isinstance(mapping, ast.Dict) or None in keys:
            return {}
        named |= dict(zip(map(str, keys), mapping.values, strict=True))
    if any(isinstance(each, ast.Starred) for each in arguments):
        return {}
    given = dict(zip([each.arg for each in positional][::-1], parameters.defaults[::-1], strict=False))
    for parameter, default in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True):
        given |= {parameter.arg: default} if default is not None else {}
    given |= {parameter.arg: value for parameter, value in zip(positional, arguments, strict=False)}
    names = {each.arg for each in (*positional, *parameters.kwonlyargs)}
    given |= {name: value for name, value in named.items() if name in names}
    if parameters.kwarg:
        others = {name: value for name, value in named.items() if name not in names}
        given[parameters.kwarg.arg] = ast.Dict([ast.Constant(name) for name in others], [*others.values()])
    return given


def placed(value: ast.expr, node: ast.expr) -> ast.expr:
    """Return a copy of a value in place of a node, with the line of that: those of two files would be mixed."""
    copy = deepcopy(value)
    for part in ast.walk(copy):
        ast.copy_location(part, node)
    return copy


class Substitution(ast.NodeTransformer):
    """Puts values in place of names, and the result in place of a method of a text."""

    def __init__(self, values: Mapping[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the value of a name that has one."""
        value = self._values.get(node.id) if isinstance(node.ctx, ast.Load) else None
        if value is None:
            return node
        return placed(value, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Return the text that a method of a known text has as its result."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _OF_TEXTS and not node.keywords:
            text, arguments = constant(node.func.value), [constant(each) for each in node.args]
            if text is not None and None not in arguments:
                return ast.copy_location(ast.Constant(getattr(text, node.func.attr)(*arguments)), node)
        return node


class _Calls(ast.NodeTransformer):
    """Puts names in place of what is called."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = self._names.get(id(node))
        self.generic_visit(node)
        if name is None:
            return node
        return ast.copy_location(ast.Call(ast.copy_location(ast.Name(name, ast.Load()), node), [], []), node)


def _merged(module: Module, other: Module, inlined: _Inlined, own: Mapping[int, str]) -> Delegated | None:
    """Return both files as one; None where a name means something else in each."""
    for name in {*module.imports, *module.values, *module.functions} & {
        *other.imports,
        *other.values,
        *inlined.functions,
    }:
        if not _is_same(module, other, name):
            return None
    body: list[ast.stmt] = []
    for statement in other.tree.body:
        if isinstance(statement, _FUNCTIONS) and statement.name in inlined.functions:
            body += _shifted([inlined.functions[statement.name]])
        elif not (isinstance(statement, ast.ImportFrom) and statement.level):
            body += _shifted([deepcopy(statement)])
    # the calls are those of the tree that the code keeps: a copy has other ones
    copied = deepcopy(module.tree)
    pairs = zip(ast.walk(module.tree), ast.walk(copied), strict=True)
    names = {id(copy): own[id(node)] for node, copy in pairs if id(node) in own}
    tree = ast.Module([*body, *_Calls(names).visit(copied).body], [])
    return Delegated(Module(module.path, ast.fix_missing_locations(tree)), other.path)


def _is_same(module: Module, other: Module, name: str) -> bool:
    """Whether a name that both files have means the same in each."""
    if name in other.functions and name in module.imports and name not in module.functions:
        return True  # the function itself, imported
    if name in module.imports and name in other.imports:
        return module.imports[name] == other.imports[name]
    values = [[ast.dump(value) for value in each.values.get(name, [])] for each in (module, other)]
    return bool(values[0]) and values[0] == values[1]


def _shifted(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements whose lines are those of the other file."""
    for statement in nodes:
        for node in ast.walk(statement):
            if isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg | ast.excepthandler | ast.alias):
                node.lineno += OFFSET
                node.end_lineno = (node.end_lineno or node.lineno - OFFSET) + OFFSET
        yield statement
