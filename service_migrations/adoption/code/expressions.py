"""The text of an expression in a team's code, with the variables of the environment that it is made of.

The value of a variable is never needed: ``os.environ["DB_URL"]`` is the variable DB_URL. What can't be read with
certainty has no text.
"""

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from service_migrations.adoption.code.choices import chosen, conditional, returned
from service_migrations.adoption.code.formatting import built, cased, formatted, joined, percent, replaced
from service_migrations.adoption.code.modules import Code, Module, assigned, dotted, keyword
from service_migrations.adoption.code.scope import Scope
from service_migrations.adoption.code.variables import (
    Text,
    Variable,
    constant,
    env_prefix,
    is_environ,
    is_getenv,
    library_prefix,
    literal,
    validates,
)

__all__ = ["Reader"]

_DEEPEST = 40
"""Expressions inside another; a longer chain is a circle of names."""

_LIBRARIES = ("decouple", "environs", "environ", "starlette.config")
"""Those whose objects are called with the name of a variable: ``config("DATABASE_URL")``."""

_SAME_TEXT = ("str", "quote", "quote_plus", "make_url", "URL", "PostgresDsn", "AnyUrl", "cast", "SecretStr", "int")
"""Functions whose last argument has the text of the result."""
_SAME_OBJECT = (
    *("render_as_string", "unicode_string", "human_repr", "get_secret_value", "strip", "rstrip", "lstrip"),
    *("encode", "decode", "set", "geturl"),
)
"""Methods whose result has the text of the object."""


