"""What a revision needs of its driver: statements that asyncpg refuses, and rows whose values differ over it."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import shorten

from service_migrations.adoption.code.modules import Code, Module, Remark, assigned, dotted
from service_migrations.adoption.code.sql_texts import EXECUTES, is_of_a_file, sql_constants, sql_text
from service_migrations.history.sql.reached import reached
from service_migrations.sql.lexer import statements, tokenize

__all__ = ["for_psycopg", "helpers", "reads_rows", "used_names"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATES = ("Date", "DateTime", "TIMESTAMP", "Time", "DATE", "TIME")
_OLD_DRIVERS = ("psycopg2", "psycopg", "pg8000")
_FETCHES = ("fetchall", "fetchone", "fetchmany", "scalar", "scalars", "scalar_one", "scalar_one_or_none", "mappings")
_COLLECTIONS = ("dict", "list", "set", "sorted", "tuple")
_WIDTH = 70
"""Characters of an expression that is shown."""
_RESULTS = ("all", "first", "one", "one_or_none", "partitions", "yield_per", "unique")
"""Methods of a result, which other objects have too."""
_QUERIES = ("execute", "exec_driver_sql", "query", *_FETCHES)


def helpers(revisions: Iterable[Module], code: Code, folders: tuple[Path, ...]) -> list[Module]:
    """Return the files that revisions import and that work with Alembic's operations, such as an ``ops.py``."""
    helper_modules: dict[Path, Module] = {}
    waiting = list(revisions)
    known = {module.path for module in waiting}
    seen: set[tuple[str, str | None]] = set()
    while waiting:
        module = waiting.pop()
        for name, origin in module.imports.items():
            if origin in seen:
                continue
            if not origin[0].startswith("."):  # each file of a history imports the same
                seen.add(origin)
            place = code.imported(module, name, folders)
            imported = code.try_read(place[0]) if place and place[0] not in known else None
            if imported is None:
                continue
            known.add(imported.path)
            if _has_operations(imported):
                helper_modules[imported.path] = imported
                waiting.append(imported)
    return [helper_modules[path] for path in sorted(helper_modules)]


def _has_operations(module: Module) -> bool:
    """Whether a file works with Alembic's operations, unlike one that only calls its commands."""
    names = {f"{origin}.{attribute}" if attribute else origin for origin, attribute in module.imports.values()}
    if "alembic" in names:  # import alembic
        names |= {dotted(node) or "" for node in module.nodes if isinstance(node, ast.Attribute)}
    return any(name.startswith(("alembic.op", "alembic.*")) for name in names)


def used_names(revisions: Iterable[Module], helping: Iterable[Module]) -> frozenset[str]:
    """Return the names that revisions use, of whatever they are, and those that these use of the files that help."""
    helping = tuple(helping)
    names = _names(node for module in revisions for node in module.nodes) if helping else frozenset()
    while True:
        runs = [(module, _running(module, names)) for module in helping]
        more = _names(node for module, ids in runs for node in module.nodes if id(node) in ids)
        if more <= names:
            return names
        names |= more


def _names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name | ast.alias):  # an imported name may be used under another one
            names.add(node.id if isinstance(node, ast.Name) else node.name)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return frozenset(names)


