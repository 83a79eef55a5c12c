"""An env.py of plain Alembic by its syntax tree: what it passes on to Alembic, and what else it does."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from service_migrations.adoption.code.choices import joined_branches
from service_migrations.adoption.code.expressions import Reader
from service_migrations.adoption.code.modules import (
    Code,
    Module,
    assigned,
    called,
    dotted,
    function_around,
    is_library,
    keyword,
    statements,
)
from service_migrations.adoption.code.sql_texts import sql_text
from service_migrations.adoption.code.variables import Text, Variable, constant, is_none, literal
from service_migrations.adoption.environment.delegated import Delegated, delegated
from service_migrations.adoption.environment.hooks import Hook, needs_hook, other_work, repetition
from service_migrations.adoption.environment.objects import with_methods
from service_migrations.adoption.environment.unpacked import unpacked
from service_migrations.adoption.layout.ini import AlembicOptions

__all__ = ["Environment", "options_reader", "read_environment"]

_ASYNC = ("async_engine_from_config", "create_async_engine")
_DEEPEST = 20
"""Names that stand for another; a longer chain is a circle."""

_HARMLESS = ("config", "context", "logging", "os", "sys", "warnings", "logger", "log", "asyncio", "print", "Path")
"""The first names of calls that need no place in another env.py."""
_HARMLESS_LAST = (
    *("fileConfig", "dictConfig", "insert", "append", "extend", "getLogger", "load_dotenv", "disable_existing_loggers"),
    *("nest_asyncio", "uvloop", "basicConfig", "setLevel", "setFormatter", "addHandler", "removeHandler"),
)
_LOGS = ("debug", "info", "warning", "error", "exception", "critical", "log", "setLevel", "addHandler", "removeHandler")
_OF_SQLITE = re.compile(r"\s*(?:PRAGMA|BEGIN\s+(?:IMMEDIATE|EXCLUSIVE))\b", re.IGNORECASE)
"""SQL that PostgreSQL doesn't have, behind a condition for another database."""
_EXECUTES = ("execute", "exec_driver_sql", "scalar")


@dataclass(slots=True)
class Environment:
    """An env.py.

    Attributes:
        path: the file.
        module: its syntax tree, with the functions of another file that it leaves its work to.
        configure: the options of ``context.configure()``, each with its value.
        given: the same of each call, of which there may be several.
        is_configured: whether it calls that itself, and not by way of another file.
        urls: the expressions that lead to the database, the most certain one first.
        hooks: what the shared env.py needs of it.
        ini: what it sets by ``set_section_option``.
        computed: the options that it sets so to what can't be read.
        version_table: the version table that it names.
        version_table_schema: the schema of that.
        unread: options that it, or the configuration that it takes them from, computes, each with its place.
        repeats: over what it runs the history again and again, and the line.
        loads_dotenv: whether it puts a .env into the environment.
        reads_ini: whether the DSN is that of the ini file.

    """

    path: Path
    module: Module
    configure: dict[str, ast.expr] = field(default_factory=dict)
    given: list[tuple[str, ast.expr]] = field(default_factory=list)
    is_configured: bool = False
    urls: list[tuple[ast.expr, ast.AST | None]] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    ini: dict[str, Text] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)
    version_table: str | None = None
    version_table_schema: str | None = None
    unread: list[tuple[str, Path, int]] = field(default_factory=list)
    repeats: tuple[ast.expr, int] | None = None
    loads_dotenv: bool = False
    reads_ini: bool = True
    other: Delegated | None = None
    """The tree of both files, where it leaves its work to another one."""

    def place(self, line: int) -> tuple[Path, int]:
        """Return the file and the line there of a line of the tree."""
        return self.other.place(line) if self.other else (self.path, line)

    @property
    def is_async(self) -> bool:
        """Whether it awaits its engine, as only asyncpg and psycopg 3 can be used; the engine may be imported."""
        imports = any(name in self.module.imports for name in _ASYNC)
        return imports or any(isinstance(node, ast.Await | ast.AsyncWith) for node in ast.walk(self.module.tree))

    @property
    def metadata(self) -> str | None:
        """The dotted name of ``target_metadata``, such as ``Base.metadata``; None for another expression."""
        return next(iter(self.all_metadata), None)

    @property
    def all_metadata(self) -> tuple[str | None, ...]:
        """The dotted names of ``target_metadata``, which may be a list."""
        return tuple(self._metadata(self.configure.get("target_metadata")))

    def _metadata(self, node: ast.expr | None, depth: int = 0) -> Iterator[str | None]:
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            for item in node.elts:
                yield from self._metadata(item, depth + 1)
            return
        if isinstance(node, ast.Call | ast.BinOp):  # combine(Base.metadata, Other.metadata)
            parts = [*node.args, *(item.value for item in node.keywords)] if isinstance(node, ast.Call) else []
            parts = [node.left, node.right] if isinstance(node, ast.BinOp) else parts
            names = [each for part in parts for each in self._metadata(part, depth + 1) if each]
            yield from names or (None,)
            return
        name = dotted(node)
        function = function_around(self.module, node) if node is not None else None
        values = {**self.module.values, **assigned(getattr(function, "body", []))}
        if name is None or name not in values or depth > _DEEPEST:
            yield name
        else:
            yield from self._metadata(values[name][-1], depth + 1)  # target_metadata = metadata = Base.metadata

    @property
    def has_metadata(self) -> bool:
        """Whether ``target_metadata`` is more than ``None``, with which autogenerate isn't used."""
        node = self.configure.get("target_metadata")
        if isinstance(node, ast.Name):
            values = {**self.module.values, **assigned(getattr(function_around(self.module, node), "body", []))}
            node = values.get(node.id, [node])[-1]
        return node is not None and not is_none(node)


