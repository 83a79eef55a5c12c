"""What a service with Flask-Migrate has in its application instead of its env.py: the DSN, and options."""

import ast
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

from service_migrations.adoption.code.expressions import Reader
from service_migrations.adoption.code.modules import Code, Module, Remark, assigned, dotted, function_around
from service_migrations.adoption.code.variables import Text, constant, literal
from service_migrations.adoption.environment.env_file import Environment
from service_migrations.adoption.environment.hooks import Hook, needs_hook
from service_migrations.adoption.layout.folders import python_files
from service_migrations.adoption.plain_service import PlainService

__all__ = ["flask_dsn", "read_context", "read_migrate"]

_URL = "SQLALCHEMY_DATABASE_URI"
_WRITER = "process_revision_directives"
_ARGUMENTS = ("app", "db", "directory", "command")
"""Arguments of ``Migrate`` that aren't options of ``configure()``."""
_OF_CONTEXT = ("current_app", "g")
"""What Flask has in the context of an application only, as `flask db upgrade` opens it."""
_OF_APPLICATION = ("session", "query")
"""What Flask-SQLAlchemy sends over a connection of the application, such as ``db.session`` and ``Order.query``."""


def read_migrate(service: PlainService, environment: Environment, reader: Reader, code: Code) -> None:
    """Read the options of ``configure()`` that ``Migrate(app, db, …)`` and ``migrate.init_app(…)`` are given."""
    if "current_app" not in environment.module.imports:
        return
    if _leaves_empty_revisions_out(environment.module):
        environment.hooks[:] = [hook for hook in environment.hooks if hook.name != _WRITER]
    modules = [module for path in _application(service) if (module := code.try_read(path))]
    calls = list(_migrate_calls(modules))
    if calls and all(item.arg for _, call in calls for item in call.keywords):
        environment.hooks[:] = [hook for hook in environment.hooks if hook.name != "options"]
    for module, call in calls:
        for item in call.keywords:
            if item.arg in ("version_table", "version_table_schema"):
                name = literal(reader.text(item.value, module, function_around(module, item.value)))
                if name is None:
                    environment.unread.append((item.arg, module.path, item.value.lineno))
                else:
                    setattr(service, item.arg, name)
            elif item.arg and item.arg not in _ARGUMENTS and needs_hook(item.arg, item.value):
                text = f"{item.arg}={ast.unparse(item.value)}"
                environment.hooks.append(Hook(item.arg, module.path, item.value.lineno, text))


def read_context(service: PlainService, environment: Environment, code: Code) -> None:
    """Read what revisions need of the application: its context, and a connection of its own."""
    if not _is_of_flask(environment.module):
        return
    modules = [module for path in service.revisions.paths.values() if (module := code.try_read(path))]
    for module in modules:
        if place := _first_use(module, _is_of_context):
            text = f"it needs the context of the application, which `flask db upgrade` opens: {place.text}"
            environment.hooks.append(Hook("context", module.path, place.line or 1, text))
            break
    for module in modules:
        if place := _first_use(module, _is_of_application):
            text = f"{place.text} has a connection of the application's, which a replay refuses"
            service.note("to do", f"{text}; use Session(bind=op.get_bind()).", module.path, place.line)


def _application(service: PlainService) -> list[Path]:
    """Return the files of the application, nearest first, which may be above the directory of the service.

    Its tests have a configuration of their own.
    """
    packages = takewhile(lambda folder: (folder / "__init__.py").is_file(), (service.path, *service.path.parents))
    files = [path for folder in dict.fromkeys((service.path, *packages)) for path in python_files(folder)]
    tests = ("tests", "test")
    return [
        path for path in dict.fromkeys(files) if not any(part in tests for part in path.relative_to(service.root).parts)
    ]


def _is_of_flask(module: Module) -> bool:
    calls = (node for node in module.nodes if isinstance(node, ast.Call))
    return "current_app" in module.imports or any((dotted(call.func) or "").endswith("app_context") for call in calls)


def _first_use(module: Module, is_use: Callable[[Module, ast.AST], bool]) -> Remark | None:
    nodes = sorted((node for node in module.nodes if is_use(module, node)), key=lambda node: getattr(node, "lineno", 1))
    return next((Remark(module.path, getattr(node, "lineno", 1), ast.unparse(node)) for node in nodes), None)


def _is_of_context(module: Module, node: ast.AST) -> bool:
    origin = module.origin(node.id) if isinstance(node, ast.Name) else None
    return origin is not None and origin[0] == "flask" and origin[1] in _OF_CONTEXT


def _is_of_application(module: Module, node: ast.AST) -> bool:
    if not isinstance(node, ast.Attribute) or node.attr not in _OF_APPLICATION:
        return False
    owner = dotted(node.value) or ""
    if node.attr == "session" and owner.rpartition(".")[2][:1].isupper():
        return False  # of a class, such as a member of an enum
    origin = module.origin(owner)
    return origin is not None and origin[0].partition(".")[0] not in ("alembic", "sqlalchemy", "flask")


def _leaves_empty_revisions_out(module: Module) -> bool:
    """Whether the hook for new revisions is that of the template, which does what `inv db.revision` does anyway."""
    functions = [node for node in module.nodes if isinstance(node, ast.FunctionDef) and node.name == _WRITER]
    calls = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Call)]
    names = {(dotted(call.func) or "").rpartition(".")[2] for call in calls}
    return "is_empty" in names and names <= {"getattr", "is_empty", "info"}


def _migrate_calls(modules: list[Module]) -> Iterator[tuple[Module, ast.Call]]:
    names: set[str] = set()
    for module in modules:
        for name, values in module.values.items():
            if any(isinstance(value, ast.Call) and _is_migrate(module, value) for value in values):
                names.add(name)
    for module in modules:
        for node in module.nodes:
            if not isinstance(node, ast.Call):
                continue
            owner, _, method = (dotted(node.func) or "").rpartition(".")
            if _is_migrate(module, node) or (method == "init_app" and owner.rpartition(".")[2] in names):
                yield module, node


def _is_migrate(module: Module, call: ast.Call) -> bool:
    origin = module.origin(dotted(call.func) or "")
    return origin is not None and origin[0] == "flask_migrate" and "Migrate" in (origin[1], origin[2])


def flask_dsn(service: PlainService, environment: Environment, reader: Reader, code: Code) -> tuple[Text, str] | None:
    """Return the DSN of a Flask application, whose configuration has SQLALCHEMY_DATABASE_URI, and its place."""
    if "current_app" not in environment.module.imports:
        return None
    for path in _application(service):
        module = code.with_word(path, _URL)
        for value in _flask_urls(module) if module else ():
            text = reader.text(value, module, function_around(module, value)) if module else None
            if text and text != (_URL,):  # an enum of the keys has the name itself
                return text, f"{service.relative(path)}:{value.lineno}"
    return None


def _flask_urls(module: Module) -> Iterator[ast.expr]:
    """Yield the values of a name or key of Flask's configuration: of a module, class, assignment or call."""
    # of a class for each environment, that of production, and none of that for tests
    classes = [item for item in module.classes.values() if "test" not in item.name.lower()]
    classes.sort(key=lambda item: "prod" not in item.name.lower())
    for values in (module.values, *(assigned(item.body) for item in classes)):
        yield from values.get(_URL, [])
    for node in module.nodes:
        if isinstance(node, ast.keyword) and node.arg == _URL:
            yield node.value
        elif isinstance(node, ast.Assign):
            keys = [constant(target.slice) for target in node.targets if isinstance(target, ast.Subscript)]
            yield from [node.value] if _URL in keys else []