def for_psycopg(module: Module, used: frozenset[str] = frozenset()) -> Iterator[Remark]:
    """Yield what asyncpg won't take, or takes for something else than psycopg2 does.

    Args:
        module: a revision, or a file that helps revisions.
        used: the names that revisions and such files use.

    """
    known: set[str] = set()
    runs = _running(module, used)
    lines = {getattr(node, "lineno", 0) for node in module.nodes if id(node) in runs}
    loaded = (node for node in module.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    running_names = {node.id for node in loaded if id(node) in runs} - module.imports.keys()
    for node in module.nodes:  # also the imports inside upgrade()
        for imported in _imported(node):
            if imported.partition(".")[0] in _OLD_DRIVERS:
                yield Remark(module.path, getattr(node, "lineno", None), f"it imports {imported}")
        if isinstance(node, ast.Call):
            if id(node) in runs:
                yield from _of_call(module, node, known)
            elif not _has_used_text(node, running_names):
                list(_of_call(module, node, known))  # its text is executed nowhere else
    for text, line in sql_constants(module):  # a loop or a function may execute it
        if line not in lines or "".join(text.split()) in known:
            continue
        if (count := sum(1 for _ in statements(text))) > 1:
            yield Remark(module.path, line, f"{count} statements in one text, and asyncpg takes one")


def _running(module: Module, used: frozenset[str]) -> set[int]:
    """Return the nodes that PostgreSQL may reach: of a file that helps revisions, from what these name.

    A decorator may register a function, and a class calls its special methods.
    """
    starts = [name for name in module.functions if name in ("upgrade", "downgrade")]
    if not starts and not used:
        return set(map(id, module.nodes))
    if not starts:
        functions = [node for node in module.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        starts = [
            node.name for node in functions if node.name in used or node.decorator_list or node.name.startswith("__")
        ]
    # without a function, what is outside of functions
    return {id(node) for name in dict.fromkeys(starts or [""]) for node in reached(module.tree, name)}


def _has_used_text(call: ast.Call, used: set[str]) -> bool:
    """Whether the text of a call that never runs is in a name that is used by what runs."""
    parts = [part for argument in call.args[:1] for part in ast.walk(argument)]
    has_own = any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts)
    return not has_own and any(isinstance(part, ast.Name) and part.id in used for part in parts)


def _of_call(module: Module, node: ast.Call, known: set[str]) -> Iterator[Remark]:
    """Yield what a call needs, and add the SQL that it executes to what is known."""
    last = node.func.attr if isinstance(node.func, ast.Attribute) else (dotted(node.func) or "")
    if last in ("cursor", "copy_expert", "copy_from", "execute_values", "execute_batch"):
        yield Remark(module.path, node.lineno, f"it calls {last}() of the driver's own connection")
    elif last == "bulk_insert" and _has_text_dates(module, node):
        yield Remark(module.path, node.lineno, "it inserts a text into a column of dates")
    elif last in EXECUTES and node.args and (text := sql_text(node.args[0], module)) is not None:
        known.add("".join(text.split()))
        yield from _problems(module, node, last, text)
    elif last in EXECUTES and node.args and is_of_a_file(node.args[0], module):
        yield Remark(module.path, node.lineno, "it executes the text of a file, which may have several statements")


def reads_rows(module: Module, used: frozenset[str] = frozenset()) -> Iterator[Remark]:
    """Yield where a revision first reads rows; to ask whether there is one gives the same over each driver.

    Args:
        module: a revision, or a file that helps revisions.
        used: the names that revisions and such files use.

    """
    runs = _running(module, used)
    reading = {
        name
        for function in module.nodes
        if isinstance(function, ast.FunctionDef)
        for name, values in assigned(function.body).items()
        if any(_is_query(value) for value in values)
    }
    asked = {id(node) for test in _tests(module) for node in _asked(test)}
    for node in module.nodes:
        if id(node) not in runs:
            continue
        read: ast.expr | None = None
        if isinstance(node, ast.For | ast.comprehension):
            read = node.iter
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            last = node.func.attr
            read = node if last in _FETCHES else node.func.value if last in _RESULTS else None
        elif isinstance(node, ast.Call) and node.args and dotted(node.func) in _COLLECTIONS:
            read = node.args[0]
        if read is None or id(node) in asked:
            continue
        is_result = isinstance(read, ast.Name) and read.id in reading
        if is_result or _is_query(read) or read is node:
            text = "it reads rows, and asyncpg has other values for some types"
            yield Remark(module.path, read.lineno, f"{text}: {shorten(ast.unparse(read), _WIDTH, placeholder=' …')}")
            return


def _is_query(node: ast.expr) -> bool:
    """Whether an expression is a result of the database: a chain of calls in which something is executed."""
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript | ast.Await):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _QUERIES:
            return True
        node = node.func if isinstance(node, ast.Call) else node.value
    return False


def _tests(module: Module) -> Iterator[ast.expr]:
    for node in module.nodes:
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test


def _asked(test: ast.expr) -> Iterator[ast.expr]:
    """Yield what a condition only asks to be true, to be None, or for a number."""
    match test:
        case ast.BoolOp(values=values):
            for value in values:
                yield from _asked(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _asked(operand)
        case ast.Compare(left=left, comparators=comparators) if all(
            isinstance(item, ast.Constant) and not isinstance(item.value, str | bytes) for item in comparators
        ):
            yield left
        case _:
            yield test


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def _problems(module: Module, node: ast.Call, function: str, text: str) -> Iterator[Remark]:
    count = sum(1 for _ in statements(text))
    if count > 1:
        yield Remark(module.path, node.lineno, f"{count} statements in one text, and asyncpg takes one")
    first = next(tokenize(text), None)
    if first is not None and first == "copy":
        yield Remark(module.path, node.lineno, "COPY, which asyncpg has a method of its own for")
    if function == "exec_driver_sql" and re.search(r"%\(?\w*\)?s", text):
        yield Remark(module.path, node.lineno, "%s for a parameter, where asyncpg has $1")
    elif len(node.args) > 1 or node.keywords or "bindparams" in ast.unparse(node.args[0]):
        yield Remark(module.path, node.lineno, "parameters in a text, whose types PostgreSQL infers under asyncpg")


def _has_text_dates(module: Module, call: ast.Call) -> bool:
    texts = (node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    if not any(_DATE.match(text) for text in texts):
        return False
    attributes = (node.attr for node in module.nodes if isinstance(node, ast.Attribute))
    return any(name in _DATES for name in attributes)