def read_environment(path: Path, options: AlembicOptions | None, code: Code, folders: tuple[Path, ...]) -> Environment:
    """Read an env.py.

    Args:
        path: the file.
        options: those of its ini file.
        code: the files that were read already.
        folders: those on ``sys.path``, in which imported modules are looked up.

    Raises:
        SyntaxError: it can't be parsed.
        OSError: it can't be read.

    """
    module = code.read(path)
    other = _elsewhere(module, code, folders)
    module = other.module if other else module
    environment = Environment(path, module, other=other)
    calls = list(_calls(module.tree))
    for call, function in calls:
        _read_call(environment, call, function)
    environment.urls = list(_urls(module, calls))
    if not environment.urls and "url" in environment.configure:
        url = environment.configure["url"]
        environment.urls = [(url, function_around(module, url))]
    environment.reads_ini = all("get_main_option" in ast.unparse(url) for url, _ in environment.urls)
    reader = Reader(code, folders, options_reader(environment, options))
    for call, function in calls:
        if (dotted(call.func) or "").endswith("set_section_option") and len(call.args) == 3:  # noqa: PLR2004
            _set_option(environment, constant(call.args[1]), reader.text(call.args[2], module, function))
    if not environment.is_configured:
        unknown = "it doesn't call context.configure() itself, so the options aren't known"
        environment.hooks.append(Hook("options", path, 1, unknown))
        environment.unread.append(("version_table", path, 1))
    for key in ("version_table", "version_table_schema"):
        if (value := environment.configure.get(key)) is not None and not is_none(value):
            values = [each for name, each in environment.given if name == key]
            texts = {text for each in values for text in _texts(reader, module, each)}
            name = next(iter(texts)) if len(texts) == 1 else None
            if name is None:
                environment.unread.append((key, *environment.place(value.lineno)))
            else:
                setattr(environment, key, name)
    environment.hooks += _hooks(environment, calls)
    places = [environment.place(hook.line) for hook in environment.hooks]
    environment.hooks = [
        replace(hook, path=file, line=line) for hook, (file, line) in zip(environment.hooks, places, strict=True)
    ]
    environment.loads_dotenv = any((dotted(call.func) or "").endswith("load_dotenv") for call, _ in calls)
    environment.repeats = repetition(module)
    return environment


def _elsewhere(module: Module, code: Code, folders: tuple[Path, ...]) -> Delegated | None:
    """Return an env.py with the methods or the functions that it leaves its work to."""
    has_own = any(_is_configure(module, dotted(call.func) or "") for call, _ in _calls(module.tree))
    return with_methods(module, code, folders) or (None if has_own else delegated(module, code, folders))


def _set_option(environment: Environment, name: str | None, text: Text | None) -> None:
    if name and text is not None:
        environment.ini[name] = text
    elif name:
        environment.computed.add(name.lower())


def options_reader(environment: Environment, options: AlembicOptions | None) -> "_OptionsReader":
    """Return what reads an option of the ini file, with what env.py sets."""
    return _OptionsReader(environment, options)


