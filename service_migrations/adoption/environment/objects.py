"""An env.py that leaves its work to an object of a class, as if the methods of that were functions.

Teams with many services have such a class in a shared file: ``Runner(Base.metadata, "billing").run()``, or a class of
each service that inherits from it and sets ``metadata``. Its attributes are read from the arguments, ``__init__`` and
the bodies of the classes.
"""

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from service_migrations.adoption.code.modules import Code, Module, assigned, dotted
from service_migrations.adoption.code.variables import is_none
from service_migrations.adoption.environment.delegated import OFFSET, Delegated, Substitution, bound, joined, placed

__all__ = ["with_methods"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_INIT = "__init__"
_CALL = "__call__"
_CHANGES = ("update", "setdefault", "pop")
"""Methods that change a dict of options."""
_MOST = 10
"""Classes of one object that are followed, and names that stand for another: more are a circle."""


def with_methods(module: Module, code: Code, folders: tuple[Path, ...]) -> Delegated | None:
    """Return an env.py with the methods of its object as functions; None where no object calls ``configure()``.

    Args:
        module: the env.py.
        code: the files that were read already.
        folders: those on ``sys.path``.

    """
    objects: list[_Object] = []
    for node in module.nodes:
        if isinstance(node, ast.Call):
            classes = list(_classes(module, dotted(node.func) or "", code, folders))
            if any(_configures(definition) for _, definition in classes):
                objects.append(_Object(module, node, classes))
    if len(objects) != 1:  # of several, each runs a history
        return None
    other_modules = {own.path: own for own, _ in objects[0].classes if own.path != module.path}
    calls = [*objects[0].calls()]
    if len(other_modules) > 1 or not calls:
        return None
    other = next(iter(other_modules.values()), None)
    functions = objects[0].functions()
    named = [*calls, *([(objects[0].creation, _INIT)] if _INIT in functions else [])]
    names = {definition.name for _, definition in objects[0].classes}
    kept = [node for node in (other or module).tree.body if not (isinstance(node, ast.ClassDef) and node.name in names)]
    if other is not None:
        own = ast.Module([deepcopy(node) for node in kept] + [*functions.values()], [])
        return joined(module, Module(other.path, own), named)
    # all of it is in env.py: its own statements stay, and the functions come from nowhere else
    return joined(
        Module(module.path, ast.Module(kept, [])), Module(module.path, ast.Module([*functions.values()], [])), named
    )


def _classes(
    module: Module, name: str, code: Code, folders: tuple[Path, ...], depth: int = 0
) -> Iterator[tuple[Module, ast.ClassDef]]:
    """Yield a class by its name in a module, and the team's classes that it inherits from, the nearest one first."""
    place = None if name in module.classes else code.imported(module, name, folders)
    own = module if name in module.classes else code.try_read(place[0]) if place else None
    definition = own.classes.get(place[1] if place else name) if own else None
    if own is None or definition is None or depth > _MOST:
        return
    yield own, definition
    for base in definition.bases:
        yield from _classes(own, dotted(base) or "", code, folders, depth + 1)


def _configures(definition: ast.ClassDef) -> bool:
    names = (dotted(node.func) or "" for node in ast.walk(definition) if isinstance(node, ast.Call))
    return any(name.rpartition(".")[2] == "configure" for name in names)


def _methods(definition: ast.ClassDef) -> Iterator[_Function]:
    return (node for node in definition.body if isinstance(node, _FUNCTIONS))


def _decorators(definition: _Function | ast.ClassDef) -> set[str]:
    nodes = (node.func if isinstance(node, ast.Call) else node for node in definition.decorator_list)
    return {(dotted(node) or "").rpartition(".")[2] for node in nodes}


@dataclass(slots=True)
class _Object:
    """An object that an env.py makes.

    Attributes:
        module: the env.py.
        creation: the call of the class.
        classes: the class, and those that it inherits from, each with its file.
        values: its attributes; None is one that isn't certain.

    """

    module: Module
    creation: ast.Call
    classes: list[tuple[Module, ast.ClassDef]]
    values: dict[str, ast.expr | None] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The names that env.py gives it."""
        nodes = (node for node in self.module.nodes if isinstance(node, ast.Assign) and node.value is self.creation)
        return {target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)}

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield the calls of its methods in env.py, and of itself, each with the name of the method."""
        for node in self.module.nodes:
            if isinstance(node, ast.Call):
                owner, name = (
                    (node.func.value, node.func.attr) if isinstance(node.func, ast.Attribute) else (node.func, _CALL)
                )
                if owner is self.creation or (isinstance(owner, ast.Name) and owner.id in self.names):
                    yield node, name

    def _set(self) -> dict[str, ast.expr | None]:
        """Return the attributes that env.py sets itself; what it sets twice isn't certain."""
        names, values = self.names, dict[str, ast.expr | None]()
        for node in self.module.nodes:
            for target in node.targets if isinstance(node, ast.Assign) else ():
                if isinstance(target, ast.Attribute) and isinstance(node, ast.Assign) and dotted(target.value) in names:
                    values[target.attr] = None if target.attr in values else node.value
        return values

    def functions(self) -> dict[str, _Function]:
        """Return its methods as functions by name, an inherited one that ``super()`` calls with that of its class."""
        for _, definition in reversed(self.classes):
            self.values |= {name: values[-1] for name, values in assigned(definition.body).items()}
        given = self._given()
        for _, definition in self.classes:
            for method in _methods(definition):
                given |= dict.fromkeys(_changed(method))
        self.values |= given | self._set()
        functions: dict[str, _Function] = {}
        for index, (own, definition) in enumerate(self.classes):
            for method in _methods(definition):
                name = method.name if method.name not in functions else f"{method.name}_of_{definition.name}"
                functions.setdefault(name, self._function(method, name, own, index))
        return functions

    def _given(self) -> dict[str, ast.expr | None]:
        """Return the attributes that the arguments give: fields of a dataclass, or what ``__init__`` assigns."""
        if any("dataclass" in _decorators(definition) for _, definition in self.classes):
            fields: dict[str, ast.expr | None] = {}
            for _, definition in reversed(self.classes):
                for node in definition.body:
                    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        fields[node.target.id] = node.value
            values = dict(zip(fields, self.creation.args, strict=False))
            return {**values, **{item.arg: item.value for item in self.creation.keywords if item.arg in fields}}
        return self._assigned(0, self.creation)

    def _assigned(self, start: int, call: ast.Call) -> dict[str, ast.expr | None]:
        """Return what the first ``__init__`` from a class on assigns to the object."""
        index = self._first(_INIT, start)
        method = None if index is None else _method(self.classes[index][1], _INIT)
        if index is None or method is None or not method.args.args:
            return {}
        names = _local_names(method, bound(_without_first(method), call.args, call.keywords))
        values: dict[str, ast.expr | None] = {}
        for node in ast.walk(method):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"super().{_INIT}":
                values = {**self._assigned(index + 1, Substitution(names).visit(deepcopy(node))), **values}
        for target, value in _attributes(method):
            is_certain = target not in values or any(value is each for each in _top_values(method))
            values[target] = Substitution(names).visit(deepcopy(value)) if is_certain else None
        return values

    def _function(self, method: _Function, name: str, own: Module, index: int) -> _Function:
        """Return a method as a function, in which the attributes are their values."""
        is_static = "staticmethod" in _decorators(method) or not method.args.args
        function = deepcopy(method) if is_static else _without_first(method)
        if method.name == _INIT and index == self._first(_INIT):
            function = Substitution(bound(function, self.creation.args, self.creation.keywords)).visit(function)
        if not is_static:
            function = _Attributes(self, method.args.args[0].arg, index).visit(function)
        function.name, function.decorator_list = name, []
        if own.path == self.module.path:
            _moved_back(function)
        return function

    def _first(self, name: str, start: int = 0) -> int | None:
        """Return the index of the first class from one on that has a method."""
        own = [index for index, (_, each) in enumerate(self.classes) if name in {node.name for node in _methods(each)}]
        return next((index for index in own if index >= start), None)

    def method(self, name: str, start: int = 0) -> tuple[str, _Function] | None:
        """Return the name of the function of a method, and the method, of the classes from one on."""
        index = self._first(name, start)
        if index is None:
            return None
        definition = self.classes[index][1]
        method = _method(definition, name)
        if method is None:
            return None
        return name if index == self._first(name) else f"{name}_of_{definition.name}", method


def _moved_back(function: _Function) -> None:
    """Take the offset from the lines of env.py's own code, which gets it in the other file's tree."""
    for node in ast.walk(function):
        if isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg | ast.excepthandler | ast.alias):
            node.end_lineno = (node.end_lineno or node.lineno) - OFFSET
            node.lineno -= OFFSET