class Reader:
    """Reads expressions of one service's code."""

    def __init__(
        self, code: Code, folders: tuple[Path, ...], options: Callable[[str], Text | None] = lambda _: None
    ) -> None:
        """Take the files, the folders on ``sys.path``, and what returns an option of the ini file."""
        self._code, self._folders, self._options = code, folders, options
        self._conditional: dict[Path, Mapping[int, ast.expr]] = {}

    def text(self, node: ast.expr, module: Module, function: ast.AST | None = None) -> Text | None:
        """Return the text of an expression, outside or inside a function; None where it isn't certain."""
        scope = Scope(module)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            scope = scope.inside(function)
        return self._text(node, scope)

    def _text(self, node: ast.expr | None, scope: Scope) -> Text | None:  # noqa: C901, PLR0911 - a case for each kind of expression
        scope = replace(scope, depth=scope.depth + 1)
        if node is None or scope.depth > _DEEPEST:
            return None
        read = partial(self._text, scope=scope)
        match node:
            case ast.Constant(value=str() | int() as value):
                return (str(value),)
            case ast.JoinedStr(values=parts):
                return joined([part.value if isinstance(part, ast.FormattedValue) else part for part in parts], read)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return joined([left, right], read)
            case ast.BinOp(left=left, op=ast.Mod(), right=right):
                return percent(literal(read(left)), right, read)
            case ast.BoolOp(op=ast.Or(), values=values):
                return self._first(values, scope)
            case ast.IfExp():
                return chosen(node, read)
            case ast.Await(value=value) | ast.NamedExpr(value=value):
                return self._text(value, scope)
            case ast.Subscript():
                return self._subscript(node, scope)
            case ast.Name(id=name):
                return self._name(name, scope)
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Call():
                return self._call(node, scope)
        return None

    def _first(self, nodes: list[ast.expr], scope: Scope) -> Text | None:
        """Return the first text; of a variable, the next one is the default."""
        texts = [text for node in nodes if (text := self._text(node, scope)) is not None]
        if not texts:
            return None
        first = texts[0]
        if len(texts) > 1 and len(first) == 1 and isinstance(first[0], Variable) and first[0].default is None:
            return (replace(first[0], default=literal(texts[1])),)
        return first

    def _name(self, name: str, scope: Scope) -> Text | None:
        if name in scope.arguments:
            return scope.arguments[name]
        for values in (*scope.values, scope.module.values):
            # of url = url.replace(…), the earlier url
            end = scope.seen.get((id(values), name), len(values.get(name, ())))
            for index in range(end - 1, -1, -1):
                inner = replace(scope, seen={**scope.seen, (id(values), name): index})
                node = values[name][index]
                choice = self._choices(scope.module).get(id(node))
                if choice is not None:
                    return self._text(choice, inner)
                if (text := self._text(node, inner)) is not None:
                    return text
        return self._imported(name, scope)

    def _choices(self, module: Module) -> Mapping[int, ast.expr]:
        if module.path not in self._conditional:
            self._conditional[module.path] = conditional(module.nodes)
        return self._conditional[module.path]

    def _imported(self, name: str, scope: Scope) -> Text | None:
        place = self._code.imported(scope.module, name, self._folders)
        module = self._code.try_read(place[0]) if place else None
        if not place or module is None or not place[1]:
            return None
        node = ast.parse(place[1], mode="eval").body
        return self._text(node, Scope(module, depth=scope.depth))

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Text | None:
        key, name = literal(self._text(node.slice, scope)), dotted(node.value)
        if key is None or name is None:
            return None
        if is_environ(scope.module, name):
            return (Variable(key),)
        if name.partition(".")[0] == "values" and scope.owner:
            return self._field(scope.owner, key, scope)
        return self._options(key) if name.endswith(("config", "configuration", "section", "alembic_config")) else None

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Text | None:
        name = dotted(node)
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and scope.owner:
            return self._field(scope.owner, node.attr, scope)
        if owner := self._class_of(node.value, scope):
            return self._field(owner[0], node.attr, replace(owner[1], depth=scope.depth))
        if node.attr in ("url", "sync_url"):  # of an engine or of the extension for Flask
            return self._text(node.value, scope)
        return self._imported(name, scope) if name else None

    def _class_of(  # noqa: C901, PLR0911 - a case for each kind of expression
        self, node: ast.expr, scope: Scope
    ) -> tuple[ast.ClassDef, Scope] | None:
        """Return the class of an object of settings, with the module that has it."""
        if scope.depth > _DEEPEST:
            return None
        scope = replace(scope, depth=scope.depth + 1)
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            return self._class_named(name, scope) if name else None
        if isinstance(node, ast.Attribute):
            owner = self._class_of(node.value, scope)
            if owner is not None:
                return self._class_of_field(*owner, node.attr)
        name = dotted(node)
        if name is None:
            return None
        for values in (*scope.values, scope.module.values):
            key = (id(values), f"class of {name}")  # of settings = settings.database, the earlier settings
            for index in range(scope.seen.get(key, len(values.get(name, ()))) - 1, -1, -1):
                if definition := self._class_of(values[name][index], replace(scope, seen={**scope.seen, key: index})):
                    return definition
        if name in scope.module.classes:
            return scope.module.classes[name], scope
        place = self._code.imported(scope.module, name, self._folders)
        module = self._code.try_read(place[0]) if place else None
        if not place or module is None or not place[1]:
            return None
        return self._class_of(ast.parse(place[1], mode="eval").body, Scope(module, depth=scope.depth))

    def _class_of_field(self, owner: ast.ClassDef, scope: Scope, name: str) -> tuple[ast.ClassDef, Scope] | None:
        for node in owner.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                definition = self._class_named(dotted(node.annotation) or "", scope)
                return (definition[0], scope.of_field(owner, name, definition[1])) if definition else None
            if isinstance(node, ast.Assign) and name in [dotted(target) for target in node.targets]:
                return self._class_of(node.value, scope)
        return None

    def _class_named(self, name: str, scope: Scope) -> tuple[ast.ClassDef, Scope] | None:
        """Return a class, or that of what a function returns, by its name in a module."""
        if name in scope.module.classes:
            return scope.module.classes[name], Scope(scope.module)
        if function := scope.module.functions.get(name):
            inner = scope.inside(function)
            returned = (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value)
            return next((definition for value in returned if (definition := self._class_of(value, inner))), None)
        place = self._code.imported(scope.module, name, self._folders)
        module = self._code.try_read(place[0]) if place else None
        if not place or module is None or not place[1]:
            return None
        return self._class_named(place[1], Scope(module, depth=scope.depth + 1))

    def _field(  # noqa: C901, PLR0911 - a case for each way to write one
        self, owner: ast.ClassDef, name: str, scope: Scope
    ) -> Text | None:
        """Return the text of an attribute of settings: a property, what a validator returns, or a variable."""
        scope = replace(scope, owner=owner, values=(assigned(owner.body),))
        if scope.depth > _DEEPEST:
            return None
        for function in owner.body:
            if isinstance(function, ast.FunctionDef) and (function.name == name or validates(function, name)):
                text = self._returned(function, scope)
                if text is not None:
                    return text
        for node in owner.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                if not self._is_settings(owner, scope) and not scope.delimiter:
                    return self._text(node.value, scope)
                return (self._variable(owner, name, node.value, scope),)
        values = scope.values[0].get(name)
        if values:
            seen = {**scope.seen, (id(scope.values[0]), name): len(values) - 1}
            return self._text(values[-1], replace(scope, seen=seen))
        for base in owner.bases:
            parent = self._class_named(dotted(base) or "", scope)
            if parent and (text := self._inherited(parent, name, scope)) is not None:
                return text
        return None

    def _inherited(self, parent: tuple[ast.ClassDef, Scope], name: str, scope: Scope) -> Text | None:
        inner = replace(parent[1], depth=scope.depth + 1, prefix=scope.prefix, delimiter=scope.delimiter)
        return self._field(parent[0], name, inner)

    def _variable(self, owner: ast.ClassDef, name: str, value: ast.expr | None, scope: Scope) -> Variable:
        """Return the variable that pydantic reads a field from."""
        default = value
        if isinstance(value, ast.Call):
            default = keyword(value, "default") or next(iter(value.args), None)
            alias = keyword(value, "validation_alias", "alias", "env")
            if isinstance(alias, ast.Call | ast.List | ast.Tuple):  # AliasChoices(…)
                alias = next(iter(getattr(alias, "args", None) or getattr(alias, "elts", [])), None)
            if alias is not None and (given := constant(alias)):
                return Variable(given.upper(), literal(self._text(default, scope)))
        prefix = env_prefix(owner) if self._is_settings(owner, scope) else scope.prefix
        return Variable(f"{prefix}{name}".upper(), literal(self._text(default, scope)))

    def _is_settings(self, owner: ast.ClassDef, scope: Scope) -> bool:
        for base in owner.bases:
            name = dotted(base) or ""
            if name.rpartition(".")[2] == "BaseSettings":
                return True
            definition = self._class_named(name, scope)
            if (
                definition
                and scope.depth < _DEEPEST
                and self._is_settings(definition[0], replace(definition[1], depth=scope.depth + 1))
            ):
                return True
        return False

    def _returned(self, function: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> Text | None:
        return returned(function, partial(self._text, scope=scope.inside(function)))

    def _call(  # noqa: C901, PLR0911, PLR0912 - a case for each function
        self, node: ast.Call, scope: Scope
    ) -> Text | None:
        name = dotted(node.func) or ""
        last = name.rpartition(".")[2] or getattr(node.func, "attr", "")
        first = literal(self._text(node.args[0], scope)) if node.args else None
        default = keyword(node, "default") or (node.args[1] if len(node.args) > 1 else None)
        if first is not None and (is_getenv(scope.module, name) or self._is_library(node.func, scope)):
            prefix = "" if is_getenv(scope.module, name) else library_prefix(node, scope.module)
            return None if prefix is None else (Variable(f"{prefix}{first}", literal(self._text(default, scope))),)
        if last in ("get_main_option", "get_section_option", "get_alembic_option"):
            given = list(node.args[1:] if last == "get_section_option" and node.args else node.args)
            key = keyword(node, "name") or (given.pop(0) if given else None)
            text = self._options(constant(key) or "")
            return self._text(keyword(node, "default") or next(iter(given), None), scope) if text is None else text
        if first is not None and name.partition(".")[0] == "values" and last == "get" and scope.owner:
            return self._field(scope.owner, first, scope)
        if last in ("create", "build"):
            return built(node, partial(self._text, scope=scope))
        if last in ("create_engine", "create_async_engine", "SQLAlchemy", "Database"):
            return self._text(keyword(node, "url") or next(iter(node.args), None), scope)
        if isinstance(node.func, ast.Attribute):
            if last == "replace" and len(node.args) in (2, 3):  # what is replaced, by what, and how often
                return replaced(node, partial(self._text, scope=scope))
            if last == "format":
                return formatted(node, partial(self._text, scope=scope))
            if last in ("upper", "lower"):
                return cased(node, partial(self._text, scope=scope))
            if last in _SAME_OBJECT:
                return self._text(node.func.value, scope)
        if last in _SAME_TEXT and node.args:
            return self._text(node.args[-1], scope)
        if function := scope.module.functions.get(name):
            return self._returned(
                function, Scope(scope.module, arguments=self._given(node, function, scope), depth=scope.depth)
            )
        if scope.owner and name.partition(".")[0] in ("self", "cls"):
            return self._field(scope.owner, last, scope)
        if isinstance(node.func, ast.Attribute) and (owner := self._class_of(node.func.value, scope)):
            return self._field(owner[0], last, replace(owner[1], depth=scope.depth))
        return self._called_elsewhere(node, name, scope)

    def _called_elsewhere(self, node: ast.Call, name: str, scope: Scope) -> Text | None:
        place = self._code.imported(scope.module, name, self._folders) if name else None
        module = self._code.try_read(place[0]) if place else None
        function = module.functions.get(place[1]) if place and module else None
        if module is None or function is None:
            return None
        return self._returned(function, Scope(module, arguments=self._given(node, function, scope), depth=scope.depth))

    def _given(
        self, node: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope
    ) -> Mapping[str, Text]:
        """Return the arguments that a call gives to a function, and the defaults of the others."""
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        values = dict(zip(reversed(names), reversed(function.args.defaults), strict=False))
        values |= dict(zip(names, node.args, strict=False))
        values |= {item.arg: item.value for item in node.keywords if item.arg}
        texts = {name: self._text(value, scope) for name, value in values.items()}
        return {name: text for name, text in texts.items() if text is not None}

    def _is_library(self, function: ast.expr, scope: Scope, seen: frozenset[str] = frozenset()) -> bool:
        name = dotted(function)
        root = (name or "").partition(".")[0]
        if name is None or root in seen:  # url = url.replace(…)
            return False
        for value in scope.module.values.get(root, []):
            if isinstance(value, ast.Call) and self._is_library(value.func, scope, seen | {root}):
                return True
        origin = scope.module.origin(root)
        return origin is not None and origin[0] in _LIBRARIES