@dataclass(frozen=True, slots=True)
class _OptionsReader:
    environment: Environment
    options: AlembicOptions | None

    def __call__(self, name: str) -> Text | None:
        text = self.options.text(name.lower(), self.environment.ini) if self.options else None
        names = (part.name.lower() for part in text or () if isinstance(part, Variable))
        return text if self.environment.computed.isdisjoint(names) else None


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.AST | None]]:
    """Yield each call, with the function that it is in."""

    def visit(node: ast.AST, function: ast.AST | None) -> Iterator[tuple[ast.Call, ast.AST | None]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield child, function
            yield from visit(child, child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function)

    yield from visit(tree, None)


def _read_call(environment: Environment, call: ast.Call, function: ast.AST | None) -> None:
    if _is_configure(environment.module, dotted(call.func) or ""):
        environment.is_configured = True
        for item in call.keywords:
            if item.arg:
                environment.configure.setdefault(item.arg, item.value)
                environment.given.append((item.arg, item.value))
            else:
                options, is_whole = unpacked(environment.module, item.value, function)
                environment.configure.update(options)
                environment.given += options.items()
                if not is_whole:
                    text = f"options of configure() can't be read from it: **{ast.unparse(item.value)}"
                    environment.hooks.append(Hook("options", environment.path, item.value.lineno, text))


def _is_configure(module: Module, name: str) -> bool:
    """Whether a dotted name is Alembic's ``context.configure``, which may be imported under another name."""
    if name.rpartition(".")[2] == "configure" and name.partition(".")[0] in ("context", "alembic", "configure"):
        return True
    return ".".join(filter(None, module.origin(name) or ())) == "alembic.context.configure"


_URL = "sqlalchemy.url"


def _urls(module: Module, calls: list[tuple[ast.Call, ast.AST | None]]) -> Iterator[tuple[ast.expr, ast.AST | None]]:
    """Yield the expressions of the DSN: what the ini file gets, and what an engine is made of."""
    given: list[ast.expr] = []
    for call, _ in calls:
        last = (dotted(call.func) or "").rpartition(".")[2]
        keys = [constant(argument) for argument in call.args[:-1]]
        if (last == "set_main_option" and keys == [_URL]) or (last == "set_section_option" and keys[1:] == [_URL]):
            given.append(call.args[-1])
    for value in joined_branches(module.nodes, given + _assigned_urls(module)):
        yield value, function_around(module, value)
    for call, function in calls:
        if (dotted(call.func) or "").rpartition(".")[2] in ("create_engine", "create_async_engine"):
            url = keyword(call, "url") or next(iter(call.args), None)
            if url is not None and keyword(call, "creator", "async_creator") is None:  # it would name the dialect only
                yield url, function


def _assigned_urls(module: Module) -> list[ast.expr]:
    """Return the values of ``configuration["sqlalchemy.url"] = …`` and of a dict with that key."""
    urls: list[ast.expr] = []
    for node in module.nodes:
        if isinstance(node, ast.Assign):
            keys = [constant(target.slice) for target in node.targets if isinstance(target, ast.Subscript)]
            urls += [node.value] if _URL in keys else []
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            urls += [value for key, value in pairs if constant(key) == _URL]
    return urls


def _texts(reader: Reader, module: Module, node: ast.expr, depth: int = 0) -> set[str | None]:
    """Return the texts that an expression may have, by conditions and branches; None is one that can't be read."""
    if isinstance(node, ast.IfExp):
        return _texts(reader, module, node.body, depth) | _texts(reader, module, node.orelse, depth)
    function = function_around(module, node)
    values: list[ast.expr] = []
    if isinstance(node, ast.Name) and depth < _DEEPEST:
        values = assigned(getattr(function, "body", [])).get(node.id) or module.values.get(node.id, [])
    if values:
        return {text for value in values for text in _texts(reader, module, value, depth + 1)}
    return {literal(reader.text(node, module, function))}


def _hooks(environment: Environment, calls: list[tuple[ast.Call, ast.AST | None]]) -> Iterator[Hook]:
    """Yield what the shared env.py lacks: options of ``configure()``, -x arguments, SQL, and other work."""
    module, path = environment.module, environment.path
    for name, value in environment.configure.items():
        if not needs_hook(name, value):
            continue
        definition = module.functions.get(dotted(value) or "")
        line = definition.lineno if definition else value.lineno
        yield Hook(name, path, line, f"{name}={ast.unparse(value)}")
    for call, _ in calls:
        name = dotted(call.func) or ast.unparse(call.func)
        last = name.rpartition(".")[2]
        if last == "get_x_argument":
            yield Hook("-x", path, call.lineno, "it reads arguments of `alembic -x`")
        elif last in _EXECUTES and isinstance(call.func, ast.Attribute):
            if call.args and _OF_SQLITE.match(sql_text(call.args[0], module) or ""):
                continue
            yield Hook("SQL", path, call.lineno, f"it runs SQL of its own: {' '.join(ast.unparse(call).split())}")
        elif last == "listens_for" or name.startswith("event."):
            yield Hook("event", path, call.lineno, f"it listens to events: {' '.join(ast.unparse(call).split())}")
    yield from other_work(module)
    for node in statements(module.tree.body):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not _is_harmless(module, node.value):
            text = " ".join(ast.unparse(node.value).split())
            yield Hook("import", path, node.lineno, f"it does something at import: {text}")


def _is_harmless(module: Module, call: ast.Call) -> bool:
    name = dotted(call.func) or ""
    first, _, _ = name.partition(".")
    last = name.rpartition(".")[2]
    if last in (*_EXECUTES, "listens_for") or first == "event" or (module.origin(name) or ("",))[0] == "alembic":
        return True  # named already, or Alembic's own
    values = module.values.get(first, [])
    if values and all(is_library((module.origin(dotted(value) or "") or ("",))[0]) for value in values):
        return True  # context.config under another name
    if isinstance(call.func, ast.Attribute) and call.func.attr in _LOGS and called(call.func.value) == "getLogger":
        return True
    if name in ("os.system", "os.remove", "sys.exit", "os.makedirs", "asyncio.create_task"):
        return False
    return first in _HARMLESS or last in _HARMLESS_LAST or first in module.functions