def _method(definition: ast.ClassDef, name: str) -> _Function | None:
    return next((each for each in _methods(definition) if each.name == name), None)


def _top_values(method: _Function) -> list[ast.expr]:
    """Return what is assigned without a condition."""
    return [node.value for node in method.body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]


def _local_names(method: _Function, given: dict[str, ast.expr]) -> dict[str, ast.expr]:
    """Return the values of the names of an ``__init__``: its arguments, and what it assigns."""
    names, top = dict(given), _top_values(method)
    for name, values in assigned(method.body).items():
        is_certain = len(values) == 1 and (name not in names or is_none(names[name]) or values[0] in top)
        value = Substitution(names).visit(deepcopy(values[0]))
        names.pop(name, None)
        names |= {name: value} if is_certain else {}
    return names


def _attributes(method: _Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the attributes that a method gives to its object, each with the value."""
    for node in ast.walk(method):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Attribute) and dotted(target.value) == method.args.args[0].arg:
                    yield target.attr, node.value


def _changed(method: _Function) -> Iterator[str]:
    """Yield the attributes that a method changes after the object was made: their values aren't certain."""
    if not method.args.args:
        return
    own = method.args.args[0].arg
    if method.name != _INIT:
        yield from (name for name, _ in _attributes(method))
    for node in ast.walk(method):
        is_item = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        is_update = isinstance(node, ast.Attribute) and node.attr in _CHANGES
        if (is_item or is_update) and isinstance(node, ast.Subscript | ast.Attribute):
            first, _, name = (dotted(node.value) or "").partition(".")
            if first == own and name:
                yield name


def _without_first(method: _Function) -> _Function:
    function = deepcopy(method)
    del function.args.args[0]
    return function


class _Attributes(Substitution, ast.NodeTransformer):
    """Puts values in place of an object's attributes, and functions in place of its methods."""

    def __init__(self, owner: _Object, name: str, index: int, depth: int = 0) -> None:
        super().__init__({})
        self._owner, self._name, self._index, self._depth = owner, name, index, depth

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        is_super = ast.unparse(node.value).startswith("super(")
        if not isinstance(node.ctx, ast.Load) or (dotted(node.value) != self._name and not is_super):
            self.generic_visit(node)
            return node
        method = self._owner.method(node.attr, self._index + 1 if is_super else 0)
        value = self._owner.values.get(node.attr)
        if method is not None:
            called = ast.copy_location(ast.Name(method[0], ast.Load()), node)
            if not _decorators(method[1]) & {"property", "cached_property"}:
                return called
            body = [each for each in method[1].body if not isinstance(getattr(each, "value", None), ast.Constant)]
            if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value and self._depth < _MOST:
                inner = _Attributes(self._owner, method[1].args.args[0].arg, self._index, self._depth + 1)
                return placed(inner.visit(deepcopy(body[0].value)), node)
            return ast.copy_location(ast.Call(called, [], []), node)
        if value is None or self._depth > _MOST:
            return node
        # of self.url = make_url(self.name), the name too
        inner = _Attributes(self._owner, self._name, self._index, self._depth + 1)
        return placed(inner.visit(deepcopy(value)), node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if dotted(node.func) == self._name and (method := self._owner.method(_CALL)):
            node.func = ast.copy_location(ast.Name(method[0], ast.Load()), node)
        return super().visit_Call(node)
