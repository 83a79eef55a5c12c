"""What an env.py of plain Alembic does beside ``configure()``, and what a revision would miss without it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from service_migrations.adoption.code.modules import Module, dotted, is_library, keyword, statements
from service_migrations.adoption.code.variables import is_none

__all__ = ["Hook", "needs_hook", "other_work", "registrations", "repetition"]

_OURS = frozenset(
    (
        *("connection", "url", "target_metadata", "literal_binds", "dialect_opts", "dialect_name", "version_table"),
        *("version_table_schema", "compare_type", "compare_server_default", "include_schemas", "output_buffer"),
        *("transaction_per_migration", "render_as_batch", "as_sql", "starting_rev", "tag", "transactional_ddl"),
        *("upgrade_token", "downgrade_token"),
    )
)
"""Options of ``configure()`` that the shared env.py decides, or that mean nothing with PostgreSQL."""
_FUNCTIONS = ("compare_type", "compare_server_default")
"""Those that are a hook where their value is a function."""
_ENGINES = ("create_engine", "create_async_engine", "engine_from_config", "async_engine_from_config")
_ENGINE_OPTIONS = ("connect_args", "execution_options", "isolation_level")
"""Options of an engine with which a revision does something else."""
_CONNECTION_OPTIONS = ("schema_translate_map", "isolation_level")
_OF_METADATA = ("naming_convention", "schema")
_IN_THE_MODELS = "set it in the models, before the classes: the tables are read before the shared env.py runs"
_REGISTERS = ("compiles", "register_operation", "implementation_for", "dispatch_for")
_SETS = (
    "os.putenv",
    *(f"{owner}.{name}" for owner in ("os.environ", "config.attributes") for name in ("setdefault", "update")),
)
_RUNS = "run_migrations"


@dataclass(frozen=True, slots=True)
class Hook:
    """Something in an env.py that the shared one has to have too: its name, and where it is."""

    name: str
    path: Path
    line: int
    text: str


def needs_hook(name: str, value: ast.expr) -> bool:
    """Whether the shared env.py needs an option of ``configure()``."""
    is_function = not isinstance(value, ast.Constant)
    return not is_none(value) and (name not in _OURS or (name in _FUNCTIONS and is_function))


def other_work(module: Module) -> Iterator[Hook]:
    """Yield what an env.py sets, registers and gives to its engine: without it the same revisions do something else."""
    for node in module.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            # without the value, which may be a password
            for target in targets:
                if _is_seen_by_revisions(module, target):
                    hook = _hook("set", module, target, "it sets what others read")
                    in_models = isinstance(target, ast.Attribute) and target.attr in _OF_METADATA
                    yield replace(hook, text=f"{hook.text}; {_IN_THE_MODELS}") if in_models else hook
        elif isinstance(node, ast.ClassDef):
            if _is_implementation(node):
                yield Hook("impl", module.path, node.lineno, f"it has an implementation of its own: class {node.name}")
        elif isinstance(node, ast.Call):
            yield from _of_call(module, node)


def _is_implementation(node: ast.ClassDef) -> bool:
    return any((dotted(base) or "").endswith("Impl") for base in node.bases)


def registrations(module: Module) -> Iterator[Hook]:
    """Yield what a file that an env.py imports registers or replaces for whoever runs a revision in the process."""
    for node in statements(module.tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                owner = target.value if isinstance(target, ast.Subscript) else target
                origin = module.origin(dotted(owner) or "") if not isinstance(target, ast.Name) else None
                if origin and is_library(origin[0]):
                    yield _hook("set", module, target, "it sets what others read")
        elif isinstance(node, ast.ClassDef) and _is_implementation(node):
            yield Hook("impl", module.path, node.lineno, f"it has an implementation of its own: class {node.name}")
        for call in _calls_at_import(node):
            last = (dotted(call.func) or "").rpartition(".")[2]
            if last in (*_REGISTERS, "register_entities"):
                yield _hook("register", module, call, "it registers something")
            elif last in ("listens_for", "listen"):
                yield _hook("event", module, call, "it listens to events")


def _calls_at_import(node: ast.stmt) -> Iterator[ast.Call]:
    """Yield the calls of a statement outside of functions: the statement itself, and decorators."""
    decorators = getattr(node, "decorator_list", [])
    for expression in [*decorators, *([node.value] if isinstance(node, ast.Expr) else [])]:
        if isinstance(expression, ast.Call):
            yield expression


def _of_call(module: Module, call: ast.Call) -> Iterator[Hook]:
    name = dotted(call.func) or ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if name in _SETS:
        yield _hook("set", module, call.func, "it sets what others read")
    options = {
        **dict.fromkeys(_ENGINES, _ENGINE_OPTIONS),
        "execution_options": _CONNECTION_OPTIONS,
        "MetaData": _OF_METADATA,
    }.get(last, ())
    for option in options:
        if (value := keyword(call, option)) is not None:
            yield Hook(option, module.path, value.lineno, f"{last}() gets {option}")
    if last in _REGISTERS:
        yield _hook("register", module, call, "it registers something")
    elif last == "app_context":
        yield _hook("context", module, call, "it opens the context of the application, which revisions may need")
    elif last == _RUNS and call.keywords:
        yield _hook("arguments", module, call, "it gives arguments to upgrade()")


def _hook(name: str, module: Module, node: ast.AST, text: str) -> Hook:
    return Hook(name, module.path, getattr(node, "lineno", 1), f"{text}: {' '.join(ast.unparse(node).split())}")


def _is_seen_by_revisions(module: Module, target: ast.expr) -> bool:
    """Whether a target is an attribute or item of what is imported, or of a connection's dialect."""
    if not isinstance(target, ast.Attribute | ast.Subscript):
        return False
    owner: ast.expr = target
    while isinstance(owner, ast.Subscript):
        owner = owner.value
    name = dotted(owner)
    if name is None:
        return False
    if name.startswith("config.attributes") or ".dialect." in name:
        return True
    # a name of the file may be one of an import, such as target_metadata
    names = [name, *(dotted(value) or "" for value in module.values.get(name.partition(".")[0], []))]
    origins = [origin for name in names if (origin := module.origin(name))]
    return any(origin[:2] == ("alembic", "op") for origin in origins) or any(
        origin[0] not in ("alembic", "logging", "sys", "warnings") for origin in origins
    )


def repetition(module: Module) -> tuple[ast.expr, int] | None:
    """Return over what an env.py runs its history again and again, such as schemas, and where; None where it doesn't.

    A loop that ends early tries again, and runs it once.
    """
    runs = {_RUNS}
    for _ in module.functions:  # a function that runs it by way of others
        runs |= {name for name, function in module.functions.items() if runs & _names(function)}
    for node in module.nodes:
        if isinstance(node, ast.For | ast.AsyncFor) and runs & _names(node):
            ends = any(isinstance(item, ast.Break | ast.Return) for item in ast.walk(node))
            counts = isinstance(node.iter, ast.Call) and dotted(node.iter.func) == "range"
            if not ends and not counts:
                return node.iter, node.lineno
    return None


def _names(node: ast.AST) -> set[str]:
    """Return the functions that a node calls or passes on, each without what it belongs to."""
    names = {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
    return names | {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
